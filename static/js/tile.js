// @ts-check
/** One camera on the wall: its picture, sound, state and numbers. */

import { chooseTracks, chosenCamera } from "./camera-choice.js";
import { Fullscreen } from "./fullscreen.js";
import { drawGraphs, History } from "./graphs.js";
import { Liveness, newestPictureAt } from "./liveness.js";
import { badgeOf, coverOf, spokenOf } from "./messages.js";
import { Recording, RECORDING_ENDS, saveSnapshot } from "./recording.js";
import { ACTIONS, runAction } from "./tile-actions.js";
import { moveMeter } from "./tile-meter.js";
import { clockText, element, find, fromTemplate, icon, setText, showNumbers } from "./ui.js";

/** Actions whose button is in the template. */
const IN_BAR = new Set(["sound", "fullscreen"]);

/**
 * `asked`: the device has been invited; `absent`: it is not online; `unanswered`: it did not come. The rest has a feed.
 * @typedef {"asked" | "absent" | "unanswered" | "idle" | "connecting" | "starting" | "live" | "frozen" | "paused" | "lost" |
 *   "unplayable" | "ended"} TileState
 *
 * What a tile needs of its page.
 * @typedef {object} TileHost
 * @property {(tile: Tile | null) => void} spotlight
 * @property {(tile: Tile) => void} close
 * @property {(tile: Tile) => void} again ask the device once more
 * @property {(tile: Tile, opener: HTMLElement) => void} menu
 * @property {(tile: Tile) => void} clicked its picture was
 * @property {(tile: Tile) => void} changed its state is another
 * @property {(tile: Tile, text: string) => void} say something worth being told aloud has happened
 * @property {(tile: Tile, camera: string | null) => void} link copy a link to it
 * @property {(error: any) => void} failed
 */

/** Show one feed at a time; a feed of the same device may follow in the same place. */
export class Tile {
  /** @type {TileState} */ #state = "asked";
  /** @type {import("./feed.js").Feed | null} null while it waits for its device */ #feed = null;
  /** @type {AbortController | null} the listeners on the feed */ #attached = null;
  /** @type {Recording | null} */ #recording = null;
  /** @type {string | null} the label or id of the camera that was chosen; ids change when a device restarts */ #camera;
  #wantsPause = false;
  #liveness = new Liveness();
  #history = new History();
  #isInView = true;
  /** Since the meter moved: a short sound between two moves is not to be missed. */
  #loudest = 0;
  #fullscreen;
  #parts;

