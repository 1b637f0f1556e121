// @ts-check
/** The device page: preview, settings, going online, and an unmistakable sign of being watched. */

import { clientIdOf, Publisher, randomClientId } from "./aiosfu.js";
import { Capture, listDevices } from "./capture.js";
import { LevelMeter } from "./device-level-meter.js";
import { clearRefusal, clearServerNotices, explainRefusal, showRefusal } from "./device-notices.js";
import { insecureContextMessage } from "./device-refusals.js";
import { cleanName, limitsOf, recallSettings, rememberSettings, sendableCodecs } from "./device-settings.js";
import { WakeLock } from "./device-wake-lock.js";
import { askedText, previewText, wordsOf } from "./device-words.js";
import { messageOf } from "./messages.js";
import { clearNotices, find, setText, showNotice, showNumbers, showStatus } from "./ui.js";

/** Numbers and the clock once a second. */
const REFRESH_INTERVAL_MS = 1_000;
/** A pause of the page's own clock that only a machine's sleep, or a page put to sleep, explains. */
const SLEPT_FROM_MS = 10_000;

const page = find("#device");
const preview = find("#preview");
const onlineButton = find("#online");
const stopButton = find("#stop");
const form = find("#settings");
const nameInput = find("#name");
const cameraSelect = find("#camera-select");
const micSelect = find("#mic-select");
const flipButton = find("#flip");

const options = new URLSearchParams(location.hash.slice(1));
const settings = recallSettings();
const capture = new Capture();
const levelMeter = new LevelMeter(find("#level"));
const wakeLock = new WakeLock();
/** @type {Publisher | null} while online */
let publisher = null;
/** @type {number | null} `performance.now()` when it went live */
let liveSince = null;
/** @type {{inviter: string | null, at: Date} | null} while somebody is there */
let invitation = null;
/** @type {Set<string> | null} what viewers take now, while somebody is there */
let receivedKinds = null;
/** @type {{id: string, label: string}[]} */
let cameras = [];
let isOpening = false;
/** Whether the system took a track away while the page was hidden, when it could not be had back. */
let isInterrupted = false;
let refreshedAt = performance.now();

// --- showing -------------------------------------------------------------------------------------------------------

/** Bring the page in line with what is going on; cheap, and safe to call at any time. */
function render() {
  const state = publisher?.state ?? "offline";
  const { wantsMic, wantsPicture } = settings;
  const isMediaLost = publisher?.publication.state === "lost";
  const has = { hasPicture: !!capture.picture, hasSound: !!capture.sound };
  const words = wordsOf(state, { ...has, wantsMic, wantsPicture, receivedKinds, isMediaLost });
  const isOnline = state !== "offline" && state !== "failed";
  page.dataset.state = state;
  showStatus(words.tone, words.status);
  document.title = state === "live" ? "LIVE · aiosfu" : "Camera · aiosfu";
  setText(find("#state-title"), words.title);
  setText(find("#state-text"), words.text);
  setText(find("#asked"), state === "live" ? askedText(invitation) : "");
  onlineButton.hidden = isOnline;
  onlineButton.disabled = isOpening;
  stopButton.hidden = !isOnline;
  nameInput.disabled = isOnline;
  find("#live-badge").hidden = state !== "live";
  find("#numbers").hidden = state !== "live";
  wakeLock.want(isOnline);
  renderPreview();
  renderSettings();
}

function renderPreview() {
  const hasPicture = capture.picture !== null;
  find("#preview-cover").hidden = hasPicture && settings.wantsPicture;
  find("#preview-button").hidden = capture.isOpen;
  setText(find("#preview-text"), previewText(capture.isOpen, hasPicture));
  preview.toggleAttribute("data-mirror", capture.isSelfView);
  flipButton.hidden = settings.source !== "camera" || cameras.length < 2 || !hasPicture;
  renderToggle("mic", "Microphone", capture.sound !== null, settings.wantsMic);
  renderToggle("camera", "Picture", hasPicture, settings.wantsPicture);
}

