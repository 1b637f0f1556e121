// @ts-check
/** Watching: one room of our own, every feed in it received. No DOM. */

import { Backoff } from "./backoff.js";
import { Connection, ServerError } from "./connection.js";
import { Feed } from "./feed.js";

/** Pause between invitations while nothing is to be seen: a device that comes online is picked up this soon. */
const INVITE_INTERVAL_MS = 3_000;
/** The same while a device has been asked and is still starting: clients of the published document start over, with
 * a second camera prompt, when they are asked twice. */
const INVITED_INTERVAL_MS = 20_000;
/** Feeds received at once; far above what a browser can decode. */
const MAX_FEEDS = 64;

/** Refusals of a subscription that another attempt cannot cure: the feed or our place in the room is gone. */
const FEED_IS_GONE = new Set(["feed_not_found", "room_not_found", "not_in_room"]);

/**
 * `idle` before `watch()` and after `stop()`; `connecting` to the server; `waiting` for a device; `watching` at least
 * one feed; `reconnecting` after the server was lost; `failed` when it refused for good.
 * @typedef {"idle" | "connecting" | "waiting" | "watching" | "reconnecting" | "failed"} ViewerState
 * @typedef {{room_id: number, invited: string[], attached: string[], unavailable: string[]}} Invited
 * @typedef {object} ViewerOptions
 * @property {string} [server] `ws://host:port`; the page's own host when left out
 * @property {string} [clientId]
 * @property {string} [token]
 * @property {RTCIceServer[]} [iceServers] instead of those that the server gives
 * @property {string[]} [devices] invite only these; all when left out
 */

/**
 * Watch the devices of a server.
 *
 * Events: `feed` (detail: Feed, connecting), `feedended` (detail: Feed), `state` (detail: {state, error}),
 * `invited` (detail: Invited), `error` (detail: Error).
 */
export class Viewer extends EventTarget {
  /** @type {Map<number, Feed>} */ #feeds = new Map();
  /** @type {Map<number, {backoff: Backoff, timer: any}>} attempts to receive a feed, by feed */ #attempts = new Map();
  /** @type {number | null} our room; null while there is none */ #room = null;
  /** @type {ViewerState} */ #state = "idle";
  /** @type {any} */ #inviteTimer = null;
  #roomBackoff = new Backoff();
  #wanted = false;
  #wasInRoom = false;
  #autoInvite = true;
  #options;
  #connection;

  /** @param {ViewerOptions} [options] */
  constructor(options = {}) {
    super();
    this.#options = options;
    this.#connection = new Connection({ ...options, role: "WEB" });
    this.#listen();
  }

  get state() {
    return this.#state;
  }

