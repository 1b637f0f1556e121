// @ts-check
/** One conversation of the drone client's module: one camera of one drone, with that client's names. */

import { readStats } from "./stats.js";

/** The camera of a conversation that names none. */
export const DEFAULT_TRACK = "default";

/**
 * `connecting` until the drone is there; `routing` while its media is negotiated, and again while a lost link is made
 * anew; `connected` only while media can flow; `cancelled` when another join took its place before that.
 * @typedef {"initializing" | "connecting" | "routing" | "connected" | "closing" | "closed" | "cancelled"} TalkStatus
 */

/** @type {Record<TalkStatus, readonly TalkStatus[]>} */
const NEXT = {
  initializing: ["connecting", "closing", "cancelled"],
  connecting: ["routing", "closing", "cancelled"],
  routing: ["connecting", "connected", "closing", "cancelled"],
  connected: ["connecting", "routing", "closing"],
  closing: ["closed"],
  closed: [],
  cancelled: [],
};

/** @typedef {Event & {stream: MediaStream, talk: CTalk}} RemoveStreamEvent */

/**
 * What the page wants to hear, by the original's names; each gets the conversation first, where nothing else is said.
 * @typedef {object} TalkCallbacks
 * @property {(talk: CTalk, error: Error) => void} onError the conversation goes on unless its status says otherwise
 * @property {(talk: CTalk) => void} onConnect media can flow, at first and after each loss
 * @property {(talk: CTalk) => void} onDisplayVideo `talk.stream` has the camera; once, unless it was taken away since
 * @property {(talk: CTalk) => void} onAddStream the same moment, for pages of the older client
 * @property {(event: RemoveStreamEvent) => void} onRemoveStream the drone took the camera away
 * @property {(talk: CTalk) => void} onClosing
 * @property {(talk: CTalk) => void} onDisconnected
 * @property {(number: string) => void} onOrphanDisconnect the drone stopped after the conversation had been hung up
 * @property {(talk: CTalk, fps: number) => void} onFrameRateUpdate once a second
 *
 * What a conversation needs of the module.
 * @typedef {object} TalkParent
 * @property {(talk: CTalk, sendToParty: boolean) => void} hungUp
 * @property {(talk: CTalk) => void} statusChanged
 * @property {(error: unknown) => void} debugError
 */

/** A conversation about one camera. Made by `AndruavStream.joinStream()`. */
export class CTalk {
  /** @type {TalkStatus} */ status = "initializing";
  /** When it was asked for, in milliseconds since 1970. */
  startedAt = Date.now();
  /** The camera and the drone's sound, for `video.srcObject`; the same object for the conversation's whole life. */
  stream = new MediaStream();
  /** Another one after each loss; shared by the conversations with one drone. @type {RTCPeerConnection | null} */
  pc = null;
  isClosed = false;
  hasReceivedSdp = false;
  dialed = false;
  offer = false;
  answer = false;
  /** The page's own, like the two below: kept here because it looks for them here. */
  videoRecording = false;
  /** @type {any} */ recorderObject = null;
  /** @type {number | undefined} */ VideoStreaming = undefined;
  /** Frames a second of the last reading. */
  m_actualFrameRate = 0;
  /** Bytes of this camera so far, over all its connections. */
  m_bytesReceived = 0;

  /** @type {TalkCallbacks["onError"]} */ onError = () => {};
  /** @type {TalkCallbacks["onConnect"]} */ onConnect = () => {};
  /** @type {TalkCallbacks["onDisplayVideo"]} */ onDisplayVideo = () => {};
  /** @type {TalkCallbacks["onAddStream"]} */ onAddStream = () => {};
  /** @type {TalkCallbacks["onRemoveStream"]} */ onRemoveStream = () => {};
  /** @type {TalkCallbacks["onClosing"]} */ onClosing = () => {};
  /** @type {TalkCallbacks["onDisconnected"]} */ onDisconnected = () => {};
  /** @type {TalkCallbacks["onOrphanDisconnect"]} */ onOrphanDisconnect = () => {};
  /** @type {TalkCallbacks["onFrameRateUpdate"]} */ onFrameRateUpdate = () => {};

  /** The camera in `stream`, with the publisher's id. @type {{id: string, track: MediaStreamTrack} | null} */
  #camera = null;
  #isShown = false;
  #lastBytes = 0; // of the present connection
  #parent;

  /** @param {string} number @param {string} targetVideoTrack @param {TalkParent} parent */
  constructor(number, targetVideoTrack, parent) {
    /** The drone: its client id at the server. */
    this.number = number;
    /** The camera: a track's id or label, in any case and with `_` for spaces; `default` is the drone's first. */
    this.targetVideoTrack = targetVideoTrack;
    this.#parent = parent;
  }

  /** The older client's name for it. */
  get closed() {
    return this.isClosed;
  }

  /** The publisher's id of the camera that is received; null while none is. */
  get trackId() {
    return this.#camera?.id ?? null;
  }

  /** Whether it still waits for the first picture, and another join may take its place. */
  get isPending() {
    return !this.isClosed && !this.#isShown && this.status !== "connected";
  }

  /**
   * Change the status; what cannot follow the present one is refused and told to `debugError`.
   * @param {TalkStatus} status
   */
  setStatus(status) {
    if (status === this.status) return;
    if (!NEXT[this.status].includes(status)) {
      const allowed = NEXT[this.status].join(", ") || "nothing";
      const what = `A conversation that is ${this.status} cannot be ${status}; ${allowed} can follow.`;
      this.#parent.debugError(new Error(what));
      return;
    }
    this.status = status;
    this.#parent.statusChanged(this);
  }