function renderSettings() {
  find("#camera-setting").hidden = settings.source === "screen";
  find("#another-screen").hidden = !capture.isScreen;
}

/** @param {"mic" | "camera"} id @param {string} what @param {boolean} exists @param {boolean} on */
function renderToggle(id, what, exists, on) {
  const button = find(`#${id}`);
  button.disabled = !exists;
  button.setAttribute("aria-pressed", String(exists ? on : !capture.isOpen));
  const missing = capture.isOpen ? `No ${what.toLowerCase()}` : what;
  setText(find(`#${id}-label`), exists ? `${what} ${on ? "on" : "off"}` : missing);
}

async function refresh() {
  const now = performance.now();
  const slept = now - refreshedAt > SLEPT_FROM_MS;
  refreshedAt = now;
  if (slept) wakeUp();
  if (liveSince === null || !publisher) return;
  const seconds = Math.floor((now - liveSince) / 1000);
  setText(find("#live-time"), `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`);
  showNumbers(find("#numbers"), await publisher.stats());
}

// --- camera, microphone and screen ---------------------------------------------------------------------------------

/** @returns {import("./capture.js").Choice} */
function choice() {
  const source = settings.source === "screen" ? "screen" : "camera";
  return { ...settings, source };
}

/**
 * Open what is chosen; while live, viewers get it in place of what they saw.
 * @param {{anew?: boolean}} [how]
 * @returns {Promise<boolean>} false when there is nothing, and the person has been told why
 */
async function openCapture(how) {
  const insecure = insecureContextMessage(location);
  if (insecure) {
    showRefusal(insecure, null);
    return false;
  }
  if (isOpening) return false;
  isOpening = true;
  let isRefused = false;
  const chosen = choice();
  render();
  try {
    const problems = await capture.open(chosen, how);
    clearRefusal();
    for (const { kind, error } of problems) explainRefusal(error, kind === "audio" ? "microphone" : "camera", openCapture);
  } catch (error) {
    isRefused = true;
    refused(error, chosen);
  } finally {
    isOpening = false;
  }
  await captureChanged();
  // What was chosen while the browser was still asking.
  const { source, cameraId, micId } = choice();
  const isLatest = source === chosen.source && cameraId === chosen.cameraId && micId === chosen.micId;
  return capture.isOpen && !isLatest && !isRefused ? openCapture() : capture.isOpen;
}

/** @param {unknown} error @param {import("./capture.js").Choice} chosen */
function refused(error, chosen) {
  const wanted = chosen.source === "screen" ? "screen" : capture.sound ? "camera" : "both";
  explainRefusal(error, wanted, openCapture);
  // The camera is still there: the choice goes back to what is shown.
  if (capture.cameraId !== null) choose({ source: "camera", cameraId: capture.cameraId });
}

/** Show and send what is open now. */
async function captureChanged() {
  capture.enable("audio", settings.wantsMic);
  capture.enable("video", settings.wantsPicture);
  if (preview.srcObject !== capture.stream) preview.srcObject = capture.stream;
  levelMeter.follow(capture.sound);
  await fillSelects();
  render();
  if (!publisher) return;
  await limit();
  await publisher.replaceTrack("video", capture.picture);
  await publisher.replaceTrack("audio", capture.sound);
}

async function limit() {
  await publisher?.publication.limit(limitsOf(settings, capture.picture));
}

async function fillSelects() {
  cameras = await listDevices("videoinput");
  const isTouched = matchMedia("(pointer: coarse)").matches;
  const facing = [
    { id: "user", label: "Front camera" },
    { id: "environment", label: "Back camera" },
  ];
  fillSelect(cameraSelect, "Default camera", [...(isTouched ? facing : []), ...cameras], settings.cameraId);
  fillSelect(micSelect, "Default microphone", await listDevices("audioinput"), settings.micId);
}

