// @ts-check
/** The viewer page: who is online, a wall of tiles, and words for every state. */

import { CodecError } from "./aiosfu.js";
import { Announcer } from "./announcer.js";
import { readLink, writeLink } from "./deep-link.js";
import { DeviceListView } from "./device-list.js";
import { Inspection } from "./inspection.js";
import { InspectionView } from "./inspection-view.js";
import { messageOf } from "./messages.js";
import { recall, remember } from "./preferences.js";
import { enableShortcuts } from "./shortcuts.js";
import { TileMenu } from "./tile-menu.js";
import { clearNotices, copyText, enableCopying, find, setText, showNotice, showStatus } from "./ui.js";
import { byName, Wall } from "./wall.js";
import { Watching } from "./watching.js";

/** Each tile's numbers once a second, one tile after the other: slower feels dead, faster cannot be read. */
const NUMBERS_INTERVAL_MS = 1_000;
/** The sound meters of what is heard move ten times a second. */
const METER_INTERVAL_MS = 100;
/** Those of muted tiles twice a second, in turns, to the loudest since: on a wall of twenty they are most of the work. */
const MUTED_METER_TICKS = 5;
/** With it and the time a picture has to stand still, a freeze is said within two seconds. */
const JUDGE_INTERVAL_MS = 300;
/** No pointer can rest over a picture: what a pointer would show is there all the time, and a tap does more. */
const TOUCH = matchMedia("(hover: none)");
/** The server tells who comes and goes, but not who begins to stream to others. */
const LIST_INTERVAL_MS = 15_000;
/** A fleet larger than this is not asked for again and again. */
const LIST_UP_TO = 500;
/** What the page remembers between visits. */
const STORAGE_KEY = "aiosfu.viewer";
/** Wide enough for the list to stand beside the pictures. */
const WIDE = matchMedia("(min-width: 64rem)");

const page = find("#viewer");
const welcome = find("#welcome");
const menu = new TileMenu(find("#tile-menu"));
const announcer = new Announcer(find("#announcements"));
const wall = new Wall(find("#wall"));
const settings = recall(STORAGE_KEY, { showsNumbers: false, showsList: true, isSpotlight: false });

/** @type {import("./tile.js").TileHost} */
const host = {
  spotlight: setSpotlight,
  close: (tile) => watching.close(tile),
  again: (tile) => tile.device && start(watching.watch(tile.device)),
  menu: (tile, opener) => menu.open(tile, opener),
  clicked: promote,
  changed: renderSoon,
  say: (tile, text) => announcer.say(tile.name, text),
  link: copyLink,
  failed: (error) => showNotice(messageOf(error)),
};
const watching = new Watching(readLink(location.hash), wall, host, renderSoon);
const { viewer } = watching;
const list = new DeviceListView((device) => {
  if (watching.wants(device) && watching.tileOf(device)) watching.unwatch(device);
  else start(watching.watch(device));
  if (!WIDE.matches) showList(false);
});
const inspection = new Inspection(viewer.connection);
const inspector = new InspectionView(find("#inspector-body"), inspection);
let isRendering = false;
let meterTicks = 0;
let isListOpen = false; // on a phone it covers the page, so it is not remembered there

// --- wishes -----------------------------------------------------------------------------------------------------------

/** @param {Promise<void>} wish */
function start(wish) {
  clearNotices();
  if (viewer.state === "failed" || viewer.state === "idle") watching.connect();
  wish.catch((error) => error.code === "connection_closed" || showNotice(messageOf(error)));
}

/** @param {import("./tile.js").Tile | null} tile */
function setSpotlight(tile) {
  settings.isSpotlight = tile !== null;
  remember(STORAGE_KEY, settings);
  wall.setSpotlight(tile);
  render();
}

/**
 * In the spotlight layout a click on a small picture makes it the large one; a finger does so from the grid, and back.
 * @param {import("./tile.js").Tile} tile
 */
