// @ts-check
/** Publishing: a device that waits for invitations and sends its media while somebody watches. No DOM. */

import { Backoff } from "./backoff.js";
import { Connection, ServerError } from "./connection.js";
import { StatsMeter } from "./stats.js";

/** Rooms joined at once. Each viewer may bring its own. */
const MAX_ROOMS = 64;

/** Refusals which mean that the viewer gave up between its invitation and our coming: nothing is wrong. */
const NOBODY_THERE = new Set(["room_not_found", "not_in_room"]);

/**
 * `offline` before `online()` and after `offline()`; `connecting` to the server; `waiting` for an invitation;
 * `joining` a room; `live` while media flows to the server because somebody watches; `failed` when the server refused
 * for good.
 * @typedef {"offline" | "connecting" | "waiting" | "joining" | "live" | "failed"} PublisherState
 * @typedef {object} PublisherOptions
 * @property {MediaStream} stream what to publish; its tracks at the time of an invitation
 * @property {string} [server] `ws://host:port`; the page's own host when left out
 * @property {string} [clientId] the device's name
 * @property {string} [token]
 * @property {RTCIceServer[]} [iceServers] instead of those that the server gives
 * @property {string} [codec] preferred video codec, such as `VP9`; the browser's own order when left out
 */

/**
 * Be a device.
 *
 * Events: `state` (detail: {state, error}), `error` (detail: Error).
 */
export class Publisher extends EventTarget {
  /** @type {Set<number>} rooms that we have joined */ #rooms = new Set();
  /** @type {RTCPeerConnection | null} set from an offer to the publication's end */ #pc = null;
  /** @type {PublisherState} */ #state = "offline";
  /** @type {Promise<void>} invitations and stops, one after the other */ #queue = Promise.resolve();
  /** @type {any} */ #retryTimer = null;
  #backoff = new Backoff();
  #meter = new StatsMeter();
  #wanted = false;
  #joining = false;
  #stream;
  #options;
  #connection;

  /** @param {PublisherOptions} options */
  constructor(options) {
    super();
    this.#options = options;
    this.#stream = options.stream;
    this.#connection = new Connection({ ...options, role: "DEVICE" });
    this.#listen();
  }

  get state() {
    return this.#state;
  }

  get stream() {
    return this.#stream;
  }

  /** The connection underneath, for events that this class does not use. */
  get connection() {
    return this.#connection;
  }

  /**
   * Connect and wait for invitations until `offline()`.
   * @returns {Promise<void>} resolves when the server has said welcome; rejects when it refuses for good
   */
  async online() {
    this.#wanted = true;
    this.#updateState();
    await this.#connection.open();
  }

