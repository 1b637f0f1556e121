// @ts-check
/** Camera, microphone and screen: what the browser gives, as one stream whose tracks can be exchanged. */

/** What we ask a camera for; it gives the nearest it can. */
const VIDEO_IDEAL = { width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 30 } };
/** A screen's text must stay sharp, and it seldom moves. */
const SCREEN_IDEAL = { frameRate: { ideal: 15, max: 30 } };

/**
 * @typedef {"camera" | "screen"} Source
 * @typedef {{source: Source, cameraId: string, micId: string}} Choice empty ids mean the browser's default
 */

/** The local media of a page. Events: `ended` when the browser or the system took the picture away. */
export class Capture extends EventTarget {
  /** The tracks that are open now. The same object for ever, so that a preview can hold it. */
  stream = new MediaStream();

  get isOpen() {
    return this.stream.getTracks().length > 0;
  }

  /** Whether the picture is one's own face: then a preview is mirrored. */
  get isSelfView() {
    const settings = this.stream.getVideoTracks()[0]?.getSettings();
    return settings !== undefined && settings.displaySurface === undefined && settings.facingMode !== "environment";
  }

  /**
   * Open what was chosen and exchange it for what is open, which goes on until the new is there.
   *
   * A camera without a microphone, and the reverse, is fine; neither is an error.
   * @param {Choice} choice
   * @returns {Promise<void>} rejects with what getUserMedia or getDisplayMedia throws
   */
  async open(choice) {
    const fresh = await (choice.source === "screen" ? openScreen(choice) : openCamera(choice));
    this.close();
    for (const track of fresh) {
      this.stream.addTrack(track);
      if (track.kind === "video") track.addEventListener("ended", () => this.#ended(track));
    }
  }

  /** Switch everything off. Idempotent. */
  close() {
    for (const track of this.stream.getTracks()) {
      this.stream.removeTrack(track);
      track.stop();
    }
  }

  /**
   * Mute or unmute without letting go of the device.
   * @param {"audio" | "video"} kind
   * @param {boolean} on
   */
  enable(kind, on) {
    for (const track of this.stream.getTracks()) {
      if (track.kind === kind) track.enabled = on;
    }
  }

  /** @param {MediaStreamTrack} track */
  #ended(track) {
    if (this.stream.getTracks().includes(track)) this.dispatchEvent(new CustomEvent("ended"));
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
 * @param {Choice} choice
 * @returns {Promise<MediaStreamTrack[]>}
 */
async function openCamera({ cameraId, micId }) {
  const video = { ...VIDEO_IDEAL, ...(cameraId ? { deviceId: { exact: cameraId } } : { facingMode: "user" }) };
  const audio = microphoneConstraints(micId);
  try {
    return (await navigator.mediaDevices.getUserMedia({ video, audio })).getTracks();
  } catch (error) {
    if (/** @type {Error} */ (error).name !== "NotFoundError") throw error;
  }
  // One of the two does not exist: take the other.
  const found = await Promise.allSettled([
    navigator.mediaDevices.getUserMedia({ video }),
    navigator.mediaDevices.getUserMedia({ audio }),
  ]);
  const tracks = found.flatMap((result) => (result.status === "fulfilled" ? result.value.getTracks() : []));
  if (tracks.length === 0) throw /** @type {PromiseRejectedResult} */ (found[0]).reason;
  return tracks;
}

/**
 * The screen with its own sound where the browser offers it, otherwise with the microphone.
 * @param {Choice} choice
 * @returns {Promise<MediaStreamTrack[]>}
 */
async function openScreen({ micId }) {
  const screen = await navigator.mediaDevices.getDisplayMedia({ video: SCREEN_IDEAL, audio: true });
  const tracks = screen.getTracks();
  for (const track of screen.getVideoTracks()) track.contentHint = "detail";
  if (screen.getAudioTracks().length > 0) return tracks;
  try {
    const microphone = await navigator.mediaDevices.getUserMedia({ audio: microphoneConstraints(micId) });
    return [...tracks, ...microphone.getTracks()];
  } catch {
    return tracks; // a silent screen is still a screen
  }
}

/** @param {string} micId */
function microphoneConstraints(micId) {
  return micId ? { deviceId: { exact: micId } } : true;
}
