// @ts-check
/** One device's media as a viewer receives it. */

import { StatsMeter } from "./stats.js";

/**
 * `connecting` until media can flow, `live`, `lost` while the link is down and may come back, `ended` for good.
 * @typedef {"connecting" | "live" | "lost" | "ended"} FeedState
 * @typedef {{id: string, kind: "audio" | "video", codec: string, label: string}} FeedTrack
 * @typedef {{feed: number, device?: string, room_id?: number, tracks?: FeedTrack[]}} StartListening
 */

/** What each connection state of WebRTC means to somebody who watches. */
const STATE_OF_CONNECTION = {
  new: "connecting",
  connecting: "connecting",
  connected: "live",
  disconnected: "lost",
  failed: "lost",
  closed: "lost",
};

/**
 * A feed and the media received from it. Made by `Viewer`.
 *
 * Events: `state` (detail: {state, reason}), `track` (detail: the MediaStreamTrack that was added to `stream`).
 */
export class Feed extends EventTarget {
  /** @type {FeedState} */ #state = "connecting";
  /** @type {RTCPeerConnection | null} null between attempts and after the end */ #pc = null;
  #meter = new StatsMeter();

  /** @param {StartListening} announced */
  constructor(announced) {
    super();
    /** The server's number for it, unique among feeds. */
    this.id = announced.feed;
    /** Who publishes it; servers that follow only the published document do not say. */
    this.device = announced.device ?? null;
    /** What is published, whether or not it has arrived yet. */
    this.tracks = announced.tracks ?? [];
    /** All tracks received; fit for `video.srcObject`, and kept for the feed's whole life. */
    this.stream = new MediaStream();
    /** Why it ended: a reason of the protocol's `stop_listening`, `reconnected` or `stopped`. */
    this.reason = /** @type {string | null} */ (null);
  }

  get state() {
    return this.#state;
  }

  /**
   * Read the numbers of this moment; about once a second is a good rhythm.
   * @returns {Promise<import("./stats.js").MediaStats | null>} null while there is no connection
   */
  async stats() {
    return this.#pc ? this.#meter.update(await this.#pc.getStats()) : null;
  }

  /**
   * Read how loud it is now, muted or not.
   * @returns {number | null} 0 to 1, or null where the sender does not say (RFC 6464)
   */
  audioLevel() {
    for (const receiver of this.#pc?.getReceivers() ?? []) {
      if (receiver.track.kind !== "audio") continue;
      const level = receiver.getSynchronizationSources()[0]?.audioLevel;
      if (level !== undefined) return level;
    }
    return null;
  }

  /**
   * Take the server's offer and return the answer; a further offer on a live connection renegotiates it.
   * @internal for Viewer
   * @param {string} sdp
   * @param {RTCIceServer[]} iceServers
   * @param {(candidate: RTCIceCandidate | null) => void} onCandidate null is the end of candidates
   * @returns {Promise<string>}
   */
  async answer(sdp, iceServers, onCandidate) {
    const pc = this.#pc ?? this.#connect(iceServers, onCandidate);
    await pc.setRemoteDescription({ type: "offer", sdp });
    await pc.setLocalDescription(await pc.createAnswer());
    return pc.localDescription?.sdp ?? "";
  }

  /**
   * Close the connection but stay, for another attempt.
   * @internal for Viewer
   */
  drop() {
    const pc = this.#pc;
    this.#pc = null;
    pc?.close();
    for (const track of this.stream.getTracks()) this.stream.removeTrack(track);
    this.#meter = new StatsMeter();
    this.#setState("lost");
  }

  /**
   * End for good. Idempotent.
   * @internal for Viewer
   * @param {string} reason
   */
  end(reason) {
    if (this.#state === "ended") return;
    this.reason = reason;
    const pc = this.#pc;
    this.#pc = null;
    pc?.close();
    this.#setState("ended", reason);
  }

  /** @param {RTCIceServer[]} iceServers @param {(candidate: RTCIceCandidate | null) => void} onCandidate */
  #connect(iceServers, onCandidate) {
    const pc = new RTCPeerConnection({ iceServers, bundlePolicy: "max-bundle", rtcpMuxPolicy: "require" });
    this.#pc = pc;
    this.#setState("connecting");
    pc.onicecandidate = (event) => onCandidate(event.candidate);
    pc.onconnectionstatechange = () => {
      const state = /** @type {FeedState} */ (STATE_OF_CONNECTION[pc.connectionState]);
      if (pc === this.#pc) this.#setState(state, pc.connectionState === "failed" ? "failed" : null);
    };
    pc.ontrack = (event) => {
      this.stream.addTrack(event.track);
      this.dispatchEvent(new CustomEvent("track", { detail: event.track }));
    };
    return pc;
  }

  /** @param {FeedState} state @param {string | null} [reason] */
  #setState(state, reason = null) {
    if (this.#state === "ended" || (this.#state === state && reason === null)) return;
    this.#state = state;
    this.dispatchEvent(new CustomEvent("state", { detail: { state, reason } }));
  }
}
