// @ts-check
/** One connection that receives: offers in, answers out, tracks by their publisher's ids. No protocol. */

import { mediaLines } from "./sdp.js";
import { readStats, StatsMeter } from "./stats.js";

/** How often we look for the first frame: no event tells without a video element, and this is its precision. */
const FIRST_FRAME_POLL_MS = 40;
/** Of the time it took so far, where that is more: twenty slow cameras are not asked 500 times a second. */
const FIRST_FRAME_POLL_SHARE = 0.2;
/** Looked for this long; a camera that is later than this is not measured. */
const FIRST_FRAME_LIMIT_MS = 20_000;

/**
 * @typedef {object} ReceiverHandlers
 * @property {(id: string, track: MediaStreamTrack) => void} added
 * @property {(id: string, track: MediaStreamTrack) => void} removed
 * @property {(state: RTCPeerConnectionState) => void} state
 * @property {(candidate: RTCIceCandidate | null) => void} candidate null is the end of candidates
 * @property {() => void} firstFrame
 */

/** Receive what one peer offers. Made anew for each attempt; `close()` ends it. */
export class Receiver {
  /** @type {Map<string, {id: string, track: MediaStreamTrack}>} what is received now, by mid */ #received = new Map();
  #meter = new StatsMeter();
  #handlers;
  #isClosed = false;

  /** @param {RTCIceServer[]} iceServers @param {ReceiverHandlers} handlers */
  constructor(iceServers, handlers) {
    this.#handlers = handlers;
    this.pc = new RTCPeerConnection({ iceServers, bundlePolicy: "max-bundle", rtcpMuxPolicy: "require" });
    this.pc.onicecandidate = (event) => this.#isClosed || handlers.candidate(event.candidate);
    this.pc.onconnectionstatechange = () => {
      if (this.#isClosed) return;
      handlers.state(this.pc.connectionState);
      if (this.pc.connectionState === "connected") this.#awaitFirstFrame(performance.now());
    };
  }

  /** What is offered and this browser has no decoder for. @type {import("./errors.js").UnplayableTrack[]} */
  unplayable = [];

  /** Whether nothing is left of what is offered. */
  get isEmpty() {
    return this.unplayable.length > 0 && this.#received.size === 0;
  }

  /** Milliseconds of `performance.now()` at the first picture (or sound, where there is no picture); null before. */
  firstFrameAt = /** @type {number | null} */ (null);

  /**
   * Take an offer, the first or a further one, and return the answer.
   * @param {string} sdp
   * @returns {Promise<string>}
   */
  async answer(sdp) {
    await this.pc.setRemoteDescription({ type: "offer", sdp });
    const answer = await this.pc.createAnswer();
    this.#compare(sdp, answer.sdp ?? "");
    await this.pc.setLocalDescription(answer);
    return this.pc.localDescription?.sdp ?? "";
  }

  /** @returns {Promise<import("./stats.js").MediaStats>} */
  async stats() {
    return this.#meter.update(await readStats(this.pc));
  }

  /** @returns {number | null} how loud it is now, 0 to 1, or null where the sender does not say (RFC 6464) */
  audioLevel() {
    for (const receiver of this.pc.getReceivers()) {
      if (receiver.track.kind !== "audio") continue;
      const level = receiver.getSynchronizationSources()[0]?.audioLevel;
      if (level !== undefined) return level;
    }
    return null;
  }

  /** End. Its tracks end too; nobody is told. */
  close() {
    this.#isClosed = true;
    this.pc.close();
  }

  /**
   * @param {string} sdp the offer: what was there before and is not in it is gone
   * @param {string} answer a line that it rejects is one that the browser can play nothing of
   */
  #compare(sdp, answer) {
    const offered = new Map(mediaLines(sdp).map((line) => [line.mid, line]));
    const rejected = new Set(mediaLines(answer).flatMap(({ mid, isRejected }) => (isRejected ? [mid] : [])));
    this.unplayable = [...offered.values()]
      .filter(({ mid, sends }) => sends && rejected.has(mid))
      .map(({ track, kind, codec }) => ({ id: track, kind: /** @type {"audio" | "video"} */ (kind), codec }));
    for (const { mid, receiver } of this.pc.getTransceivers()) {
      const line = mid === null ? undefined : offered.get(mid);
      if (mid === null || !line) continue;
      const id = line.sends && !rejected.has(mid) ? (line.track ?? receiver.track.id) : null;
      const before = this.#received.get(mid);
      if (before?.id === id) continue;
      if (before) {
        this.#received.delete(mid);
        this.#handlers.removed(before.id, before.track);
      }
      if (id !== null) {
        this.#received.set(mid, { id, track: receiver.track });
        this.#handlers.added(id, receiver.track);
      }
    }
  }

  /** @param {number} since */
  async #awaitFirstFrame(since) {
    const waited = performance.now() - since;
    if (this.#isClosed || this.firstFrameAt !== null || waited > FIRST_FRAME_LIMIT_MS) return;
    const report = await readStats(this.pc).catch(() => new Map()); // none in time: nothing came yet
    const reports = [...report.values()].filter((entry) => entry.type === "inbound-rtp");
    const hasPicture = [...this.#received.values()].some(({ track }) => track.kind === "video");
    const came = reports.some((entry) => (hasPicture ? entry.framesDecoded > 0 : entry.packetsReceived > 0));
    if (this.#isClosed || this.firstFrameAt !== null) return;
    if (!came) {
      setTimeout(() => this.#awaitFirstFrame(since), Math.max(FIRST_FRAME_POLL_MS, waited * FIRST_FRAME_POLL_SHARE));
      return;
    }
    this.firstFrameAt = performance.now();
    this.#handlers.firstFrame();
  }
}
