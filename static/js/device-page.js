// @ts-check
/** The device page: preview, settings, going online, and an unmistakable sign of being watched. */

import { Publisher, randomClientId } from "./aiosfu.js";
import { Capture, listDevices } from "./capture.js";
import { insecureContextMessage, mediaMessageOf, messageOf } from "./messages.js";
import { clearNotices, find, setText, showNotice, showNumbers, showStatus } from "./ui.js";

/** Numbers and the clock once a second. */
const REFRESH_INTERVAL_MS = 1_000;
/** What the page remembers between visits. */
const STORAGE_KEY = "aiosfu.device";
/** What a name may not contain: the protocol's client ids have a small alphabet. */
const NOT_IN_A_NAME = /[^A-Za-z0-9._~-]+/g;

const page = find("#device");
const preview = find("#preview");
const onlineButton = find("#online");
const stopButton = find("#stop");
const micButton = find("#mic");
const cameraButton = find("#camera");
const nameInput = find("#name");
const cameraSelect = find("#camera-select");
const micSelect = find("#mic-select");

const options = new URLSearchParams(location.hash.slice(1));
const capture = new Capture();
/** @type {Publisher | null} while online */
let publisher = null;
/** @type {number | null} `performance.now()` when it went live */
let liveSince = null;
let wantsMic = true;
let wantsPicture = true;
let isOpening = false;

/** @type {Record<import("./publisher.js").PublisherState, {tone: "idle" | "busy" | "good" | "live" | "bad", status: string, title: string, text: string}>} */
const WORDS = {
  offline: {
    tone: "idle",
    status: "Offline",
    title: "Offline",
    text: "Press “Go online” and viewers can ask for this camera.",
  },
  connecting: {
    tone: "busy",
    status: "Connecting",
    title: "Connecting",
    text: "Looking for the server. It is tried again by itself until it answers.",
  },
  waiting: {
    tone: "good",
    status: "Online",
    title: "Online, nobody is watching",
    text: "Nothing is sent. It starts by itself as soon as somebody watches.",
  },
  joining: {
    tone: "busy",
    status: "Starting",
    title: "Somebody wants to watch",
    text: "Starting to send.",
  },
  live: {
    tone: "live",
    status: "Live",
    title: "You are live",
    text: "Somebody is watching this picture and hearing this sound now.",
  },
  reconnecting: {
    tone: "busy",
    status: "Reconnecting",
    title: "Reconnecting",
    text: "The connection to the server was lost. Viewers may still see and hear you.",
  },
  failed: {
    tone: "bad",
    status: "Refused",
    title: "The server refused",
    text: "The reason is above. Change what is needed and try again.",
  },
};

function currentState() {
  return publisher?.state ?? "offline";
}

/** Bring the page in line with what is going on; cheap, and safe to call at any time. */
function render() {
  const state = currentState();
  const words = WORDS[state];
  const isOnline = state !== "offline" && state !== "failed";
  page.dataset.state = state;
  showStatus(words.tone, words.status);
  setText(find("#state-title"), words.title);
  setText(find("#state-text"), state === "live" ? liveText() : words.text);
  onlineButton.hidden = isOnline;
  onlineButton.disabled = isOpening;
  stopButton.hidden = !isOnline;
  nameInput.disabled = isOnline;
  find("#live-badge").hidden = state !== "live";
  find("#numbers").hidden = state !== "live";
  renderPreview();
}

function renderPreview() {
  const hasPicture = capture.stream.getVideoTracks().length > 0;
  const hasSound = capture.stream.getAudioTracks().length > 0;
  find("#preview-cover").hidden = hasPicture && wantsPicture;
  find("#preview-button").hidden = capture.isOpen;
  setText(find("#preview-text"), previewText(hasPicture));
  preview.toggleAttribute("data-mirror", capture.isSelfView);
  renderToggle(micButton, "mic", hasSound, wantsMic);
  renderToggle(cameraButton, "camera", hasPicture, wantsPicture);
}

/** @param {boolean} hasPicture */
function previewText(hasPicture) {
  if (!capture.isOpen) return "The preview appears here. Nothing is sent before somebody watches.";
  return hasPicture ? "The picture is off. Viewers see black." : "There is no camera: only sound is sent.";
}

/** @param {HTMLButtonElement} button @param {"mic" | "camera"} name @param {boolean} exists @param {boolean} on */
function renderToggle(button, name, exists, on) {
  const what = name === "mic" ? "Microphone" : "Picture";
  button.disabled = !exists;
  button.setAttribute("aria-pressed", String(exists ? on : !capture.isOpen));
  const missing = capture.isOpen ? `No ${what.toLowerCase()}` : what;
  setText(find(`#${name}-label`), exists ? `${what} ${on ? "on" : "off"}` : missing);
}

function liveText() {
  if (wantsMic && wantsPicture) return WORDS.live.text;
  if (wantsPicture) return "Somebody is watching this picture. The microphone is off.";
  return wantsMic ? "Somebody is hearing this sound. The picture is off." : "Somebody is watching, but picture and microphone are off.";
}

/** @returns {import("./capture.js").Choice} */
function choice() {
  const source = find("input[name=source]:checked").value;
  return { source, cameraId: cameraSelect.value, micId: micSelect.value };
}

/**
 * Open what is chosen; while live, viewers get it in place of what they saw.
 * @returns {Promise<boolean>} false when there is nothing, and the person has been told why
 */
