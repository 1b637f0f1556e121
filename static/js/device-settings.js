// @ts-check
/** What the device page lets one set, what of it is remembered, and what it means to the library. */

import { recall, remember } from "./preferences.js";

const STORAGE_KEY = "aiosfu.device";
/** What a name may not contain: the protocol's client ids have a small alphabet. */
const NOT_IN_A_NAME = /[^A-Za-z0-9._~-]+/g;
const NAME_MAX_CHARACTERS = 64;
/** The codecs that people may have a reason to choose, with that reason; others are left to the library's users. */
const CODECS = [
  ["VP8", "VP8, plays everywhere"],
  ["H264", "H264, light on phones"],
  ["VP9", "VP9, sharper"],
  ["AV1", "AV1, sharpest, heavy"],
];

/**
 * 0 and the empty string mean that the browser decides. There is no token among them: what is stored can be read by
 * whoever uses the browser next.
 * @typedef {object} Settings
 * @property {string} name
 * @property {string} source `camera` or `screen`
 * @property {string} cameraId
 * @property {string} micId
 * @property {number} height
 * @property {number} fps
 * @property {number} kbps
 * @property {string} codec
 * @property {boolean} wantsMic
 * @property {boolean} wantsPicture
 */

/** @type {Settings} */
const DEFAULTS = {
  name: "",
  source: "camera",
  cameraId: "",
  micId: "",
  height: 0,
  fps: 0,
  kbps: 0,
  codec: "",
  wantsMic: true,
  wantsPicture: true,
};

/**
 * Read what was remembered; what is missing or of another type is left at its default.
 * @returns {Settings}
 */
export function recallSettings() {
  return recall(STORAGE_KEY, DEFAULTS);
}

/** @param {Settings} settings */
export function rememberSettings(settings) {
  remember(STORAGE_KEY, settings);
}

/**
 * Make of what was typed a name that the protocol takes.
 * @param {string} name
 */
export function cleanName(name) {
  return name.trim().replace(NOT_IN_A_NAME, "-").slice(0, NAME_MAX_CHARACTERS);
}

/**
 * List the codecs that this browser can send.
 * @returns {{id: string, label: string}[]}
 */
export function sendableCodecs() {
  const codecs = globalThis.RTCRtpSender?.getCapabilities?.("video")?.codecs ?? [];
  const names = new Set(codecs.map(({ mimeType }) => mimeType.split("/")[1].toUpperCase()));
  return CODECS.filter(([id]) => names.has(id)).map(([id, label]) => ({ id, label }));
}

/**
 * Say what an encoder may do at most. A height is of the shorter side: a phone held upright keeps its share of pixels.
 * @param {Settings} settings
 * @param {MediaStreamTrack | null} picture
 * @returns {import("./sending.js").Limits}
 */
export function limitsOf({ kbps, fps, height }, picture) {
  const { width: across = 0, height: down = 0 } = picture?.getSettings() ?? {};
  const upright = height && across && across < down ? Math.round((height * down) / across) : height;
  return { kbps: kbps || undefined, fps: fps || undefined, height: upright || undefined };
}