/** @param {HTMLSelectElement} select @param {string} none @param {{id: string, label: string}[]} devices @param {string} chosen */
function fillSelect(select, none, devices, chosen) {
  const all = [{ id: "", label: none }, ...devices.filter((device) => device.id !== "default")];
  // What was chosen but is not there (yet) stays chosen: it may be plugged in again.
  if (!all.some(({ id }) => id === chosen)) all.push({ id: chosen, label: capture.isOpen ? "Not connected" : "The one used before" });
  if (JSON.stringify(all) === select.dataset.devices && select.value === chosen) return; // keeps an open list open
  select.dataset.devices = JSON.stringify(all);
  select.replaceChildren(...all.map(({ id, label }) => new Option(label, id, false, id === chosen)));
}

/** Front or back on a phone; the next camera elsewhere. */
function nextCamera() {
  if (matchMedia("(pointer: coarse)").matches) return capture.isSelfView ? "environment" : "user";
  const current = capture.picture?.getSettings().deviceId;
  const at = cameras.findIndex(({ id }) => id === current);
  return cameras[(at + 1) % cameras.length].id;
}

/** @param {import("./capture.js").Kind} kind */
async function captureEnded(kind) {
  const stoppedSharing = kind === "video" && settings.source === "screen";
  if (stoppedSharing) choose({ source: "camera" });
  else if (document.hidden) isInterrupted = true;
  else showNotice(kind === "video" ? CAMERA_GONE : MICROPHONE_GONE);
  await captureChanged(); // viewers are not left with a picture that stands still while the browser asks
  if (!isInterrupted) await openCapture();
}

const CAMERA_GONE = { title: "The camera is gone", text: "It was unplugged or the system took it away. Another one is used if there is one." };
const MICROPHONE_GONE = { title: "The microphone is gone", text: "It was unplugged or the system took it away. Another one is used if there is one." };

// --- online --------------------------------------------------------------------------------------------------------

async function goOnline() {
  clearNotices();
  nameInput.value = cleanName(nameInput.value) || freshName();
  choose({ name: nameInput.value });
  if (!capture.isOpen && !(await openCapture())) return;
  try {
    publisher = new Publisher({
      stream: new MediaStream(capture.stream.getTracks()),
      clientId: settings.name,
      token: options.get("token") ?? undefined,
      codec: options.get("codec") ?? (settings.codec || undefined),
      limits: limitsOf(settings, capture.picture),
    });
  } catch (error) {
    showNotice(messageOf(error)); // a codec of the address that this browser has not
    return;
  }
  publisher.addEventListener("state", (event) => stateChanged(/** @type {CustomEvent} */ (event).detail));
  publisher.addEventListener("error", (event) => showNotice(messageOf(/** @type {CustomEvent} */ (event).detail)));
  publisher.addEventListener("invited", (event) => {
    invitation = { inviter: /** @type {CustomEvent} */ (event).detail.inviter, at: new Date() };
  });
  publisher.addEventListener("wanted", (event) => {
    receivedKinds = new Set(/** @type {CustomEvent} */ (event).detail.kinds);
    render();
  });
  // A refusal is told by the `state` event.
  publisher.online().catch(() => {});
}

/** @param {{state: import("./publisher.js").PublisherState, error: Error | null}} detail */
function stateChanged({ state, error }) {
  if (error) showNotice(messageOf(error));
  else if (state === "waiting") clearServerNotices();
  if (state === "waiting" || state === "offline") {
    invitation = null;
    receivedKinds = null;
  }
  if (state !== "live") liveSince = null;
  else liveSince ??= performance.now();
  render();
  refresh();
}

function goOffline() {
  publisher?.offline();
  publisher = null;
  liveSince = null;
  capture.close();
  levelMeter.follow(null);
  preview.srcObject = null;
  clearNotices();
  render();
  onlineButton.focus();
}

/** After sleep, in another network, or seen again: doubt the links, and take back what the system took away. */
function wakeUp() {
  publisher?.connection.check();
  publisher?.publication.check();
  if (document.hidden) return;
  if (capture.dropEnded()) isInterrupted = true;
  if (!isInterrupted) return;
  isInterrupted = false;
  openCapture();
}

// --- settings ------------------------------------------------------------------------------------------------------

/** Short enough to be read out, and still unlikely to be taken. */
function freshName() {
  return `camera-${randomClientId("DEVICE").slice(-4)}`;
}