function promote(tile) {
  if (wall.spotlight && !tile.isSpotlight) setSpotlight(tile);
  else if (TOUCH.matches && wall.tiles.length > 1) setSpotlight(wall.spotlight ? null : tile);
}

/** @param {import("./tile.js").Tile} tile @param {string | null} camera */
async function copyLink(tile, camera) {
  const link = writeLink(location.origin, tile.device ?? "", camera);
  if (await copyText(link)) announcer.say(tile.name, "link copied");
  else showNotice({ title: `The link to ${tile.name}`, text: link }, "advice");
}

// --- what is shown ----------------------------------------------------------------------------------------------------

/** @returns {["idle" | "busy" | "good" | "live" | "bad", string]} tone and words of the header's status */
function statusOf() {
  const count = (/** @type {string} */ state) => wall.tiles.filter((tile) => tile.state === state).length;
  const live = count("live");
  const frozen = count("frozen");
  const online = viewer.devices.length;
  switch (viewer.state) {
    case "idle":
      return ["idle", "Not connected"];
    case "connecting":
      return ["busy", "Connecting"];
    case "reconnecting":
      return ["busy", "Reconnecting"];
    case "failed":
      return ["bad", "Refused"];
    default:
      if (live > 0) return ["live", cameras(live, "live") + (frozen > 0 ? `, ${frozen} frozen` : "")];
      if (frozen > 0) return ["busy", cameras(frozen, "frozen")];
      if (count("paused") > 0) return ["idle", "Paused"];
      if (count("unplayable") > 0) return ["bad", "No picture"];
      if (watching.isWatching) return ["busy", viewer.state === "watching" ? "Connecting" : "Waiting"];
      return ["good", online === 0 ? "Ready" : cameras(online, "online")];
  }
}

/** @param {number} count @param {string} how @returns {string} such as "2 cameras live" */
function cameras(count, how) {
  return `${count} ${count === 1 ? "camera" : "cameras"} ${how}`;
}

/** @returns {[string, string]} title and text of the stage while there is no picture on it */
function stageWords() {
  switch (viewer.state) {
    case "connecting":
    case "reconnecting":
      if (viewer.state === "connecting" && viewer.connection.state !== "waiting" && !watching.isWatching) break;
      return [
        viewer.state === "connecting" ? "Connecting to the server" : "Reconnecting",
        "The server does not answer yet. It is tried again by itself.",
      ];
    case "waiting":
      if (!watching.isWatching) break;
      if (!watching.isAll) return ["Waiting for a camera", "Nothing is sent into this room yet. Pictures appear here by themselves."];
      if (!viewer.isInviting) return ["The camera was switched off", "Nobody asks it again by itself. Press “Find cameras” to do so."];
      return ["Waiting for a camera", "No camera is online. Two ways to get one are below; its picture then appears here by itself."];
    case "failed":
      return ["The server refused", "The reason is above. You can try again."];
  }
  if (hasNone()) return ["No camera is online yet", "Two ways to get one are below. Each camera that comes online is listed here, one click from its picture."];
  return ["See your cameras, live", "Choose one from the list, or watch them all. They stop again when you leave."];
}

/** Whether it is known that no camera is online. */
function hasNone() {
  return viewer.state === "waiting" && viewer.devices.length === 0;
}

/** @type {Record<string, [import("./device-list.js").RowState, string]>} of a device's tile */
const TILE_WORDS = {
  asked: ["starting", "Starting"],
  unanswered: ["trouble", "No answer"],
  absent: ["offline", "Offline, shown when it is back"],
  idle: ["starting", "Connecting"],
  connecting: ["starting", "Connecting"],
  starting: ["starting", "Connecting"],
  live: ["live", "Live here"],
  frozen: ["trouble", "Frozen"],
  paused: ["paused", "Paused"],
  lost: ["trouble", "Lost"],
  unplayable: ["trouble", "Cannot be played here"],
  ended: ["offline", "Stopped"],
};

