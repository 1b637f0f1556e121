// @ts-check
/** One camera on the wall: its picture, sound, state and numbers. */

import { endedMessageOf } from "./messages.js";
import { find, fromTemplate, setText, showNumbers } from "./ui.js";

/** No new frame for this long is a frozen picture, and said so. */
const FROZEN_AFTER_MS = 2_500;
/** Speech is around 0.1 to 0.3 on RFC 6464's scale; the square root makes quiet things visible. */
const METER_GAIN = 1.6;
/** Below this it is silence. */
const HEARD_FROM_LEVEL = 0.003;

/** @typedef {"idle" | "connecting" | "starting" | "live" | "frozen" | "lost" | "ended"} TileState */

/** Show one feed at a time; a feed of the same device may follow in the same place. */
export class Tile {
  /** @type {TileState} */ #state = "connecting";
  /** @type {import("./feed.js").Feed} */ #feed;
  #frames = 0;
  #framesChangedAt = 0;
  #parts;

  /** @param {import("./feed.js").Feed} feed */
  constructor(feed) {
    /** The tile's root, for the page to place. */
    this.element = fromTemplate("tile-template");
    const part = (/** @type {string} */ name) => find(name, this.element);
    this.#parts = {
      video: /** @type {HTMLVideoElement} */ (part("video")),
      cover: part(".tile-cover"),
      title: part(".tile-cover-title"),
      text: part(".tile-cover-text"),
      badge: part(".tile-badge"),
      name: part(".tile-name"),
      sound: part(".tile-sound"),
      soundLabel: part(".tile-sound-label"),
      meter: part(".meter"),
      fullscreen: part(".tile-fullscreen"),
      numbers: part(".numbers"),
    };
    this.#listen();
    this.#feed = feed;
    this.attach(feed);
  }

  get feed() {
    return this.#feed;
  }

  get state() {
    return this.#state;
  }

  /**
   * Show this feed from now on, keeping place, sound setting and full screen.
   * @param {import("./feed.js").Feed} feed
   */
  attach(feed) {
    this.#feed = feed;
    this.#frames = 0;
    const name = feed.device ?? `Camera ${feed.id}`;
    setText(this.#parts.name, name);
    this.element.dataset.feed = String(feed.id);
    this.element.setAttribute("aria-label", name);
    this.#parts.video.srcObject = feed.stream;
    const current = (/** @type {() => void} */ handler) => () => this.#feed === feed && handler();
    feed.addEventListener("track", current(() => this.#tracksChanged()));
    feed.addEventListener("state", current(() => this.#feedChanged()));
    this.#tracksChanged();
    this.#feedChanged();
  }

  /** Read the feed's numbers and judge whether the picture moves. About once a second. */
  async refresh() {
    const feed = this.#feed;
    const stats = await feed.stats();
    if (feed !== this.#feed) return;
    showNumbers(this.#parts.numbers, stats);
    if (!stats || feed.state !== "live") return;
    const now = performance.now();
    if (stats.frames !== this.#frames || this.#framesChangedAt === 0) this.#framesChangedAt = now;
    this.#frames = stats.frames;
    if (this.#isSoundOnly()) this.#setState("live");
    else if (stats.frames === 0) this.#setState("starting");
    else this.#setState(now - this.#framesChangedAt > FROZEN_AFTER_MS ? "frozen" : "live");
  }

  /** Move the sound meter. About ten times a second. */
  refreshMeter() {
    const level = this.#feed.state === "live" ? (this.#feed.audioLevel() ?? 0) : 0;
    this.#parts.meter.style.setProperty("--level", String(Math.min(1, Math.sqrt(level) * METER_GAIN)));
    this.#parts.meter.toggleAttribute("data-heard", level > HEARD_FROM_LEVEL && !this.#parts.video.muted);
  }

  /** Leave the page. */
  remove() {
    this.#parts.video.srcObject = null;
    this.element.remove();
  }

  #listen() {
    const { video, sound, fullscreen } = this.#parts;
    sound.addEventListener("click", () => this.#setMuted(!video.muted));
    fullscreen.addEventListener("click", () => this.#toggleFullscreen());
    this.element.addEventListener("fullscreenchange", () => {
      const isFull = document.fullscreenElement === this.element;
      fullscreen.setAttribute("aria-pressed", String(isFull));
      fullscreen.setAttribute("aria-label", isFull ? "Leave full screen" : "Full screen");
    });
    find(".tile-picture", this.element).addEventListener("dblclick", () => this.#toggleFullscreen());
    // The first picture, before the next reading of the numbers would tell.
    video.addEventListener("playing", () => {
      if (this.#feed.state === "live" && video.videoWidth > 0) this.#setState("live");
    });
    // A phone pauses videos when it is locked.
    video.addEventListener("pause", () => this.#feed.state !== "ended" && this.#play());
    video.muted = true; // the attribute is only the default of a parsed element, not of a cloned one
  }

  #tracksChanged() {
    const { video, sound, soundLabel, meter } = this.#parts;
    const hasSound = this.#feed.stream.getAudioTracks().length > 0;
    sound.disabled = !hasSound;
    meter.hidden = !hasSound;
    setText(soundLabel, hasSound ? soundText(video.muted) : "No sound");
    sound.setAttribute("aria-pressed", String(hasSound && !video.muted));
    this.#play();
  }

  /** @param {boolean} muted */
  #setMuted(muted) {
    this.#parts.video.muted = muted;
    this.#tracksChanged();
  }

  #play() {
    const { video } = this.#parts;
    if (!video.srcObject) return;
    video.play().catch((error) => {
      // Sound before any click is refused: the picture alone is not.
      if (error.name === "NotAllowedError" && !video.muted) this.#setMuted(true);
    });
  }

  #feedChanged() {
    const { state } = this.#feed;
    if (state !== "live") this.#setState(state);
    else if (this.#state !== "live") {
      this.#framesChangedAt = 0;
      this.#setState("starting");
      this.#play();
    }
  }

  /** @param {TileState} state */
  #setState(state) {
    const { cover, title, text, badge } = this.#parts;
    this.#state = state;
    this.element.dataset.state = state;
    this.element.toggleAttribute("data-sound-only", state === "live" && this.#isSoundOnly());
    const words = this.#words(state);
    cover.hidden = words === null;
    setText(title, words?.title ?? "");
    setText(text, words?.text ?? "");
    badge.hidden = state !== "live" && state !== "frozen";
    badge.classList.toggle("badge-live", state === "live");
    badge.classList.toggle("badge-warn", state === "frozen");
    setText(badge, state === "frozen" ? "FROZEN" : "LIVE");
  }

  /**
   * @param {TileState} state
   * @returns {import("./messages.js").Message | null} null where the picture speaks for itself
   */
  #words(state) {
    switch (state) {
      case "connecting":
        return { title: "Connecting", text: "Setting up the link to the server." };
      case "starting":
        return { title: "Connected", text: "Waiting for the first picture." };
      case "lost":
        return this.#feed.reason ? endedMessageOf(this.#feed.reason) : { title: "Connection lost", text: "Trying to get it back." };
      case "ended":
        return endedMessageOf(this.#feed.reason);
      case "live":
        return this.#isSoundOnly() ? { title: "Sound only", text: "This device sends no picture." } : null;
      default:
        return null;
    }
  }

  #isSoundOnly() {
    const { stream } = this.#feed;
    return stream.getAudioTracks().length > 0 && stream.getVideoTracks().length === 0;
  }

  async #toggleFullscreen() {
    const { video } = this.#parts;
    if (document.fullscreenElement) await document.exitFullscreen();
    else if (this.element.requestFullscreen) await this.element.requestFullscreen();
    else /** @type {any} */ (video).webkitEnterFullscreen?.(); // iPhones give full screen only to videos
  }
}

/** @param {boolean} muted */
function soundText(muted) {
  return muted ? "Sound off" : "Sound on";
}
