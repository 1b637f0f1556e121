// @ts-check
/** The viewer page: one button, a wall of tiles, and words for every state. */

import { Viewer } from "./aiosfu.js";
import { messageOf } from "./messages.js";
import { Tile } from "./tile.js";
import { clearNotices, enableCopying, find, setText, showNotice, showStatus } from "./ui.js";

/** Numbers once a second: slower feels dead, faster cannot be read. */
const NUMBERS_INTERVAL_MS = 1_000;
/** The sound meter moves ten times a second. */
const METER_INTERVAL_MS = 100;
/** A tile stays this long after somebody stopped the camera, so that its end is seen. */
const STOPPED_TILE_MS = 4_000;
/** A tile stays this long after a loss, so that the camera finds its place again. */
const LOST_TILE_MS = 12_000;

/** Reasons after which nobody expects the camera back at once. */
const STOPPED_REASONS = new Set(["unpublished", "left", "shutdown"]);

const welcome = find("#welcome");
const wall = find("#wall");
const watchButton = find("#watch");
const stopButton = find("#stop");
const inviteButton = find("#invite");

/** @type {Map<string, {tile: Tile, timer: any}>} by device, so that one that comes back keeps its place */
const tiles = new Map();

/** Names of devices that were asked and have not started; for the words of the waiting state. */
let asked = /** @type {string[]} */ ([]);

const viewer = new Viewer({ token: new URLSearchParams(location.hash.slice(1)).get("token") ?? undefined });

/** @param {import("./feed.js").Feed} feed */
function tileKey(feed) {
  return feed.device ?? `feed ${feed.id}`;
}

/** @param {import("./feed.js").Feed} feed */
function addFeed(feed) {
  const known = tiles.get(tileKey(feed));
  if (known) {
    clearTimeout(known.timer);
    known.tile.attach(feed);
  } else {
    const tile = new Tile(feed);
    tiles.set(tileKey(feed), { tile, timer: null });
    wall.append(tile.element);
  }
  asked = asked.filter((device) => device !== feed.device);
  feed.addEventListener("state", render);
  render();
}

/** @param {import("./feed.js").Feed} feed */
function endFeed(feed) {
  const entry = tiles.get(tileKey(feed));
  if (!entry || entry.tile.feed !== feed) return;
  if (feed.reason === "stopped") {
    removeTile(tileKey(feed));
    return;
  }
  const stay = STOPPED_REASONS.has(feed.reason ?? "") ? STOPPED_TILE_MS : LOST_TILE_MS;
  entry.timer = setTimeout(() => removeTile(tileKey(feed)), stay);
  render();
}

/** @param {string} key */
function removeTile(key) {
  tiles.get(key)?.tile.remove();
  tiles.delete(key);
  render();
}

function removeAllTiles() {
  for (const { timer } of tiles.values()) clearTimeout(timer);
  for (const key of [...tiles.keys()]) removeTile(key);
}

/** @returns {["idle" | "busy" | "live" | "bad", string]} tone and words of the header's status */
function statusOf() {
  const live = [...tiles.values()].filter(({ tile }) => tile.feed.state === "live").length;
  switch (viewer.state) {
    case "idle":
      return ["idle", "Not watching"];
    case "connecting":
      return ["busy", "Connecting"];
    case "waiting":
      return ["busy", "Waiting"];
    case "reconnecting":
      return ["busy", "Reconnecting"];
    case "failed":
      return ["bad", "Refused"];
    case "watching":
      if (live === 0) return ["busy", "Connecting"];
      return ["live", live === 1 ? "1 camera live" : `${live} cameras live`];
  }
}