  /**
   * End it. Idempotent.
   * @param {boolean} [sendToParty] accepted for the original's sake: the server is always told, and tells the drone
   *   when nobody else is watching
   */
  hangup(sendToParty = true) {
    if (this.isClosed) return;
    this.isClosed = true;
    this.setStatus("closing");
    this.call(() => this.onClosing(this));
    this.#parent.hungUp(this, sendToParty);
    this.#release();
    this.setStatus("closed");
    this.call(() => this.onDisconnected(this));
  }

  /** Make room for the join that takes its place; that one's callbacks tell what comes. @internal */
  cancel() {
    this.isClosed = true;
    this.setStatus("cancelled");
    this.#release();
  }

  /**
   * Take over callbacks; those left out stay as they are.
   * @internal
   * @param {Partial<TalkCallbacks> & {onRemovestream?: TalkCallbacks["onRemoveStream"]}} config
   */
  adopt(config) {
    this.onError = config.onError ?? this.onError;
    this.onConnect = config.onConnect ?? this.onConnect;
    this.onDisplayVideo = config.onDisplayVideo ?? this.onDisplayVideo;
    this.onAddStream = config.onAddStream ?? this.onAddStream;
    this.onRemoveStream = config.onRemovestream ?? config.onRemoveStream ?? this.onRemoveStream;
    this.onClosing = config.onClosing ?? this.onClosing;
    this.onDisconnected = config.onDisconnected ?? this.onDisconnected;
    this.onOrphanDisconnect = config.onOrphanDisconnect ?? this.onOrphanDisconnect;
    this.onFrameRateUpdate = config.onFrameRateUpdate ?? this.onFrameRateUpdate;
  }

  /** Call back; what the page throws is the page's, and reported as such. @internal @param {() => void} callback */
  call(callback) {
    try {
      callback();
    } catch (error) {
      reportError(error);
    }
  }

  /** Tell what went wrong; it goes on. @internal @param {Error} error */
  failed(error) {
    this.#parent.debugError(error);
    this.call(() => this.onError(this, error));
  }

  /** Take a track: the camera, or sound. @internal @param {string} id @param {MediaStreamTrack} track */
  addTrack(id, track) {
    this.hasReceivedSdp = this.offer = true;
    const before = track.kind === "video" ? this.#camera : null;
    if (before?.track.id === track.id) this.stream.removeTrack(before.track); // browsers refuse a second one of an id
    this.stream.addTrack(track);
    // In this order: a stream without tracks ends the picture.
    if (before && before.track !== track) this.stream.removeTrack(before.track);
    if (track.kind === "video") this.#camera = { id, track };
  }

  /** @internal @param {MediaStreamTrack} track */
  removeTrack(track) {
    this.stream.removeTrack(track);
    if (this.#camera?.track === track) this.#camera = null;
  }

  /** The drone no longer has this camera. @internal */
  cameraRemoved() {
    if (!this.#isShown) return;
    this.#isShown = false;
    const event = Object.assign(new Event("removestream"), { stream: this.stream, talk: this });
    this.call(() => this.onRemoveStream(event));
  }

  /**
   * Follow the drone's media.
   * @internal
   * @param {import("./feed.js").FeedState | null} state null while the drone sends nothing
   * @param {RTCPeerConnection | null} pc
   */
  follow(state, pc) {
    if (this.isClosed) return;
    if (pc !== this.pc) this.#lastBytes = 0;
    this.pc = pc;
    if (state === null || state === "idle" || state === "ended") {
      this.setStatus("connecting");
    } else if (state !== "live" || this.#camera === null) {
      this.setStatus("routing");
    } else if (this.status !== "connected") {
      this.setStatus("routing");
      this.answer = true;
      this.setStatus("connected");
      this.call(() => this.onConnect(this));
    }
    if (this.status === "connected") this.display();
  }

  /** Hand the picture to the page, unless it has it. @internal */
  display() {
    if (this.#isShown || this.isClosed) return;
    this.#isShown = true;
    this.call(() => this.onAddStream(this));
    this.call(() => this.onDisplayVideo(this));
  }

  /** Hand the picture to the page once more: another part of it asks. @internal */
  displayAgain() {
    this.#isShown = false;
    if (this.status === "connected") this.display();
  }

  /**
   * Read the numbers of this moment.
   * @internal
   * @returns {Promise<number | null>} bytes since the last reading; null where there is nothing to read
   */
  async measure() {
    const { pc } = this;
    const camera = this.#camera;
    if (!pc || !camera || this.status !== "connected") return null;
    const reports = [.../** @type {Iterable<[string, any]>} */ (await readStats(pc))].map(([, report]) => report);
    const own = reports.find((report) => report.type === "inbound-rtp" && report.trackIdentifier === camera.track.id);
    if (this.isClosed || pc !== this.pc || !own) return null;
    const grown = Math.max(0, (own.bytesReceived ?? 0) - this.#lastBytes);
    this.#lastBytes = own.bytesReceived ?? 0;
    this.m_bytesReceived += grown;
    this.m_actualFrameRate = own.framesPerSecond ?? 0;
    return grown;
  }

  /** Let go of media; the last picture stays for as long as the page shows the stream. */
  #release() {
    this.pc = null;
    this.#camera = null;
    this.m_actualFrameRate = 0;
  }
}
