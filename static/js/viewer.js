// @ts-check
/** Watching: one room of our own, the feeds in it received. No DOM. */

import { Backoff } from "./backoff.js";
import { Connection } from "./connection.js";
import { DeviceList } from "./devices.js";
import { isClosed, isRefusal } from "./errors.js";
import { emit, Emitter, on } from "./events.js";
import { Feed } from "./feed.js";
import { Invitees } from "./invitees.js";
import { LostFeeds } from "./lost-feeds.js";
import { Publication } from "./publication.js";

/** Pause between invitations while nothing is to be seen, for servers that invite nobody by themselves later. */
const INVITE_INTERVAL_MS = 3_000;
/** The same while a device has been asked and is still starting: clients of the published document start over, with
 * a second camera prompt, when they are asked twice. */
const INVITED_INTERVAL_MS = 20_000;
/** Feeds held at once; far above what a browser can decode. */
const MAX_FEEDS = 256;

/** Ends after which the device may be back in a moment. */
const MAY_COME_BACK = new Set(["disconnected", "replaced", "shutdown"]);

/**
 * `idle` before `watch()`, after `stop()` and after an operator has closed our room; `connecting` to the server; `waiting`
 * for a device; `watching` at least one feed; `reconnecting` after the server was lost, while pictures may go on; `failed`
 * when it refused for good.
 * @typedef {"idle" | "connecting" | "waiting" | "watching" | "reconnecting" | "failed"} ViewerState
 * @typedef {import("./protocol.js").Invited} Invited
 * @typedef {import("./protocol.js").DeviceInfo} DeviceInfo
 * @typedef {import("./protocol.js").StartListening} StartListening
 *
 * @typedef {object} ViewerOptions
 * @property {string} [server] `ws://host:port`; where this module came from when left out
 * @property {string} [clientId]
 * @property {import("./connection.js").Token} [token]
 * @property {RTCIceServer[]} [iceServers] instead of those that the server gives
 * @property {string[]} [devices] invite only these; all when left out, also those that come later; none when empty
 * @property {number} [room] enter this room of somebody else; once it is gone (`error` says so) we open our own
 * @property {(feed: Feed) => boolean | string[]} [choose] asked of each new feed: whether to receive it at once, or which
 *   of its tracks, by id; all of every feed when left out
 * @property {AbortSignal} [signal] stops it when it aborts
 *
 * @typedef {object} ViewerEvents
 * @property {Feed} feed a feed is there; whether it is received, `choose` has said
 * @property {Feed} feedended
 * @property {{state: ViewerState, error: Error | null}} state
 * @property {DeviceInfo[]} devices who is online has changed, or what they do
 * @property {Invited} invited the answer to an invitation, ours or one made by ourselves
 * @property {{devices: string[]}} uninvited devices did not take their invitation up in time; they may still come
 * @property {{room: number, reason: string}} roomclosed an operator has ended our room; we have stopped
 * @property {Error} error
 */

/**
 * Watch the devices of a server.
 * @extends {Emitter<ViewerEvents>}
 */
export class Viewer extends Emitter {
  /** @type {Map<number, Feed>} in our room now */ #feeds = new Map();
  #lost = new LostFeeds((feed) => this.#endFeed(feed, feed.reason ?? "disconnected"));
  #devices = new DeviceList(() => emit(this, "devices", this.devices));
  /** @type {number | null} our room; null while there is none */ #room = null;
  /** @type {Publication | null} what we send ourselves, in a two-way call */ #publication = null;
  /** @type {ViewerState} */ #state = "idle";
  /** @type {any} until the next invitation, or the next attempt at a room */ #timer = null;
  #invitees;
  #roomBackoff = new Backoff();
  #turn = 0; // counts sessions, so that a room made for an earlier one is recognised
  #foreignRoom; // somebody else's room that we are to enter; null is none
  #wanted = false;
  #isEntering = false; // from asking for a room to being in it
  #wasInRoom = false;
  #autoInvite = true;
  #hasPresence = false;
  #options;
  #connection;
  #link;