/** @returns {import("./device-list.js").Row[]} */
function rows() {
  const online = new Map(viewer.devices.map((info) => [info.device, info]));
  const names = [...new Set([...online.keys(), ...watching.wanted])].sort(byName);
  return names.map((device) => {
    const tile = watching.tileOf(device);
    if (tile) {
      const [state, words] = TILE_WORDS[tile.state];
      return { device, state, words, isWatched: true };
    }
    const isBusy = online.get(device)?.state === "streaming";
    return { device, state: isBusy ? "busy" : "available", words: isBusy ? "Streaming" : "Available", isWatched: false };
  });
}

/** Render once for all that happens in one turn. */
function renderSoon() {
  if (isRendering) return;
  isRendering = true;
  setTimeout(() => {
    isRendering = false;
    render();
  }, 0);
}

/** Bring the page in line with the viewer's state; cheap, and safe to call at any time. */
function render() {
  const { state } = viewer;
  const hasTiles = wall.tiles.length > 0;
  showStatus(...statusOf());
  renderWelcome(state, hasTiles);
  find("#wall").hidden = !hasTiles;
  find("#stop").hidden = !watching.isWatching || state === "failed";
  find("#watch-all").hidden = !hasTiles || watching.isAll || viewer.devices.length < 2;
  page.dataset.tiles = hasTiles ? "some" : "none";
  page.toggleAttribute("data-numbers", settings.showsNumbers);
  page.toggleAttribute("data-list", WIDE.matches ? settings.showsList : isListOpen);
  press("#toggle-numbers", settings.showsNumbers);
  press("#toggle-layout", wall.spotlight !== null);
  press("#toggle-list", page.hasAttribute("data-list"));
  press("#toggle-inspector", !find("#inspector").hidden);
  // Without a picture there is nothing to arrange or to measure, and on a phone the list is part of the page.
  for (const id of ["#toggle-layout", "#toggle-numbers"]) find(id).disabled = !hasTiles;
  find("#toggle-list").disabled = !hasTiles && !WIDE.matches;
  list.show(rows(), state === "waiting" || state === "watching");
}

/** @param {string} state @param {boolean} hasTiles */
function renderWelcome(state, hasTiles) {
  const [title, text] = stageWords();
  const isWaiting = watching.isWatching && state !== "failed";
  welcome.dataset.state = watching.isWatching ? state : "idle";
  setText(find("#welcome-title"), title);
  setText(find("#welcome-text"), text);
  welcome.hidden = hasTiles;
  const isAway = state === "failed" || state === "reconnecting";
  find("#howto").hidden = hasTiles || isAway || (viewer.devices.length > 0 && !watching.isWatching);
  find("#watch").hidden = isWaiting;
  setText(find("#watch .label"), state === "failed" ? "Try again" : hasNone() ? "Watch as they come" : "Watch all cameras");
  find("#looking").hidden = state !== "waiting" || !viewer.isInviting;
  find("#invite").hidden = !isWaiting || (state !== "waiting" && state !== "watching");
}

/** @param {string} selector @param {boolean} isPressed */
function press(selector, isPressed) {
  find(selector).setAttribute("aria-pressed", String(isPressed));
}

/** The page is no use as its own wall: say where cameras connect to. */
function fillHowTo() {
  const secure = location.protocol === "https:";
  setText(find("#device-url"), `${location.origin}/device`);
  setText(find("#device-command"), `aiosfu device --server ${secure ? "wss" : "ws"}://${location.host} --source testsrc`);
  find("#https-note").hidden = secure;
}

// --- buttons and keys -------------------------------------------------------------------------------------------------

/** @param {boolean} isShown */
function showList(isShown) {
  if (WIDE.matches) settings.showsList = isShown;
  else isListOpen = isShown;
  remember(STORAGE_KEY, settings);
  render();
}

function toggleNumbers() {
  settings.showsNumbers = !settings.showsNumbers;
  remember(STORAGE_KEY, settings);
  render();
}

function toggleInspector() {
  const panel = find("#inspector");
  panel.hidden = !panel.hidden;
  inspector.setShown(!panel.hidden);
  render();
}