  /** Stop publishing, leave and close. The stream's tracks are the caller's and go on. Idempotent. */
  offline() {
    this.#wanted = false;
    if (this.#rooms.size > 0 && this.#connection.state === "open") this.#connection.send("leave");
    this.#endPublication();
    this.#rooms.clear();
    this.#connection.close();
    this.#updateState();
  }

  /**
   * Send `track` instead of the one of its kind, without interrupting viewers where there was one before.
   * @param {"audio" | "video"} kind
   * @param {MediaStreamTrack | null} track null sends nothing of this kind
   */
  async replaceTrack(kind, track) {
    for (const old of this.#stream.getTracks().filter((t) => t.kind === kind)) this.#stream.removeTrack(old);
    if (track) this.#stream.addTrack(track);
    if (!this.#pc) return;
    const transceiver = this.#pc.getTransceivers().find((t) => t.receiver.track.kind === kind);
    if (transceiver) await transceiver.sender.replaceTrack(track);
    else if (track) this.#restart(); // a kind that was not offered yet
  }

  /**
   * Read the numbers of this moment; about once a second is a good rhythm.
   * @returns {Promise<import("./stats.js").MediaStats | null>} null while nothing is published
   */
  async stats() {
    return this.#pc ? this.#meter.update(await this.#pc.getStats()) : null;
  }

  #listen() {
    const on = (/** @type {string} */ name, /** @type {(detail: any) => void} */ handler) =>
      this.#connection.addEventListener(name, (event) => handler(/** @type {CustomEvent} */ (event).detail));
    on("close", () => this.#disconnected());
    on("state", (detail) => this.#updateState(detail.error));
    on("error", (error) => error.event !== "ice" && this.#emit("error", error));
    on("start_streaming", (data) => this.#enqueue(() => this.#join(data)));
    on("stop_streaming", (data) => this.#enqueue(() => this.#stopped(data)));
    on("connection_lost", () => this.#publishLater());
  }

  /** @param {() => Promise<void> | void} task */
  #enqueue(task) {
    this.#queue = this.#queue.then(task).catch((error) => this.#report(error));
  }

  /** @param {{room_id: number, inviter?: string | number}} invitation */
  async #join({ room_id: room, inviter }) {
    if (this.#rooms.has(room) && this.#pc) return; // asked twice: already on the way
    if (this.#rooms.size >= MAX_ROOMS) throw new Error(`In ${MAX_ROOMS} rooms already: room ${room} is not joined.`);
    this.#joining = true;
    this.#updateState();
    try {
      await this.#connection.request("join_as_publisher", { room_id: room, inviter });
      this.#rooms.add(room);
      if (!this.#pc) await this.#publish();
    } catch (error) {
      this.#rooms.delete(room);
      if (!(error instanceof ServerError && NOBODY_THERE.has(error.code))) throw error;
    } finally {
      this.#joining = false;
      this.#updateState();
    }
  }

  async #publish() {
    const pc = this.#createPeerConnection();
    this.#pc = pc;
    this.#updateState();
    try {
      await pc.setLocalDescription(await pc.createOffer());
      const answer = await this.#connection.request("offer_from_device", { sdp: pc.localDescription?.sdp });
      if (pc === this.#pc) await pc.setRemoteDescription({ type: "answer", sdp: answer.sdp });
    } catch (error) {
      if (pc === this.#pc) this.#endPublication();
      throw error;
    }
  }

  #createPeerConnection() {
    const iceServers = this.#options.iceServers ?? this.#connection.welcome?.ice_servers ?? [];
    const pc = new RTCPeerConnection({ iceServers, bundlePolicy: "max-bundle", rtcpMuxPolicy: "require" });
    for (const track of this.#stream.getTracks()) pc.addTrack(track, this.#stream);
    preferCodec(pc, this.#options.codec);
    pc.onicecandidate = ({ candidate }) => {
      if (pc !== this.#pc || this.#connection.state !== "open") return;
      this.#connection.send("ice", { ...candidate?.toJSON(), typ: "pub" });
    };
    pc.onconnectionstatechange = () => {
      if (pc !== this.#pc) return;
      if (pc.connectionState === "connected") this.#backoff.reset();
      if (pc.connectionState === "failed") this.#publishLater();
      this.#updateState();
    };
    return pc;
  }

  /**
   * Stop: nobody is left in any room that the publication was in. `room` may be one that we never joined, because the
   * server attaches a running publication to further rooms by itself; and we may have joined others meanwhile.
   * @param {{room_id?: number, reason?: string}} data
   */
  async #stopped({ room_id: room, reason }) {
    if (room !== undefined) this.#rooms.delete(room);
    if (reason === "shutdown") this.#rooms.clear();
    this.#endPublication();
    this.#updateState();
    await this.#republish();
  }

  /** The media path died, or the set of kinds changed: offer anew after a pause, as long as somebody watches. */
  #publishLater() {
    clearTimeout(this.#retryTimer);
    this.#retryTimer = setTimeout(() => this.#restart(), this.#backoff.next());
  }

  #restart() {
    this.#enqueue(() => {
      this.#endPublication();
      return this.#republish();
    });
  }

  /** Offer anew for the rooms that are left. */
  async #republish() {
    if (this.#rooms.size === 0 || this.#connection.state !== "open") return;
    // Refused where the server has already ended the publication; without it the offer could be refused.
    await this.#connection.request("unpublish").catch(() => {});
    try {
      await this.#publish();
    } catch (error) {
      if (!(error instanceof ServerError && NOBODY_THERE.has(error.code))) throw error;
      this.#rooms.clear();
    } finally {
      this.#updateState();
    }
  }

  #disconnected() {
    this.#rooms.clear();
    this.#endPublication();
    this.#updateState();
  }

  #endPublication() {
    clearTimeout(this.#retryTimer);
    const pc = this.#pc;
    this.#pc = null;
    pc?.close();
    this.#meter = new StatsMeter();
  }

  /** @param {Error | null} [error] */
  #updateState(error = null) {
    const state = this.#deriveState();
    if (state === this.#state && !error) return;
    this.#state = state;
    this.#emit("state", { state, error });
  }

  /** @returns {PublisherState} */
  #deriveState() {
    if (!this.#wanted) return "offline";
    if (this.#connection.state === "closed") return "failed";
    if (this.#connection.state !== "open") return "connecting";
    if (this.#pc?.connectionState === "connected") return "live";
    return this.#joining || this.#pc ? "joining" : "waiting";
  }

  /** @param {any} error; a closed connection is no news, its `state` has told already */
  #report(error) {
    if (error.code !== "connection_closed") this.#emit("error", error);
  }

  /** @param {string} name @param {unknown} detail */
  #emit(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}

/**
 * Put one video codec first in every video transceiver of `pc`.
 * @param {RTCPeerConnection} pc
 * @param {string | undefined} codec
 */
function preferCodec(pc, codec) {
  if (!codec) return;
  const wanted = `video/${codec}`.toLowerCase();
  const all = RTCRtpSender.getCapabilities("video")?.codecs ?? [];
  const first = all.filter((c) => c.mimeType.toLowerCase() === wanted);
  if (first.length === 0) throw new Error(`This browser cannot send ${codec}.`);
  const rest = all.filter((c) => c.mimeType.toLowerCase() !== wanted);
  for (const transceiver of pc.getTransceivers()) {
    if (transceiver.sender.track?.kind === "video") transceiver.setCodecPreferences([...first, ...rest]);
  }
}