  /** @param {ViewerOptions} [options] */
  constructor(options = {}) {
    super();
    this.#options = options;
    this.#invitees = new Invitees(options.devices);
    this.#foreignRoom = options.room ?? null;
    const { server, clientId, token } = options;
    this.#connection = new Connection({ server, clientId, token, role: "WEB" });
    this.#link = {
      connection: this.#connection,
      room: () => this.#room,
      iceServers: () => this.#iceServers,
      gone: (/** @type {Feed} */ feed) => this.#feedGone(feed, "disconnected"),
    };
    options.signal?.addEventListener("abort", () => this.stop(), { once: true });
    this.#listen();
  }

  get state() {
    return this.#state;
  }

  /** The feeds that are there now, and those that are lost and may come back. */
  get feeds() {
    return [...this.#feeds.values(), ...this.#lost.feeds];
  }

  /** Who is online and what they do, by name; empty where the server does not tell. */
  get devices() {
    return this.#devices.all;
  }

  /** Our room's number; null while we are in none. */
  get room() {
    return this.#room;
  }

  /** What we send ourselves; null unless `publish()` was called. */
  get publication() {
    return this.#publication;
  }

  /** Whether devices are invited again by themselves; not after one was switched off over there, until `invite()`. */
  get isInviting() {
    return this.#room !== null && this.#autoInvite && !this.#invitees.isNobody;
  }

  /** The connection underneath, for events that this class does not use. */
  get connection() {
    return this.#connection;
  }

  /**
   * Connect, make a room and invite devices; go on until `stop()`, whatever happens to the connection.
   * @param {{signal?: AbortSignal}} [options] the signal gives up waiting and stops
   * @returns {Promise<void>} resolves when the server has said welcome; rejects when it refuses for good
   */
  async watch({ signal } = {}) {
    this.#options.signal?.throwIfAborted();
    signal?.throwIfAborted();
    this.#wanted = true;
    this.#autoInvite = true;
    this.#updateState();
    try {
      await this.#connection.open({ signal });
    } catch (error) {
      if (signal?.aborted) this.stop();
      throw error;
    }
  }

  /** Leave the room and close; forget whom `invite()` has added. Idempotent. */
  stop() {
    if (!this.#wanted) return;
    this.#wanted = false;
    this.#invitees.reset();
    this.#turn += 1;
    clearTimeout(this.#timer);
    if (this.#room !== null && this.#connection.state === "open") this.#connection.send("leave");
    this.#room = null;
    this.unpublish();
    for (const feed of this.feeds) this.#endFeed(feed, "stopped");
    this.#devices.forget();
    this.#connection.close();
    this.#wasInRoom = false;
    this.#updateState();
  }

  /**
   * Invite devices now, and again when they come back.
   * @param {string[] | null} [devices] these, from now on too; null is all, also those that come later; those of the
   *   options when left out
   * @param {{signal?: AbortSignal}} [options] the signal gives up waiting
   * @returns {Promise<Invited | null>} null while there is no room: it is made up for as soon as there is
   */
  async invite(devices, { signal } = {}) {
    clearTimeout(this.#timer);
    this.#autoInvite = true;
    if (devices !== undefined) this.#invitees.add(devices);
    const room = this.#room;
    if (room === null) return null;
    const named = devices ?? this.#invitees.names;
    if (named?.length === 0) return null;
    let pause = this.#hasPresence ? INVITED_INTERVAL_MS : INVITE_INTERVAL_MS;
    try {
      const data = { room_id: room, ...(named ? { devices: named } : { standing: true }) };
      const invited = await this.#connection.request("invite_devices", data, { signal });
      if (room !== this.#room) return null;
      if (invited.invited.length > 0) pause = INVITED_INTERVAL_MS;
      this.#devices.invited(invited.invited);
      emit(this, "invited", invited);
      return invited;
    } finally {
      this.#inviteLater(pause);
    }
  }

  /**
   * Take invitations back: these devices are not invited again by ourselves, and what they send is not received.
   * Their cameras rest while nobody receives them, and stop when the room is left. Where all are invited they stay so,
   * and `choose` is asked of what they send next.
   * @param {string[]} devices
   */
  uninvite(devices) {
    this.#invitees.remove(devices);
    for (const feed of this.feeds) if (feed.device !== null && devices.includes(feed.device)) feed.stop();
  }

  /**
   * Ask the server who is online. `devices` is kept up to date without it.
   * @param {{signal?: AbortSignal}} [options]
   * @returns {Promise<DeviceInfo[]>}
   */
  async listDevices({ signal } = {}) {
    const { devices } = await this.#connection.request("list_devices", {}, { signal });
    this.#hasPresence = true;
    this.#devices.replace(devices);
    return this.devices;
  }

  /**
   * Send media ourselves, into our room: a two-way call.
   * @param {MediaStream} stream
   * @param {import("./publication.js").MediaOptions} [options]
   * @returns {Publication} connecting; its `state` event tells the rest
   */
  publish(stream, options = {}) {
    this.unpublish();
    const publication = new Publication(this.#connection, stream, { iceServers: this.#options.iceServers, ...options });
    this.#publication = publication;
    on(publication, "error", (error) => this.#report(error));
    if (this.#room !== null) this.#guard(publication.start());
    return publication;
  }

  /** Stop sending. The stream's tracks are the caller's and go on. Idempotent. */
  unpublish() {
    this.#publication?.stop();
    this.#publication = null;
  }

  get #iceServers() {
    return this.#options.iceServers ?? this.#connection.welcome?.ice_servers ?? [];
  }

  #listen() {
    const connection = this.#connection;
    on(connection, "open", () => this.#begin());
    on(connection, "resumed", (data) => this.#resumed(data));
    on(connection, "state", (detail) => this.#updateState(detail.error));
    // Candidates are a courtesy: refusing one costs nothing.
    on(connection, "error", (error) => /** @type {any} */ (error).event !== "ice" && this.#report(error));
    on(connection, "start_listening", (data) => this.#announced(data));
    on(connection, "stop_listening", (data) => this.#feedStopped(data));
    on(connection, "offer_to_subscriber", (data) => this.#feeds.get(data.feed)?.offered(data.sdp));
    on(connection, "connection_lost", (data) => data.typ === "sub" && this.#feeds.get(data.feed)?.connectionLost());
    on(connection, "device_online", (data) => this.#deviceOnline(data.device));
    on(connection, "device_offline", (data) => this.#devices.offline(data.device));
    on(connection, "tracks_changed", (data) => this.#feeds.get(data.feed)?.announced(data));
    on(connection, "devices_unavailable", (data) => this.#uninvited(data.devices));
    on(connection, "room_closed", (data) => data.room_id === this.#room && this.#roomClosed(data));
  }

  // --- the room --------------------------------------------------------------------------------------------------

  /** The server knows nothing of us (any more): make everything anew. */
  #begin() {
    this.#turn += 1;
    this.#room = null;
    this.#hasPresence = false;
    clearTimeout(this.#timer);
    for (const feed of [...this.#feeds.values()]) this.#park(feed, "reconnected");
    this.#publication?.suspend();
    this.#guard(this.#enterRoom(this.#turn));
  }

  /** @param {import("./protocol.js").Resumed} resumed */
  #resumed({ rooms, subscriptions }) {
    if (this.#isEntering) return; // its requests are answered on the new socket
    if (!rooms.some(({ room_id: room }) => room === this.#room)) {
      this.#begin();
      return;
    }
    const subscribed = new Set(subscriptions);
    for (const feed of this.#feeds.values()) feed.sessionResumed(subscribed.has(feed.id));
    this.#updateState();
    this.#inviteLater(INVITE_INTERVAL_MS);
  }

  /** @param {number} turn */
  async #enterRoom(turn) {
    this.#isEntering = true;
    try {
      const room = this.#foreignRoom ?? (await this.#connection.request("create_room")).room_id;
      if (turn !== this.#turn) return;
      await this.#connection.request("join_as_publisher", { room_id: room, inviter: this.#connection.clientId });
      if (turn !== this.#turn) return;
      this.#room = room;
    } catch (error) {
      if (turn !== this.#turn || isClosed(error)) return;
      if (isRefusal(error, "room_not_found")) this.#foreignRoom = null;
      this.#report(error);
      this.#timer = setTimeout(() => this.#enterRoom(turn), this.#roomBackoff.next());
      return;
    } finally {
      if (turn === this.#turn) this.#isEntering = false;
    }
    this.#roomBackoff.reset();
    this.#wasInRoom = true;
    this.#lost.startWaiting();
    this.#updateState();
    if (this.#publication) this.#guard(this.#publication.start());
    // Servers that follow only the published document do not tell who is there.
    await this.listDevices().catch((error) => isRefusal(error, "unknown_event", "forbidden") || this.#report(error));
    if (turn === this.#turn && this.#autoInvite) this.#guard(this.invite());
  }

  /** Stop: another room, unasked, would undo what the operator wanted. @param {{room_id: number, reason: string}} data */
  #roomClosed({ room_id: room, reason }) {
    this.#room = this.#foreignRoom = null;
    this.stop();
    emit(this, "roomclosed", { room, reason });
  }

  /** @param {number} delay */
  #inviteLater(delay) {
    clearTimeout(this.#timer);
    if (!this.isInviting || this.#feeds.size > 0) return;
    this.#timer = setTimeout(() => this.#guard(this.invite()), delay);
  }

  // --- devices ---------------------------------------------------------------------------------------------------

  /** @param {string} device */
  #deviceOnline(device) {
    this.#devices.online(device);
    // Whoever is wanted by name is not covered by the standing invitation.
    if (this.#room !== null && this.#invitees.includes(device)) this.#guard(this.invite([device]));
  }

  /** @param {string[]} devices */
  #uninvited(devices) {
    this.#devices.uninvited(devices);
    emit(this, "uninvited", { devices });
  }

  // --- feeds -----------------------------------------------------------------------------------------------------

  /** @param {StartListening} data */
  #announced(data) {
    if (!Number.isInteger(data.feed) || this.#room === null) return;
    this.#devices.streaming(data);
    const known = this.#feeds.get(data.feed);
    if (known) {
      known.announced(data);
      return;
    }
    const back = this.#lost.takeBack(data.device);
    if (back) {
      this.#feeds.set(data.feed, back);
      back.announced(data);
      this.#updateState();
      return;
    }
    if (this.#feeds.size < MAX_FEEDS) this.#addFeed(new Feed(data, this.#link));
    else this.#report(new Error(`More than ${MAX_FEEDS} feeds: feed ${data.feed} is not shown.`));
  }

  /** @param {Feed} feed */
  #addFeed(feed) {
    this.#feeds.set(feed.id, feed);
    on(feed, "error", (error) => this.#report(error));
    const chosen = this.#options.choose?.(feed) ?? true;
    // Rejects only when it ends first, which `feedended` tells.
    if (chosen !== false) feed.receive({ tracks: chosen === true ? null : chosen }).catch(() => {});
    emit(this, "feed", feed);
    this.#updateState();
  }

  /** @param {import("./protocol.js").StopListening} data */
  #feedStopped(data) {
    const feed = this.#feeds.get(data.feed);
    this.#devices.stopped(data.device);
    if (!feed) return;
    const reason = data.reason ?? "unpublished";
    // Somebody pressed stop over there. Asking again unasked would switch their camera back on.
    if (reason === "unpublished") this.#autoInvite = false;
    this.#feedGone(feed, reason);
  }

  /** @param {Feed} feed @param {string} reason */
  #feedGone(feed, reason) {
    if (MAY_COME_BACK.has(reason) && feed.device !== null) {
      this.#park(feed, reason);
      if (this.#room !== null) this.#lost.startWaiting();
    } else {
      this.#endFeed(feed, reason);
    }
    this.#inviteLater(INVITE_INTERVAL_MS);
  }

  /** @param {Feed} feed @param {string} reason */
  #park(feed, reason) {
    this.#feeds.delete(feed.id);
    this.#lost.add(feed);
    feed.park(reason);
    this.#updateState();
  }

  /** @param {Feed} feed @param {string} reason */
  #endFeed(feed, reason) {
    this.#lost.remove(feed);
    if (this.#feeds.get(feed.id) === feed) this.#feeds.delete(feed.id);
    feed.end(reason);
    emit(this, "feedended", feed);
    this.#updateState();
  }

  // --- state -----------------------------------------------------------------------------------------------------

  /** @param {Error | null} [error] */
  #updateState(error = null) {
    const state = this.#deriveState();
    if (state === this.#state && !error) return;
    this.#state = state;
    emit(this, "state", { state, error });
  }

  /** @returns {ViewerState} */
  #deriveState() {
    if (!this.#wanted) return "idle";
    if (this.#connection.state === "closed") return "failed";
    if (this.#connection.state !== "open") return this.#wasInRoom ? "reconnecting" : "connecting";
    if (this.#feeds.size > 0) return "watching";
    if (this.#room === null) return this.#wasInRoom ? "reconnecting" : "connecting";
    return "waiting";
  }

  /** @param {Promise<unknown>} task whose failure is to be reported */
  #guard(task) {
    task.catch((error) => this.#report(error));
  }

  /** @param {any} error; a closed connection is no news, its `state` has told already */
  #report(error) {
    if (!isClosed(error)) emit(this, "error", error);
  }
}
