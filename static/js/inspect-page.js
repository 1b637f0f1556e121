// @ts-check
/** The inspector's page: receive one camera and see everything that happens on the way. */

import { Viewer } from "./aiosfu.js";
import { chooseTracks } from "./camera-choice.js";
import { readLink } from "./deep-link.js";
import { Inspection } from "./inspection.js";
import { InspectionView } from "./inspection-view.js";
import { messageOf } from "./messages.js";
import { clearNotices, find, setText, showNotice, showNumbers, showStatus } from "./ui.js";

/** Numbers once a second. */
const REFRESH_MS = 1_000;

const link = readLink(location.hash);
const select = /** @type {HTMLSelectElement} */ (find("#device"));
const video = /** @type {HTMLVideoElement} */ (find("#picture"));
const viewer = new Viewer({
  token: link.token,
  devices: [],
  ...(link.room === null ? {} : { room: link.room }),
  choose: (feed) => feed.device === wanted && (chooseTracks(feed.tracks, link.camera) ?? true),
});
/** @type {string | null} */
let wanted = link.devices[0] ?? null;

/** @type {Record<import("./viewer.js").ViewerState, ["idle" | "busy" | "good" | "live" | "bad", string]>} */
const WORDS = {
  idle: ["idle", "Not connected"],
  connecting: ["busy", "Connecting"],
  waiting: ["good", "Connected"],
  watching: ["live", "Receiving"],
  reconnecting: ["busy", "Reconnecting"],
  failed: ["bad", "Refused"],
};

function render() {
  showStatus(...WORDS[viewer.state]);
  const names = viewer.devices.map(({ device }) => device);
  if (wanted && !names.includes(wanted)) names.push(wanted);
  const drawn = [...select.options].map(({ value }) => value).filter(Boolean);
  if (drawn.join("\n") !== names.join("\n")) {
    select.replaceChildren(new Option("Choose a camera", ""), ...names.map((name) => new Option(name, name)));
  }
  select.value = wanted ?? "";
  setText(find("#picture-state"), pictureWords());
}

function pictureWords() {
  const feed = viewer.feeds.find(({ device }) => device === wanted);
  if (!wanted) return viewer.devices.length === 0 ? "No camera is online." : "Choose a camera to receive it.";
  return feed ? { idle: "Not received", connecting: "Connecting", live: "", lost: "Lost", ended: "Stopped" }[feed.state] : "Asked to start";
}

/** @param {string} device */
function receive(device) {
  clearNotices();
  for (const feed of viewer.feeds) feed.stop();
  wanted = device;
  video.srcObject = null;
  const feed = viewer.feeds.find((candidate) => candidate.device === device);
  if (feed) {
    feed.receive({ tracks: chooseTracks(feed.tracks, link.camera) }).catch(() => {}); // its state tells
    show(feed);
  } else {
    viewer.invite([device]).catch((error) => showNotice(messageOf(error)));
  }
  render();
}

/** @param {import("./feed.js").Feed} feed */
function show(feed) {
  if (feed.device !== wanted) return;
  video.srcObject = feed.stream;
  feed.addEventListener("state", render);
  render();
}

const view = new InspectionView(find("#inspection"), new Inspection(viewer.connection));
view.setShown(true);
select.addEventListener("change", () => select.value && receive(select.value));
viewer.addEventListener("feed", ({ detail }) => show(detail));
viewer.addEventListener("feedended", render);
viewer.addEventListener("devices", render);
viewer.addEventListener("error", ({ detail }) => showNotice(messageOf(detail)));
viewer.addEventListener("state", ({ detail: { error } }) => {
  if (error) showNotice(messageOf(error));
  render();
});
addEventListener("pagehide", () => viewer.stop());
setInterval(async () => {
  const feed = viewer.feeds.find(({ device }) => device === wanted);
  if (feed && !document.hidden) showNumbers(find("#numbers"), await feed.stats().catch(() => null));
}, REFRESH_MS);

render();
viewer.watch().catch(() => {}); // said by the `state` event
if (wanted) receive(wanted);
