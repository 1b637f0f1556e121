// @ts-check
/** Keeping what a tile shows: a snapshot as PNG, a recording as WebM or MP4. Nothing leaves this machine. */

import { download } from "./ui.js";

/** A recording is kept in memory until it is saved; more than this would endanger the page. */
const MAX_RECORDING_BYTES = 512 * 1024 * 1024;
/** A recording ends by itself after this, so that one that was forgotten does not go on for ever. */
const MAX_RECORDING_MS = 2 * 60 * 60 * 1_000;
/** How often the recorder hands over what it has. */
const CHUNK_MS = 1_000;
/** Formats in order of preference: what players take without being asked twice comes first. */
const FORMATS = [
  "video/mp4;codecs=avc1.42E01E,mp4a.40.2",
  "video/webm;codecs=vp9,opus",
  "video/webm;codecs=vp8,opus",
  "video/webm",
  "audio/webm",
];

/** @typedef {"asked" | "full" | "interrupted"} RecordingEnd why a recording ended */

/** Why a recording ended, in words that go before the file's name. @type {Record<RecordingEnd, string>} */
export const RECORDING_ENDS = {
  asked: "Saved",
  full: "The recording has reached its longest, saved",
  interrupted: "The recording ended with the link, saved",
};

/** Whether this browser can record at all. */
export function canRecord() {
  return typeof MediaRecorder === "function";
}

/**
 * Save the picture that a video shows now.
 * @param {HTMLVideoElement} video
 * @param {string} name
 * @returns {Promise<string>} the file's name; rejects where there is no picture
 */
export async function saveSnapshot(video, name) {
  if (!video.videoWidth) throw new Error(`There is no picture of ${name} yet.`);
  const canvas = document.createElement("canvas");
  canvas.width = video.videoWidth;
  canvas.height = video.videoHeight;
  canvas.getContext("2d")?.drawImage(video, 0, 0);
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
  if (!blob) throw new Error("The browser could not make a picture file.");
  const file = fileName(name, "png");
  download(blob, file);
  return file;
}

/** One recording of one stream, saved when it ends, for whatever reason. */
export class Recording {
  /** @type {Blob[]} */ #chunks = [];
  #bytes = 0;
  /** @type {RecordingEnd} */ #end = "interrupted";
  /** @type {any} */ #timer;
  #recorder;
  #ended;

  /**
   * @param {MediaStream} stream
   * @param {string} name
   * @param {(end: RecordingEnd, file: string | null) => void} ended file is null where nothing was recorded
   */
  constructor(stream, name, ended) {
    const mimeType = FORMATS.find((format) => MediaRecorder.isTypeSupported(format));
    // A copy: a stream whose tracks change ends its recorder with an error.
    this.#recorder = new MediaRecorder(new MediaStream(stream.getTracks()), mimeType ? { mimeType } : {});
    this.#ended = ended;
    this.name = name;
    this.startedAt = performance.now();
    this.#recorder.ondataavailable = ({ data }) => this.#take(data);
    this.#recorder.onstop = () => this.#save();
    this.#recorder.onerror = () => this.#stop("interrupted");
    this.#recorder.start(CHUNK_MS);
    this.#timer = setTimeout(() => this.#stop("full"), MAX_RECORDING_MS);
  }

  /** End it because somebody asked to; it is saved. */
  stop() {
    this.#stop("asked");
  }

  /** End it because its stream did; it is saved. */
  interrupt() {
    this.#stop("interrupted");
  }

  /** @param {Blob} chunk */
  #take(chunk) {
    this.#chunks.push(chunk);
    this.#bytes += chunk.size;
    if (this.#bytes > MAX_RECORDING_BYTES) this.#stop("full");
  }

  /** @param {RecordingEnd} end */
  #stop(end) {
    clearTimeout(this.#timer);
    if (this.#recorder.state === "inactive") return;
    this.#end = end;
    this.#recorder.stop();
  }

  #save() {
    clearTimeout(this.#timer);
    const type = this.#recorder.mimeType;
    const blob = new Blob(this.#chunks, { type });
    this.#chunks = [];
    const file = blob.size > 0 ? fileName(this.name, type.includes("mp4") ? "mp4" : "webm") : null;
    if (file) download(blob, file);
    this.#ended(this.#end, file);
  }
}

/** @param {string} name @param {string} extension */
function fileName(name, extension) {
  const now = new Date();
  const two = (/** @type {number} */ value) => String(value).padStart(2, "0");
  const date = [now.getFullYear(), two(now.getMonth() + 1), two(now.getDate())].join("-");
  const time = [now.getHours(), now.getMinutes(), now.getSeconds()].map(two).join("-");
  return `${name} ${date} ${time}.${extension}`;
}