  /** The feeds that are there now. */
  get feeds() {
    return [...this.#feeds.values()];
  }

  /** Whether devices are invited again by themselves; not after one was switched off over there, until `invite()`. */
  get isInviting() {
    return this.#room !== null && this.#autoInvite;
  }

  /** The connection underneath, for events that this class does not use. */
  get connection() {
    return this.#connection;
  }

  /**
   * Connect, make a room and invite devices; go on until `stop()`, whatever happens to the connection.
   * @returns {Promise<void>} resolves when the server has said welcome; rejects when it refuses for good
   */
  async watch() {
    this.#wanted = true;
    this.#autoInvite = true;
    this.#updateState();
    await this.#connection.open();
  }

  /** Leave the room and close. Idempotent. */
  stop() {
    this.#wanted = false;
    if (this.#room !== null && this.#connection.state === "open") this.#connection.send("leave");
    this.#leaveRoom("stopped");
    this.#connection.close();
    this.#wasInRoom = false;
    this.#updateState();
  }

  /**
   * Invite every available device (or those of the options) now.
   * @returns {Promise<Invited | null>} null when there is no room (any more)
   */
  async invite() {
    clearTimeout(this.#inviteTimer);
    this.#autoInvite = true;
    const room = this.#room;
    if (room === null) return null;
    const devices = this.#options.devices;
    let pause = INVITE_INTERVAL_MS;
    try {
      const invited = await this.#connection.request("invite_devices", { room_id: room, ...(devices && { devices }) });
      if (room !== this.#room) return null;
      if (invited.invited.length > 0) pause = INVITED_INTERVAL_MS;
      this.#emit("invited", invited);
      return invited;
    } finally {
      this.#inviteLater(pause);
    }
  }

  #listen() {
    const on = (/** @type {string} */ name, /** @type {(detail: any) => void} */ handler) =>
      this.#connection.addEventListener(name, (event) => handler(/** @type {CustomEvent} */ (event).detail));
    on("open", () => this.#enterRoom());
    on("close", () => this.#disconnected());
    on("state", (detail) => this.#updateState(detail.error));
    on("error", (error) => this.#serverError(error));
    on("start_listening", (data) => this.#announced(data));
    on("stop_listening", (data) => this.#feedStopped(data));
    on("offer_to_subscriber", (data) => this.#reoffered(data));
    on("connection_lost", (data) => this.#connectionLost(data.feed));
  }

  async #enterRoom() {
    try {
      const { room_id: room } = await this.#connection.request("create_room");
      await this.#connection.request("join_as_publisher", { room_id: room, inviter: this.#connection.clientId });
      // Feeds have other ids here than in the room before a reconnection: the old ones are over.
      this.#endFeeds("reconnected");
      this.#room = room;
    } catch (error) {
      this.#report(error);
      if (this.#connection.state !== "open") return;
      clearTimeout(this.#inviteTimer);
      this.#inviteTimer = setTimeout(() => this.#enterRoom(), this.#roomBackoff.next());
      return;
    }
    this.#roomBackoff.reset();
    this.#wasInRoom = true;
    this.#updateState();
    this.#guard(this.invite());
  }

  /** @param {number} delay */
  #inviteLater(delay) {
    clearTimeout(this.#inviteTimer);
    if (this.#room === null || this.#feeds.size > 0 || !this.#autoInvite) return;
    this.#inviteTimer = setTimeout(() => this.#guard(this.invite()), delay);
  }

  /** The socket is gone and our room with it; pictures stay until the next room is there, for as long as they move. */
  #disconnected() {
    this.#room = null;
    clearTimeout(this.#inviteTimer);
    for (const feed of this.#feeds.values()) this.#forgetAttempt(feed.id);
  }

  /** @param {string} reason */
  #leaveRoom(reason) {
    this.#disconnected();
    this.#endFeeds(reason);
  }

  /** @param {string} reason */
  #endFeeds(reason) {
    for (const feed of this.feeds) this.#endFeed(feed, reason);
  }

  /** @param {import("./feed.js").StartListening} data */
  #announced(data) {
    if (!Number.isInteger(data.feed) || this.#feeds.has(data.feed)) return;
    if (this.#feeds.size >= MAX_FEEDS) {
      this.#emit("error", new Error(`More than ${MAX_FEEDS} feeds: feed ${data.feed} is not shown.`));
      return;
    }
    const feed = new Feed(data);
    this.#feeds.set(feed.id, feed);
    clearTimeout(this.#inviteTimer);
    feed.addEventListener("state", (event) => {
      const { state, reason } = /** @type {CustomEvent} */ (event).detail;
      if (state === "live") this.#forgetAttempt(feed.id);
      if (reason === "failed") this.#connectionLost(feed.id);
    });
    this.#emit("feed", feed);
    this.#updateState();
    this.#guard(this.#subscribe(feed));
  }

  /** @param {Feed} feed */
  async #subscribe(feed) {
    try {
      const offer = await this.#connection.request("join_as_subscriber", { room_id: this.#room, feed: feed.id });
      if (this.#feeds.get(feed.id) === feed) await this.#answer(feed, offer.sdp);
    } catch (error) {
      if (this.#feeds.get(feed.id) !== feed || this.#room === null) return; // over before it began
      if (error instanceof ServerError && FEED_IS_GONE.has(error.code)) this.#endFeed(feed, "disconnected");
      else this.#subscribeLater(feed, error);
    }
  }

  /** @param {Feed} feed @param {string} sdp */
  async #answer(feed, sdp) {
    const iceServers = this.#options.iceServers ?? this.#connection.welcome?.ice_servers ?? [];
    const answer = await feed.answer(sdp, iceServers, (candidate) => this.#sendCandidate(candidate));
    this.#connection.send("start_receiving", { sdp: answer, feed: feed.id });
  }

  /** @param {RTCIceCandidate | null} candidate */
  #sendCandidate(candidate) {
    if (this.#connection.state !== "open") return; // the server needs none to connect
    this.#connection.send("ice", { ...candidate?.toJSON(), typ: "sub" });
  }

  /** @param {Feed} feed @param {unknown} [error] */
  #subscribeLater(feed, error) {
    // "Already subscribed" is only the server not having noticed yet that our side of the media is gone.
    const expected = error instanceof ServerError && error.code === "already_subscribed";
    if (error && !expected) this.#emit("error", error);
    feed.drop();
    const attempt = this.#attempts.get(feed.id) ?? { backoff: new Backoff(), timer: null };
    this.#attempts.set(feed.id, attempt);
    clearTimeout(attempt.timer);
    attempt.timer = setTimeout(() => this.#guard(this.#subscribe(feed)), attempt.backoff.next());
  }

  /** @param {number} id */
  #forgetAttempt(id) {
    clearTimeout(this.#attempts.get(id)?.timer);
    this.#attempts.delete(id);
  }

  /** @param {number} id */
  #connectionLost(id) {
    const feed = this.#feeds.get(id);
    if (feed && this.#room !== null) this.#subscribeLater(feed);
  }

  /** @param {{feed: number, sdp: string}} data */
  #reoffered(data) {
    const feed = this.#feeds.get(data.feed);
    if (feed) this.#guard(this.#answer(feed, data.sdp));
  }

  /** @param {{feed: number, reason?: string}} data */
  #feedStopped(data) {
    const feed = this.#feeds.get(data.feed);
    if (!feed) return;
    const reason = data.reason ?? "unpublished";
    // Somebody pressed stop over there. Asking again unasked would switch their camera back on.
    if (reason === "unpublished") this.#autoInvite = false;
    this.#endFeed(feed, reason);
  }

  /** @param {Feed} feed @param {string} reason */
  #endFeed(feed, reason) {
    this.#forgetAttempt(feed.id);
    this.#feeds.delete(feed.id);
    feed.end(reason);
    this.#emit("feedended", feed);
    this.#updateState();
    this.#inviteLater(INVITE_INTERVAL_MS);
  }

  /** @param {ServerError} error */
  #serverError(error) {
    if (error.event === "ice") return; // candidates are a courtesy: refusing one costs nothing
    this.#emit("error", error);
  }

  /** @param {Error | null} [error] */
  #updateState(error = null) {
    const state = this.#deriveState();
    if (state === this.#state && !error) return;
    this.#state = state;
    this.#emit("state", { state, error });
  }

  /** @returns {ViewerState} */
  #deriveState() {
    if (!this.#wanted) return "idle";
    if (this.#connection.state === "closed") return "failed";
    if (this.#connection.state !== "open") return this.#wasInRoom ? "reconnecting" : "connecting";
    if (this.#feeds.size > 0) return "watching";
    return this.#room === null ? "connecting" : "waiting";
  }

  /** @param {Promise<unknown>} task whose failure is to be reported */
  #guard(task) {
    task.catch((error) => this.#report(error));
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