/** @param {string} selector @param {() => void} handler */
function onClick(selector, handler) {
  find(selector).addEventListener("click", handler);
}

function stopWatching() {
  watching.stop();
  clearNotices();
  render();
  (welcome.hidden ? find("#stop") : find("#watch")).focus();
}

const toggleLayout = () => setSpotlight(wall.spotlight ? null : wall.active);
const watchAll = () => start(watching.watchAll());
onClick("#watch", watchAll);
onClick("#watch-all", watchAll);
onClick("#stop", stopWatching);
onClick("#invite", () => start(watching.isAll ? watching.watchAll() : viewer.invite().then(() => {})));
onClick("#toggle-list", () => showList(!page.hasAttribute("data-list")));
onClick("#close-list", () => showList(false));
onClick("#toggle-numbers", toggleNumbers);
onClick("#toggle-layout", toggleLayout);
onClick("#toggle-inspector", toggleInspector);
onClick("#close-inspector", toggleInspector);
enableShortcuts(wall, [
  { key: "a", help: "Watch all cameras", run: watchAll },
  { key: "g", help: "Grid or spotlight", run: toggleLayout },
  { key: "i", help: "Numbers and graphs over the pictures", run: toggleNumbers },
  { key: "l", help: "List of cameras", run: () => showList(!page.hasAttribute("data-list")) },
  { key: "d", help: "Inspector", run: toggleInspector },
  { key: "Escape", help: "Back to the grid", run: () => (isListOpen ? showList(false) : setSpotlight(null)) },
]);

viewer.addEventListener("error", ({ detail }) => {
  if (!(detail instanceof CodecError)) showNotice(messageOf(detail)); // that the camera's tile says, with the codec
});
viewer.addEventListener("state", ({ detail: { error } }) => {
  if (error) showNotice(messageOf(error));
  else if (viewer.state === "watching") clearNotices();
  if (viewer.state === "watching" && settings.isSpotlight && !wall.spotlight) wall.setSpotlight(wall.active);
  renderSoon();
});
viewer.addEventListener("roomclosed", () => {
  watching.stop();
  showNotice({ title: "The room was closed", text: "Whoever runs the server has ended it. You can watch again in another." });
});
viewer.connection.addEventListener("state", renderSoon);
WIDE.addEventListener("change", render);
addEventListener("online", () => viewer.connection.retryNow());
document.addEventListener("visibilitychange", () => document.hidden || viewer.connection.retryNow());
// Free the room at once instead of when the server notices.
addEventListener("pagehide", () => viewer.stop());

// --- clocks -----------------------------------------------------------------------------------------------------------

/** Read one tile after the other, so that twenty of them do not all want the main thread at once. @param {number} at */
async function readNumbers(at) {
  const tile = wall.tiles[at % Math.max(1, wall.tiles.length)];
  if (tile && !document.hidden) await tile.refresh(settings.showsNumbers).catch(() => {}); // a connection closed meanwhile
  setTimeout(() => readNumbers(at + 1), NUMBERS_INTERVAL_MS / Math.max(1, wall.tiles.length));
}

setInterval(() => {
  if (document.hidden) return;
  meterTicks += 1;
  wall.tiles.forEach((tile, index) => {
    tile.refreshMeter(!tile.isMuted || (meterTicks + index) % MUTED_METER_TICKS === 0);
  });
}, METER_INTERVAL_MS);
setInterval(() => {
  if (document.hidden) return;
  for (const tile of wall.tiles) tile.judge();
}, JUDGE_INTERVAL_MS);
setInterval(() => {
  if (document.hidden || viewer.room === null || viewer.devices.length > LIST_UP_TO) return;
  viewer.listDevices().catch(() => {}); // a server without presence, or one that is away: the list stays as it is
}, LIST_INTERVAL_MS);

enableCopying();
fillHowTo();
render();
watching.connect();
start(watching.followLink());
readNumbers(0);
