// @ts-check
/** Being a device: waiting for invitations and sending media while somebody watches. No DOM. */

import { Connection } from "./connection.js";
import { isClosed, isRefusal } from "./errors.js";
import { emit, Emitter, on } from "./events.js";
import { Publication } from "./publication.js";

/** Rooms joined at once. Each viewer may bring its own. */
const MAX_ROOMS = 256;

/** Refusals which mean that the viewer gave up between its invitation and our coming: nothing is wrong. */
const NOBODY_THERE = ["room_not_found", "not_in_room"];

/**
 * `offline` before `online()` and after `offline()`; `connecting` to the server; `waiting` for an invitation;
 * `joining` a room; `live` while media flows to the server because somebody watches; `reconnecting` while the server is
 * lost and media may still flow; `failed` when the server refused for good.
 * @typedef {"offline" | "connecting" | "waiting" | "joining" | "live" | "reconnecting" | "failed"} PublisherState
 * @typedef {import("./publication.js").MediaOptions} MediaOptions
 *
 * @typedef {object} OwnOptions
 * @property {MediaStream} stream what to publish; its tracks at the time of an invitation
 * @property {string} [server] `ws://host:port`; where this module came from when left out
 * @property {string} [clientId] the device's name
 * @property {import("./connection.js").Token} [token]
 * @property {AbortSignal} [signal] goes offline when it aborts
 * @typedef {OwnOptions & MediaOptions} PublisherOptions
 *
 * @typedef {object} PublisherEvents
 * @property {{state: PublisherState, error: Error | null}} state
 * @property {{tracks: string[], kinds: import("./protocol.js").Kind[]}} wanted the ids (as offered) and kinds of our tracks
 *   that somebody receives; the others are not sent
 * @property {{room: number, inviter: string | null}} invited somebody wants to watch
 * @property {Error} error
 */

/**
 * Be a device.
 * @extends {Emitter<PublisherEvents>}
 */
export class Publisher extends Emitter {
  /** @type {Set<number>} rooms that we have joined */ #rooms = new Set();
  /** @type {PublisherState} */ #state = "offline";
  /** @type {Promise<void>} invitations and stops, one after the other */ #queue = Promise.resolve();
  #wanted = false;
  #joining = false;
  #options;
  #connection;
  #publication;

  /** @param {PublisherOptions} options */
  constructor(options) {
    super();
    this.#options = options;
    const { server, clientId, token, stream, iceServers, codec, limits } = options;
    this.#connection = new Connection({ server, clientId, token, role: "DEVICE" });
    this.#publication = new Publication(this.#connection, stream, { iceServers, codec, limits });
    options.signal?.addEventListener("abort", () => this.offline(), { once: true });
    this.#listen();
  }

  get state() {
    return this.#state;
  }

  get stream() {
    return this.#publication.stream;
  }

  /** The connection underneath, for events that this class does not use. */
  get connection() {
    return this.#connection;
  }

  /** The media that is sent, for what this class does not offer. */
  get publication() {
    return this.#publication;
  }

  /**
   * Connect and wait for invitations until `offline()`, whatever happens to the connection.
   * @param {{signal?: AbortSignal}} [options] the signal gives up waiting and goes offline
   * @returns {Promise<void>} resolves when the server has said welcome; rejects when it refuses for good
   */
  async online({ signal } = {}) {
    this.#options.signal?.throwIfAborted();
    signal?.throwIfAborted();
    this.#wanted = true;
    this.#updateState();
    try {
      await this.#connection.open({ signal });
    } catch (error) {
      if (signal?.aborted) this.offline();
      throw error;
    }
  }