  /**
   * @param {string} name
   * @param {string | null} device null on servers that do not say whose feed it is
   * @param {TileHost} host
   * @param {string | null} camera which of several cameras to show first, by label or id
   */
  constructor(name, device, host, camera = null) {
    this.name = name;
    this.device = device;
    this.host = host;
    this.#camera = camera;
    /** The tile's root, for the page to place. */
    this.element = fromTemplate("tile-template");
    const part = (/** @type {string} */ name) => find(name, this.element);
    this.#parts = {
      video: /** @type {HTMLVideoElement} */ (part("video")),
      cover: part(".tile-cover"),
      title: part(".tile-cover-title"),
      text: part(".tile-cover-text"),
      again: part(".tile-again"),
      badge: part(".tile-badge"),
      recording: part(".tile-recording"),
      sound: part(".tile-sound"),
      soundLabel: part(".tile-sound-label"),
      meter: part(".meter"),
      fullscreen: part(".tile-fullscreen"),
      numbers: part(".numbers"),
      cameras: /** @type {HTMLSelectElement} */ (part(".tile-cameras")),
      tools: part(".tile-tools"),
    };
    this.#fullscreen = new Fullscreen(this.element, this.#parts.video, () => this.update());
    setText(part(".tile-name"), name);
    this.element.setAttribute("aria-label", name);
    this.element.dataset.device = device ?? "";
    this.#addTools();
    this.#listen();
    this.update();
  }

  get feed() {
    return this.#feed;
  }

  get state() {
    return this.#state;
  }

  get isLive() {
    return this.#state === "live" || this.#state === "frozen";
  }

  get isMuted() {
    return this.#parts.video.muted;
  }

  get hasSound() {
    return (this.#feed?.stream.getAudioTracks().length ?? 0) > 0;
  }

  get hasPicture() {
    return this.#parts.video.videoWidth > 0;
  }

  get isPaused() {
    return this.#wantsPause;
  }

  get canPause() {
    return this.#feed !== null && (this.isLive || this.#state === "paused");
  }

  get isRecording() {
    return this.#recording !== null;
  }

  get isSpotlight() {
    return this.element.hasAttribute("data-spotlight");
  }

  get isFullscreen() {
    return this.#fullscreen.isOn;
  }

  get isInPictureInPicture() {
    return document.pictureInPictureElement === this.#parts.video;
  }

  /** The chosen camera's label or id; null where there is no choice. */
  get camera() {
    return this.#parts.cameras.hidden ? null : this.#camera;
  }

  /**
   * Wait for the device.
   * @param {"asked" | "absent" | "unanswered"} why
   */
  expect(why) {
    if (this.#feed && this.#feed.state !== "ended") return;
    this.#feed = null;
    this.#setState(why);
  }

  /**
   * Show this feed from now on, keeping place, sound setting and full screen.
   * @param {import("./feed.js").Feed} feed
   */
  attach(feed) {
    this.#attached?.abort();
    this.#attached = new AbortController();
    const { signal } = this.#attached;
    this.#feed = feed;
    this.#wantsPause = false;
    this.element.dataset.feed = String(feed.id);
    this.#parts.video.srcObject = feed.stream;
    feed.addEventListener("track", () => this.#tracksChanged(), { signal });
    feed.addEventListener("trackremoved", () => this.#recording?.interrupt(), { signal });
    feed.addEventListener("tracks", () => this.#offerChanged(), { signal });
    feed.addEventListener("state", () => this.#feedChanged(), { signal });
    this.#offerChanged();
    this.#tracksChanged();
    this.#feedChanged();
  }

  /**
   * Read the feed's numbers. About once a second.
   * @param {boolean} showsNumbers
   */
  async refresh(showsNumbers) {
    const feed = this.#feed;
    if (!feed) return;
    const stats = await feed.stats();
    if (feed !== this.#feed) return;
    this.#history.add(stats);
    if (this.#isInView) {
      showNumbers(this.#parts.numbers, stats);
      if (showsNumbers) drawGraphs(this.#parts.numbers, this.#history);
    }
    if (stats) this.#liveness.counted(stats.frames);
    this.#showRecording();
  }

  /** Judge whether the picture moves, and say so. Some times a second. */
  judge() {
    const feed = this.#feed;
    if (feed?.state !== "live") return;
    this.#liveness.timed(newestPictureAt(feed.peerConnection));
    const state = this.#wantsPause ? "paused" : this.#isSoundOnly() ? "live" : this.#liveness.update(performance.now());
    if (state === this.#state) this.#showBadge(); // it counts seconds
    else this.#setState(state);
  }

  /** Hear how loud it is, about ten times a second, and move the meter when it `isDue`. @param {boolean} isDue */
  refreshMeter(isDue) {
    if (!this.#isInView || this.#parts.meter.hidden) return;
    const level = this.#feed?.state === "live" ? (this.#feed.audioLevel() ?? 0) : 0;
    this.#loudest = Math.max(this.#loudest, level);
    if (!isDue) return;
    moveMeter(this.#parts.meter, this.#loudest, this.isMuted);
    this.#loudest = 0;
  }

  /** Tiles out of view are judged, but nothing of them is drawn. @param {boolean} isInView */
  setInView(isInView) {
    this.#isInView = isInView;
  }

  /** Leave the page. */
  remove() {
    this.#attached?.abort();
    this.#recording?.interrupt();
    this.#parts.video.srcObject = null;
    this.#feed = null;
    this.element.remove();
  }

  // --- what can be done -----------------------------------------------------------------------------------------------

  toggleSound() {
    this.#parts.video.muted = !this.isMuted;
    this.#play();
    this.update();
  }

  toggleFullscreen() {
    return this.#fullscreen.toggle().catch((error) => this.host.failed(error));
  }

  async togglePictureInPicture() {
    try {
      if (this.isInPictureInPicture) await document.exitPictureInPicture();
      else await this.#parts.video.requestPictureInPicture();
    } catch (error) {
      this.host.failed(error);
    }
  }

  async snapshot() {
    try {
      const file = await saveSnapshot(this.#parts.video, this.name);
      this.element.removeAttribute("data-flash");
      requestAnimationFrame(() => this.element.setAttribute("data-flash", ""));
      this.host.say(this, `Saved ${file}`);
    } catch (error) {
      this.host.failed(error);
    }
  }

  toggleRecording() {
    if (this.#recording) {
      this.#recording.stop();
      return;
    }
    try {
      this.#recording = new Recording(/** @type {MediaStream} */ (this.#feed?.stream), this.name, (end, file) => {
        this.#recording = null;
        this.host.say(this, file ? `${RECORDING_ENDS[end]} ${file}` : "Nothing was recorded");
        this.update();
      });
    } catch (error) {
      this.host.failed(error);
    }
    this.update();
  }

  async togglePause() {
    const feed = this.#feed;
    if (!feed) return;
    this.#wantsPause = !this.#wantsPause;
    this.#liveness.resumed(performance.now());
    this.#setState(this.#wantsPause ? "paused" : "live");
    try {
      await (this.#wantsPause ? feed.pause() : feed.resume());
    } catch (error) {
      this.#wantsPause = feed.paused.length > 0;
      this.host.failed(error);
      this.update();
    }
  }

  copyLink() {
    this.host.link(this, this.camera);
  }

  // --- the feed -------------------------------------------------------------------------------------------------------

  /** What the device publishes is another: there may be a camera to choose. */
  #offerChanged() {
    const feed = /** @type {import("./feed.js").Feed} */ (this.#feed);
    const { cameras } = this.#parts;
    const videos = feed.tracks.filter(({ kind }) => kind === "video");
    cameras.hidden = videos.length < 2;
    if (cameras.hidden) return;
    const shown = videos.find(({ id }) => feed.selected?.includes(id)) ?? chosenCamera(videos, this.#camera);
    cameras.replaceChildren(...videos.map(({ id, label }, index) => new Option(label || `Camera ${index + 1}`, id)));
    cameras.value = shown.id;
    this.#camera = shown.label || shown.id;
    // The one that was chosen is gone: another is better than none.
    if (feed.selected && !videos.some(({ id }) => feed.selected?.includes(id))) this.#choose(shown.id);
  }

  /** @param {string} id */
  #choose(id) {
    const feed = this.#feed;
    const chosen = feed?.tracks.find((track) => track.id === id);
    if (!feed || !chosen) return;
    this.#camera = chosen.label || chosen.id;
    const tracks = chooseTracks(feed.tracks, chosen.id);
    feed.receive({ tracks }).catch(() => {}); // it ends first: its state tells
  }

  #tracksChanged() {
    this.#play();
    this.update();
  }

  #feedChanged() {
    const state = this.#feed?.reason === "unplayable" ? "unplayable" : (this.#feed?.state ?? "idle");
    if (state === "lost" || state === "ended") this.#liveness.lost(performance.now());
    if (state !== "live") this.#setState(state);
    else if (!this.isLive) {
      this.#liveness.restart();
      this.#setState("starting");
      this.#play();
    }
  }

  // --- the picture ----------------------------------------------------------------------------------------------------

  #addTools() {
    for (const action of ACTIONS) {
      if (IN_BAR.has(action.id)) continue;
      const button = element("button", { type: "button", className: "button button-quiet button-icon" }, icon(action.icon));
      button.dataset.action = action.id;
      button.addEventListener("click", () => runAction(action.id, this));
      this.#parts.tools.append(button);
    }
  }

  #listen() {
    const { video, sound, fullscreen, cameras, again } = this.#parts;
    sound.addEventListener("click", () => this.toggleSound());
    fullscreen.addEventListener("click", () => this.toggleFullscreen());
    again.addEventListener("click", () => this.host.again(this));
    cameras.addEventListener("change", () => this.#choose(cameras.value));
    const more = find(".tile-more", this.element);
    more.addEventListener("click", () => this.host.menu(this, more));
    const picture = find(".tile-picture", this.element);
    picture.addEventListener("dblclick", () => this.toggleFullscreen());
    picture.addEventListener("click", () => this.host.clicked(this));
    for (const event of ["enterpictureinpicture", "leavepictureinpicture", "resize"]) {
      video.addEventListener(event, () => this.update());
    }
    // The first picture, before the next reading of the numbers would tell.
    video.addEventListener("playing", () => {
      if (this.#feed?.state === "live" && this.#state === "starting" && this.hasPicture) this.#setState("live");
    });
    // A phone pauses videos when it is locked; a small window has a pause button of its own.
    video.addEventListener("pause", () => this.#feed && this.#feed.state !== "ended" && !this.isInPictureInPicture && this.#play());
    video.muted = true; // the attribute is only the default of a parsed element, not of a cloned one
  }

  #play() {
    const { video } = this.#parts;
    if (!video.srcObject) return;
    video.play().catch((error) => {
      // Sound before any click is refused: the picture alone is not.
      if (error.name === "NotAllowedError" && !video.muted) this.toggleSound();
    });
  }

  /** @param {TileState} state */
  #setState(state) {
    const before = this.#state;
    this.#state = state;
    this.update();
    if (before === state) return;
    const words = spokenOf(state, this.#liveness.backAfterMs(performance.now()));
    if (words) this.host.say(this, words);
    this.host.changed(this);
  }

  /** Bring what is shown in line with what is. Cheap: nothing is written that stays the same. */
  update() {
    const { cover, title, text, again } = this.#parts;
    const state = this.#state;
    const isSoundOnly = state === "live" && this.#isSoundOnly();
    if (this.element.dataset.state !== state) this.element.dataset.state = state;
    this.element.toggleAttribute("data-sound-only", isSoundOnly);
    const words = coverOf(isSoundOnly ? "sound-only" : state, this.name, this.#feed);
    cover.hidden = words === null;
    setText(title, words?.title ?? "");
    setText(text, words?.text ?? "");
    again.hidden = state !== "unanswered" && state !== "ended";
    this.#showBadge();
    this.#showControls();
  }

  #showBadge() {
    const { badge } = this.#parts;
    const now = performance.now();
    const shown = badgeOf(this.#state, this.#liveness.stillMs(now), this.#liveness.backAfterMs(now));
    badge.hidden = shown === null;
    if (!shown) return;
    const className = `badge tile-badge badge-${shown.tone}`;
    if (badge.className !== className) badge.className = className;
    setText(badge, shown.text);
  }

  #showControls() {
    const { sound, soundLabel, meter, fullscreen, tools } = this.#parts;
    const { hasSound, isMuted } = this;
    sound.disabled = !hasSound;
    meter.hidden = !hasSound;
    setText(soundLabel, hasSound ? (isMuted ? "Sound off" : "Sound on") : "No sound");
    sound.setAttribute("aria-pressed", String(hasSound && !isMuted));
    fullscreen.setAttribute("aria-pressed", String(this.isFullscreen));
    fullscreen.setAttribute("aria-label", this.isFullscreen ? "Leave full screen" : "Full screen");
    for (const action of ACTIONS) {
      const button = /** @type {HTMLButtonElement | null} */ (tools.querySelector(`[data-action=${action.id}]`));
      if (!button) continue;
      button.disabled = !action.canRun(this);
      const label = action.label(this);
      if (button.title === label) continue;
      button.title = label;
      button.setAttribute("aria-label", label);
      button.toggleAttribute("data-on", action.isOn?.(this) ?? false);
    }
    this.#showRecording();
  }

  #showRecording() {
    const { recording } = this.#parts;
    recording.hidden = this.#recording === null;
    if (this.#recording) setText(recording, `REC ${clockText(performance.now() - this.#recording.startedAt)}`);
  }

  #isSoundOnly() {
    return this.hasSound && this.#feed?.stream.getVideoTracks().length === 0;
  }
}
