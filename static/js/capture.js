// @ts-check
/** Camera, microphone and screen: what the browser gives, as one stream whose tracks can be exchanged. */

/** What we ask a camera for where the person has no wish; it gives the nearest it can. */
const DEFAULT_HEIGHT = 720;
const DEFAULT_FPS = 30;
/** A screen's text must stay sharp, and it seldom moves. */
const DEFAULT_SCREEN_FPS = 15;
const WIDTH_BY_HEIGHT = 16 / 9;
/** What the name of an opened camera starts with, beside that of the screen. */
const CAMERA = "camera ";

/**
 * `cameraId` and `micId` are device ids; empty means the browser's default, and a camera may also be `user` (it faces
 * its owner) or `environment`. `height` in pixels and `fps` are wishes; 0 means none.
 * @typedef {"camera" | "screen"} Source
 * @typedef {"audio" | "video"} Kind
 * @typedef {{source: Source, cameraId: string, micId: string, height: number, fps: number}} Choice
 * @typedef {{kind: Kind, error: Error}} Problem what was asked for and is not there, beside what is
 */

/** The local media of a page. Events: `ended` (detail: `{kind}`) when the browser or the system took a track away. */
export class Capture extends EventTarget {
  /** The tracks that are open now. The same object for ever, so that a preview can hold it. */
  stream = new MediaStream();
  /** @type {Record<Kind, string>} which device each track is of, so that only what changes is opened anew */
  #opened = { audio: "", video: "" };

  get isOpen() {
    return this.stream.getTracks().length > 0;
  }

  get picture() {
    return this.stream.getVideoTracks()[0] ?? null;
  }

  get sound() {
    return this.stream.getAudioTracks()[0] ?? null;
  }

  get isScreen() {
    return this.picture !== null && this.#opened.video === "screen";
  }

  /** What `Choice.cameraId` was when the present camera was opened; null without one. */
  get cameraId() {
    return this.picture && !this.isScreen ? this.#opened.video.slice(CAMERA.length) : null;
  }

  /** Whether the picture is one's own face: then a preview is mirrored. */
  get isSelfView() {
    return this.picture !== null && !this.isScreen && this.picture.getSettings().facingMode !== "environment";
  }

  /**
   * Open what was chosen and is not open yet; what is exchanged goes on until the new is there.
   *
   * A camera without a microphone, and the reverse, is fine: that is a problem in the result, not an error.
   * @param {Choice} choice
   * @param {{anew?: boolean}} [options] `anew` opens the picture again although it is there: another window
   * @returns {Promise<Problem[]>} rejects with what getUserMedia or getDisplayMedia throws
   */
  async open(choice, { anew = false } = {}) {
    const video = choice.source === "screen" ? "screen" : `${CAMERA}${choice.cameraId}`;
    const audio = `microphone ${choice.micId}`;
    const needsVideo = anew || !this.#has("video", video);
    if (choice.source === "screen" && needsVideo) await this.#openScreen(choice);
    const hasSound = this.#has("audio", audio) || (choice.source === "screen" && this.#has("audio", "screen"));
    const constraints = {
      video: choice.source === "camera" && needsVideo ? cameraConstraints(choice) : undefined,
      audio: hasSound ? undefined : microphoneConstraints(choice.micId),
    };
    const { tracks, problems } = await this.#openDevices(constraints, choice.source);
    for (const track of tracks) this.#exchange(track, track.kind === "video" ? video : audio);
    return problems;
  }

  /**
   * Ask what is open for another size or rate, without opening it anew.
   * @param {Choice} choice
   */
  async constrain(choice) {
    const constraints = choice.source === "screen" ? screenConstraints(choice) : pictureConstraints(choice);
    await this.picture?.applyConstraints(constraints);
  }

  /** Switch everything off. Idempotent. */
  close() {
    for (const track of this.stream.getTracks()) this.#release(track);
  }

  /**
   * Mute or unmute without letting go of the device.
   * @param {Kind} kind
   * @param {boolean} on
   */
  enable(kind, on) {
    for (const track of this.stream.getTracks()) {
      if (track.kind === kind) track.enabled = on;
    }
  }

  /**
   * Drop what ended while the machine slept: browsers do not always tell a frozen page.
   * @returns {boolean} whether there was any
   */
  dropEnded() {
    const ended = this.stream.getTracks().filter((track) => track.readyState === "ended");
    for (const track of ended) this.stream.removeTrack(track);
    return ended.length > 0;
  }