  /** Stop publishing, leave and close. The stream's tracks are the caller's and go on. Idempotent. */
  offline() {
    if (!this.#wanted) return;
    this.#wanted = false;
    if (this.#rooms.size > 0 && this.#connection.state === "open") this.#connection.send("leave");
    this.#publication.suspend();
    this.#rooms.clear();
    this.#connection.close();
    this.#updateState();
  }

  /**
   * Send `track` instead of another, without interrupting viewers where there was one before.
   * @param {import("./protocol.js").Kind | MediaStreamTrack} old a track, or the kind of which there is one
   * @param {MediaStreamTrack | null} track null sends nothing in its place
   * @returns {Promise<void>}
   */
  replaceTrack(old, track) {
    return this.#publication.replaceTrack(old, track);
  }

  /**
   * Send a further track; viewers are offered it.
   * @param {MediaStreamTrack} track
   * @returns {Promise<void>}
   */
  addTrack(track) {
    return this.#publication.addTrack(track);
  }

  /**
   * Send a track no longer; viewers lose it. Its capture goes on: that is the caller's.
   * @param {MediaStreamTrack} track
   * @returns {Promise<void>}
   */
  removeTrack(track) {
    return this.#publication.removeTrack(track);
  }

  /**
   * Read the numbers of this moment; about once a second is a good rhythm.
   * @returns {Promise<import("./stats.js").MediaStats | null>} null while nothing is published
   */
  stats() {
    return this.#publication.stats();
  }

  #listen() {
    const connection = this.#connection;
    on(connection, "open", () => this.#forget());
    on(connection, "resumed", (data) => this.#resumed(data));
    on(connection, "close", () => this.#updateState());
    on(connection, "state", (detail) => this.#stateChanged(detail));
    on(connection, "error", (error) => /** @type {any} */ (error).event !== "ice" && emit(this, "error", error));
    on(connection, "start_streaming", (data) => this.#enqueue(() => this.#join(data)));
    on(connection, "stop_streaming", (data) => this.#enqueue(() => this.#stopped(data)));
    on(this.#publication, "state", () => this.#updateState());
    on(this.#publication, "wanted", (detail) => emit(this, "wanted", detail));
    on(this.#publication, "error", (error) => this.#mediaFailed(error));
  }

  /** @param {{state: import("./connection.js").ConnectionState, error: Error | null}} detail */
  #stateChanged({ state, error }) {
    if (state === "closed") this.#forget();
    this.#updateState(error);
  }

  /** @param {() => Promise<void>} task */
  #enqueue(task) {
    this.#queue = this.#queue.then(task).catch((error) => this.#report(error));
  }

  /** @param {{room_id: number, inviter?: string | number}} invitation */
  async #join({ room_id: room, inviter }) {
    if (this.#rooms.has(room) && this.#publication.peerConnection) return; // asked twice: already on the way
    if (this.#rooms.size >= MAX_ROOMS) throw new Error(`In ${MAX_ROOMS} rooms already: room ${room} is not joined.`);
    emit(this, "invited", { room, inviter: inviter === undefined ? null : String(inviter) });
    this.#joining = true;
    this.#updateState();
    const wasStarted = this.#publication.peerConnection !== null;
    try {
      const joining = this.#connection.request("join_as_publisher", { room_id: room, inviter });
      // The offer follows on the wire without waiting for the reply: one round trip less until somebody sees us.
      const [joined, started] = await Promise.allSettled([joining, this.#publication.start()]);
      if (joined.status === "rejected") {
        if (!wasStarted) this.#publication.suspend();
        throw joined.reason;
      }
      this.#rooms.add(room);
      if (started.status === "rejected") throw started.reason;
    } catch (error) {
      this.#rooms.delete(room);
      if (!isRefusal(error, ...NOBODY_THERE)) throw error;
    } finally {
      this.#joining = false;
      this.#updateState();
    }
  }

  /**
   * Stop: nobody is left in any room that the publication was in. `room` may be one that we never joined, because the
   * server attaches a running publication to further rooms by itself; and we may have joined others meanwhile.
   * @param {{room_id?: number, reason?: string}} data
   */
  async #stopped({ room_id: room, reason }) {
    if (room !== undefined) this.#rooms.delete(room);
    if (reason === "shutdown" || reason === "operator") this.#rooms.clear(); // it is out of all of them
    this.#publication.suspend();
    this.#updateState();
    if (this.#rooms.size === 0 || this.#connection.state !== "open") return;
    // Refused where the server has already ended the publication; without it the offer could be refused.
    await this.#connection.request("unpublish").catch(() => {});
    await this.#publication.start().catch((error) => this.#mediaFailed(error));
  }

  /** @param {import("./protocol.js").Resumed} resumed */
  #resumed({ rooms }) {
    this.#rooms = new Set(rooms.map(({ room_id: room }) => room));
    if (this.#joining) return; // its requests are answered on the new socket
    if (this.#rooms.size === 0) this.#publication.suspend();
    else if (!this.#publication.peerConnection) this.#enqueue(() => this.#publication.start());
    this.#updateState();
  }

  /** The server knows nothing of us (any more): wait to be invited. */
  #forget() {
    this.#rooms.clear();
    this.#publication.suspend();
    this.#updateState();
  }

  /** @param {Error} error */
  #mediaFailed(error) {
    if (isRefusal(error, ...NOBODY_THERE)) this.#forget();
    else this.#report(error);
  }

  /** @param {Error | null} [error] */
  #updateState(error = null) {
    const state = this.#deriveState();
    if (state === this.#state && !error) return;
    this.#state = state;
    emit(this, "state", { state, error });
  }

  /** @returns {PublisherState} */
  #deriveState() {
    if (!this.#wanted) return "offline";
    if (this.#connection.state === "closed") return "failed";
    if (this.#connection.state !== "open") return this.#publication.peerConnection ? "reconnecting" : "connecting";
    if (this.#publication.state === "live") return "live";
    return this.#joining || this.#publication.peerConnection ? "joining" : "waiting";
  }

  /** @param {any} error; a closed connection is no news, its `state` has told already */
  #report(error) {
    if (!isClosed(error)) emit(this, "error", error);
  }
}