/** @returns {[string, string]} title and text of the stage while there is no picture on it */
function stageWords() {
  switch (viewer.state) {
    case "connecting":
      return ["Connecting to the server", "If this takes more than a moment, the server may not be running. It is tried again by itself."];
    case "reconnecting":
      return ["Reconnecting", "The connection to the server was lost. It is tried again by itself."];
    case "waiting":
      if (!viewer.isInviting) return ["The camera was switched off", "Nobody asks it again by itself. Press “Find cameras” to do so."];
      if (asked.length > 0) return ["Starting the camera", `Asked ${listOf(asked)} to start. It may be waiting for a permission over there.`];
      return ["Waiting for a camera", "No camera is online. Two ways to get one are below; its picture then appears here by itself."];
    case "failed":
      return ["The server refused", "The reason is above. You can try again."];
    default:
      return ["See your cameras, live", "One click asks every camera that is online to start. They stop again when you leave."];
  }
}

/** @param {string[]} names */
function listOf(names) {
  return names.length <= 3 ? names.join(", ") : `${names.slice(0, 3).join(", ")} and ${names.length - 3} more`;
}

/** Bring the page in line with the viewer's state; cheap, and safe to call at any time. */
function render() {
  const { state } = viewer;
  const running = state !== "idle" && state !== "failed";
  const hasTiles = tiles.size > 0;
  showStatus(...statusOf());
  const [title, text] = stageWords();
  welcome.dataset.state = state;
  setText(find("#welcome-title"), title);
  setText(find("#welcome-text"), text);
  welcome.hidden = hasTiles;
  wall.hidden = !hasTiles;
  find("#howto").hidden = hasTiles;
  watchButton.hidden = running;
  find("#looking").hidden = state !== "waiting" || !viewer.isInviting;
  setText(find(".label", watchButton), state === "failed" ? "Try again" : "Watch cameras");
  stopButton.hidden = !running;
  inviteButton.hidden = state !== "waiting" && state !== "watching";
  find("#be-camera").classList.toggle("secondary", running);
  wall.dataset.count = String(tiles.size);
  const columns = Math.max(1, Math.ceil(Math.sqrt(tiles.size)));
  wall.style.setProperty("--columns", String(columns));
  wall.style.setProperty("--rows", String(Math.max(1, Math.ceil(tiles.size / columns))));
}

/** The page is no use as its own wall: say where cameras connect to. */
function fillHowTo() {
  const secure = location.protocol === "https:";
  setText(find("#device-url"), `${location.origin}/device`);
  setText(find("#device-command"), `aiosfu device --server ${secure ? "wss" : "ws"}://${location.host} --source testsrc`);
  find("#https-note").hidden = secure;
}

async function watch() {
  clearNotices();
  try {
    await viewer.watch();
  } catch {
    // Said by the `state` event.
  }
}

viewer.addEventListener("feed", (event) => addFeed(/** @type {CustomEvent} */ (event).detail));
viewer.addEventListener("feedended", (event) => endFeed(/** @type {CustomEvent} */ (event).detail));
viewer.addEventListener("error", (event) => showNotice(messageOf(/** @type {CustomEvent} */ (event).detail)));
viewer.addEventListener("invited", (event) => {
  asked = /** @type {CustomEvent} */ (event).detail.invited;
  render();
});
viewer.addEventListener("state", (event) => {
  const { error } = /** @type {CustomEvent} */ (event).detail;
  if (error) showNotice(messageOf(error));
  else if (viewer.state === "watching") clearNotices();
  render();
});

watchButton.addEventListener("click", watch);
stopButton.addEventListener("click", () => {
  viewer.stop();
  removeAllTiles();
  clearNotices();
  render();
  watchButton.focus();
});
inviteButton.addEventListener("click", () => {
  viewer.invite().catch((error) => showNotice(messageOf(error)));
});
addEventListener("online", () => viewer.connection.retryNow());
document.addEventListener("visibilitychange", () => document.hidden || viewer.connection.retryNow());
// Free the room at once instead of when the server notices.
addEventListener("pagehide", () => viewer.stop());

setInterval(() => {
  if (document.hidden) return;
  for (const { tile } of tiles.values()) tile.refresh();
}, NUMBERS_INTERVAL_MS);
setInterval(() => {
  if (document.hidden) return;
  for (const { tile } of tiles.values()) tile.refreshMeter();
}, METER_INTERVAL_MS);

enableCopying();
fillHowTo();
render();