async function openCapture() {
  const insecure = insecureContextMessage(location);
  if (insecure) {
    showNotice(insecure);
    return false;
  }
  if (isOpening) return false;
  isOpening = true;
  const chosen = choice();
  render();
  try {
    await capture.open(chosen);
  } catch (error) {
    showNotice(mediaMessageOf(error, chosen.source));
    return capture.isOpen;
  } finally {
    isOpening = false;
    render();
  }
  applyToggles();
  preview.srcObject = capture.stream;
  await fillSelects();
  await publishTracks();
  render();
  return true;
}

async function publishTracks() {
  if (!publisher) return;
  await publisher.replaceTrack("video", capture.stream.getVideoTracks()[0] ?? null);
  await publisher.replaceTrack("audio", capture.stream.getAudioTracks()[0] ?? null);
}

function applyToggles() {
  capture.enable("audio", wantsMic);
  capture.enable("video", wantsPicture);
}

async function fillSelects() {
  fillSelect(cameraSelect, "Default camera", await listDevices("videoinput"));
  fillSelect(micSelect, "Default microphone", await listDevices("audioinput"));
}

/** @param {HTMLSelectElement} select @param {string} none @param {{id: string, label: string}[]} devices */
function fillSelect(select, none, devices) {
  const chosen = select.value;
  const all = [{ id: "", label: none }, ...devices.filter((device) => device.id !== "default")];
  select.replaceChildren(...all.map(({ id, label }) => new Option(label, id, false, id === chosen)));
}

async function goOnline() {
  clearNotices();
  nameInput.value = cleanName(nameInput.value) || freshName();
  remember();
  if (!capture.isOpen && !(await openCapture())) return;
  publisher = new Publisher({
    stream: new MediaStream(capture.stream.getTracks()),
    clientId: nameInput.value,
    token: options.get("token") ?? undefined,
    codec: options.get("codec") ?? undefined,
  });
  publisher.addEventListener("state", (event) => stateChanged(/** @type {CustomEvent} */ (event).detail));
  publisher.addEventListener("error", (event) => showNotice(messageOf(/** @type {CustomEvent} */ (event).detail)));
  // A refusal is told by the `state` event.
  publisher.online().catch(() => {});
}

/** @param {{state: import("./publisher.js").PublisherState, error: Error | null}} detail */
function stateChanged({ state, error }) {
  if (error) showNotice(messageOf(error));
  else if (state === "waiting") clearNotices();
  if (state !== "live") liveSince = null;
  else liveSince ??= performance.now();
  document.title = state === "live" ? "LIVE · aiosfu" : "Camera · aiosfu";
  render();
  refresh();
}

function goOffline() {
  publisher?.offline();
  publisher = null;
  liveSince = null;
  document.title = "Camera · aiosfu";
  capture.close();
  preview.srcObject = null;
  clearNotices();
  render();
  onlineButton.focus();
}

async function refresh() {
  if (liveSince === null || !publisher) return;
  const seconds = Math.floor((performance.now() - liveSince) / 1000);
  const text = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
  setText(find("#live-time"), text);
  showNumbers(find("#numbers"), await publisher.stats());
}

/** @param {string} name */
function cleanName(name) {
  return name.trim().replace(NOT_IN_A_NAME, "-").slice(0, 64);
}

/** Short enough to be read out, and still unlikely to be taken. */
function freshName() {
  return `camera-${randomClientId("DEVICE").slice(-4)}`;
}

function remember() {
  try {
    localStorage.setItem(STORAGE_KEY, JSON.stringify({ name: nameInput.value }));
  } catch {
    // Private windows may refuse to store: the name is then made anew.
  }
}

function recall() {
  try {
    return JSON.parse(localStorage.getItem(STORAGE_KEY) ?? "{}").name;
  } catch {
    return null;
  }
}

/** Show the preview unasked only where the person has allowed the camera before: no prompt without a click. */
async function openIfAllowed() {
  try {
    const permission = await navigator.permissions.query({ name: /** @type {PermissionName} */ ("camera") });
    if (permission.state === "granted") await openCapture();
  } catch {
    // Firefox does not tell; the button is there.
  }
}

onlineButton.addEventListener("click", goOnline);
stopButton.addEventListener("click", goOffline);
find("#preview-button").addEventListener("click", () => {
  clearNotices();
  openCapture();
});
micButton.addEventListener("click", () => {
  wantsMic = !wantsMic;
  applyToggles();
  render();
});
cameraButton.addEventListener("click", () => {
  wantsPicture = !wantsPicture;
  applyToggles();
  render();
});
find("#settings").addEventListener("submit", (/** @type {Event} */ event) => event.preventDefault());
find("#settings").addEventListener("change", (/** @type {Event} */ event) => {
  find("#camera-field").hidden = choice().source === "screen";
  if (event.target !== nameInput && (capture.isOpen || choice().source === "screen")) openCapture();
});
nameInput.addEventListener("change", () => {
  nameInput.value = cleanName(nameInput.value);
  remember();
});
capture.addEventListener("ended", () => {
  const wasScreen = choice().source === "screen";
  capture.close();
  find("input[value=camera]").checked = true;
  find("#camera-field").hidden = false;
  if (wasScreen) openCapture(); // "stop sharing" means: back to the camera
  else showNotice({ title: "The camera is gone", text: "It was unplugged or the system took it away. Choose another one." });
  render();
});
addEventListener("online", () => publisher?.connection.retryNow());
document.addEventListener("visibilitychange", () => document.hidden || publisher?.connection.retryNow());
addEventListener("pagehide", goOffline);
setInterval(refresh, REFRESH_INTERVAL_MS);

nameInput.value = cleanName(options.get("name") ?? recall() ?? "") || freshName();
const insecure = insecureContextMessage(location);
if (insecure) showNotice(insecure);
else openIfAllowed();
render();