  /** @param {Kind} kind @param {string} device */
  #has(kind, device) {
    const track = kind === "video" ? this.picture : this.sound;
    return track?.readyState === "live" && this.#opened[kind] === device;
  }

  /** The screen with its own sound where the browser offers it. @param {Choice} choice */
  async #openScreen(choice) {
    const screen = await navigator.mediaDevices.getDisplayMedia({ video: screenConstraints(choice), audio: true });
    for (const track of screen.getVideoTracks()) track.contentHint = "detail";
    for (const track of screen.getTracks()) this.#exchange(track, "screen");
  }

  /**
   * @param {{video?: MediaTrackConstraints, audio?: MediaTrackConstraints | boolean}} constraints
   * @param {Source} source
   * @returns {Promise<{tracks: MediaStreamTrack[], problems: Problem[]}>}
   */
  async #openDevices(constraints, source) {
    if (!constraints.video && !constraints.audio) return { tracks: [], problems: [] };
    try {
      return await openDevices(constraints);
    } catch (error) {
      // A screen, or a camera that is open already, is something without a microphone too.
      if (!constraints.video && (source === "screen" || this.picture)) {
        return { tracks: [], problems: [{ kind: "audio", error: /** @type {Error} */ (error) }] };
      }
      if (!constraints.video || !this.picture || !isBusy(error)) throw error;
    }
    // Most phones open one camera at a time: let go of the one to get the other.
    this.#release(this.picture);
    return openDevices(constraints);
  }

  /** @param {MediaStreamTrack} track @param {string} device */
  #exchange(track, device) {
    for (const old of this.stream.getTracks()) {
      if (old.kind === track.kind) this.#release(old);
    }
    this.stream.addTrack(track);
    this.#opened[/** @type {Kind} */ (track.kind)] = device;
    track.addEventListener("ended", () => this.#ended(track));
  }

  /** @param {MediaStreamTrack} track */
  #release(track) {
    this.stream.removeTrack(track);
    track.stop();
  }

  /** @param {MediaStreamTrack} track */
  #ended(track) {
    if (!this.stream.getTracks().includes(track)) return;
    this.stream.removeTrack(track);
    this.dispatchEvent(new CustomEvent("ended", { detail: { kind: track.kind } }));
  }
}

/**
 * List the devices of one kind; their names are known only after a permission.
 * @param {"videoinput" | "audioinput"} kind
 * @returns {Promise<{id: string, label: string}[]>}
 */
export async function listDevices(kind) {
  const devices = await navigator.mediaDevices.enumerateDevices();
  return devices.filter((d) => d.kind === kind && d.deviceId && d.label).map((d) => ({ id: d.deviceId, label: d.label }));
}

/**
 * Open both, or the one of the two that is to be had.
 * @param {{video?: MediaTrackConstraints, audio?: MediaTrackConstraints | boolean}} constraints
 * @returns {Promise<{tracks: MediaStreamTrack[], problems: Problem[]}>}
 */
async function openDevices(constraints) {
  /** @type {Error} */ let refusal;
  try {
    return { tracks: (await openNearest(constraints)).getTracks(), problems: [] };
  } catch (error) {
    refusal = /** @type {Error} */ (error);
    if (!constraints.video || !constraints.audio) throw error;
  }
  const tracks = [];
  const problems = [];
  for (const kind of /** @type {Kind[]} */ (["video", "audio"])) {
    try {
      // Asking again after a refusal would only annoy, unless this one of the two is allowed.
      if (refusal.name === "NotAllowedError" && (await permissionFor(kind)) !== "granted") throw refusal;
      tracks.push(...(await openNearest({ [kind]: constraints[kind] })).getTracks());
    } catch (error) {
      problems.push({ kind, error: /** @type {Error} */ (error) });
    }
  }
  if (tracks.length === 0) throw problems[0].error;
  return { tracks, problems };
}

/** A remembered device that is not there gives way to the default. @param {MediaStreamConstraints} constraints */
async function openNearest(constraints) {
  try {
    return await navigator.mediaDevices.getUserMedia(constraints);
  } catch (error) {
    if (/** @type {Error} */ (error).name !== "OverconstrainedError") throw error;
  }
  return navigator.mediaDevices.getUserMedia({ video: withoutDevice(constraints.video), audio: withoutDevice(constraints.audio) });
}

/** @param {MediaTrackConstraints | boolean | undefined} constraints */
function withoutDevice(constraints) {
  return typeof constraints === "object" ? { ...constraints, deviceId: undefined } : constraints;
}

/**
 * Ask whether a kind is allowed.
 * @param {Kind} kind
 * @returns {Promise<PermissionState | null>} null where the browser does not tell
 */
export async function permissionFor(kind) {
  const name = /** @type {PermissionName} */ (kind === "video" ? "camera" : "microphone");
  return navigator.permissions?.query({ name }).then(
    ({ state }) => state,
    () => null,
  );
}

/** @param {unknown} error */
function isBusy(error) {
  return ["NotReadableError", "AbortError"].includes(/** @type {Error} */ (error).name);
}

/** @param {Choice} choice @returns {MediaTrackConstraints} */
function cameraConstraints(choice) {
  const { cameraId } = choice;
  const isFacing = ["", "user", "environment"].includes(cameraId);
  return { ...pictureConstraints(choice), ...(isFacing ? { facingMode: cameraId || "user" } : { deviceId: { exact: cameraId } }) };
}

/** @param {Choice} choice @returns {MediaTrackConstraints} */
function pictureConstraints({ height, fps }) {
  const lines = height || DEFAULT_HEIGHT;
  return {
    width: { ideal: Math.round(lines * WIDTH_BY_HEIGHT) },
    height: { ideal: lines },
    frameRate: { ideal: fps || DEFAULT_FPS },
  };
}

/** @param {Choice} choice @returns {MediaTrackConstraints} */
function screenConstraints({ fps }) {
  return { frameRate: { ideal: fps || DEFAULT_SCREEN_FPS, max: Math.max(fps, DEFAULT_FPS) } };
}

/** @param {string} micId @returns {MediaTrackConstraints | boolean} */
function microphoneConstraints(micId) {
  return micId ? { deviceId: { exact: micId } } : true;
}