/** @param {Partial<import("./device-settings.js").Settings>} changes */
function choose(changes) {
  Object.assign(settings, changes);
  rememberSettings(settings);
  showSettings();
  render();
}

/** Write the settings into the form. */
function showSettings() {
  find(`input[name=source][value=${settings.source === "screen" ? "screen" : "camera"}]`).checked = true;
  for (const name of /** @type {const} */ (["height", "fps", "kbps", "codec"])) {
    const select = form.elements[name];
    select.value = String(settings[name]);
    // A value of an older page, or a codec of another browser: the browser's own choice.
    if (select.selectedIndex < 0) {
      select.selectedIndex = 0;
      Object.assign(settings, { [name]: typeof settings[name] === "number" ? 0 : "" });
    }
  }
}

/** @param {Event} event */
async function settingChanged(event) {
  const { name, value } = /** @type {HTMLInputElement} */ (event.target);
  const known = name in settings;
  if (!known) return;
  choose({ [name]: typeof (/** @type {any} */ (settings)[name]) === "number" ? Number(value) : value });
  if (["source", "cameraId", "micId"].includes(name)) {
    if (capture.isOpen || name === "source") await openCapture();
  } else if (name === "codec") {
    await publisher?.publication.setCodec(settings.codec || undefined);
  } else if (["height", "fps", "kbps"].includes(name)) {
    if (name !== "kbps") await capture.constrain(choice());
    await limit();
  }
}

/** Show the preview unasked only where the person has allowed the camera before: no prompt without a click. */
async function followPermission() {
  try {
    const permission = await navigator.permissions.query({ name: /** @type {PermissionName} */ ("camera") });
    const openIfAllowed = () => permission.state === "granted" && settings.source === "camera" && !capture.isOpen && openCapture();
    // Granted in the browser's settings meanwhile: no second click.
    permission.addEventListener("change", openIfAllowed);
    openIfAllowed();
  } catch {
    // Firefox did not tell for long; the button is there.
  }
}

onlineButton.addEventListener("click", goOnline);
stopButton.addEventListener("click", goOffline);
find("#preview-button").addEventListener("click", () => {
  clearNotices();
  openCapture();
});
find("#mic").addEventListener("click", () => {
  choose({ wantsMic: !settings.wantsMic });
  capture.enable("audio", settings.wantsMic);
});
find("#camera").addEventListener("click", () => {
  choose({ wantsPicture: !settings.wantsPicture });
  capture.enable("video", settings.wantsPicture);
});
flipButton.addEventListener("click", () => {
  choose({ cameraId: nextCamera() });
  openCapture();
});
find("#another-screen").addEventListener("click", () => openCapture({ anew: true }));
form.addEventListener("submit", (/** @type {Event} */ event) => event.preventDefault());
form.addEventListener("change", (/** @type {Event} */ event) => {
  settingChanged(event).catch((error) => showNotice(messageOf(error)));
});
nameInput.addEventListener("change", () => {
  nameInput.value = cleanName(nameInput.value);
  choose({ name: nameInput.value });
});
capture.addEventListener("ended", (event) => captureEnded(/** @type {CustomEvent} */ (event).detail.kind));
// A phone was turned: its height is another.
preview.addEventListener("resize", limit);
navigator.mediaDevices?.addEventListener("devicechange", () => capture.isOpen && fillSelects().then(render));
addEventListener("online", wakeUp);
document.addEventListener("visibilitychange", () => document.hidden || wakeUp());
addEventListener("pagehide", goOffline);
setInterval(refresh, REFRESH_INTERVAL_MS);

form.elements.codec.append(...sendableCodecs().map(({ id, label }) => new Option(label, id)));
// Under a token there is one name that the server accepts.
settings.name = cleanName(options.get("name") ?? clientIdOf(options.get("token") ?? "") ?? settings.name) || freshName();
nameInput.value = settings.name;
showSettings();
const insecure = insecureContextMessage(location);
if (insecure) showRefusal(insecure, null);
else followPermission();
render();
