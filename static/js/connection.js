// @ts-check
/** The signalling connection: one WebSocket, requests with replies, reconnection and resume. No DOM, no media. */

import { abortable, withResolvers } from "./abort.js";
import { clientIdOf, randomClientId, socketUrl } from "./address.js";
import { Backoff } from "./backoff.js";
import { ConnectionClosedError, RequestTimeoutError, ServerError } from "./errors.js";
import { emit, Emitter } from "./events.js";
import { Heartbeat } from "./heartbeat.js";
import { CLOSE_GOING_AWAY, CLOSE_GOODBYE, CLOSE_ID_IN_USE, FATAL_CLOSE_CODES, withoutSecrets } from "./protocol.js";
import { Requests } from "./requests.js";
import { Unacknowledged } from "./unacknowledged.js";

/** From opening the socket to `welcome`; a reachable server answers in one round trip. */
const WELCOME_TIMEOUT_MS = 10_000;
/** A server that asks for a token waits some seconds for it, and says nothing meanwhile. One that has not spoken for so long
 * is shown that we have none, so that it refuses at once: the person is told in a second what is missing. */
const NO_TOKEN_AFTER_MS = 400;
/** What it is shown then; no server's token. */
const NO_TOKEN = "none";
/** From a request to its reply. Answering an offer is the slowest and takes tens of milliseconds. */
const REQUEST_TIMEOUT_MS = 15_000;
/** Requests in flight at once; more means that the server has stopped answering. */
const MAX_PENDING_REQUESTS = 64;
/** Unsent bytes in the socket beyond which sending fails instead of growing the browser's buffer. */
const MAX_BUFFERED_BYTES = 1_048_576;
/** Attempts with a fresh random id when ours is taken; twice in a row is already unlikely. */
const MAX_NEW_IDS = 3;
/** A connection that lasted this long was a good one: the next attempt need not wait long. */
const STABLE_MS = 5_000;

/**
 * @typedef {import("./protocol.js").Role} Role
 * @typedef {import("./protocol.js").Welcome} Welcome
 * @typedef {import("./protocol.js").Resumed} Resumed
 * @typedef {"idle" | "connecting" | "open" | "waiting" | "closed"} ConnectionState
 *   `waiting` is the pause before the next attempt; `closed` is final until `open()` is called again.
 * @typedef {string | (() => string | Promise<string>)} Token what authorises this client; a function is asked before each
 *   attempt, so that it can fetch a fresh one. It never becomes part of an address.
 * @typedef {object} ConnectionOptions
 * @property {Role} role
 * @property {string} [server] `ws://host:port` or `http://host:port`; where this module came from when left out
 * @property {string} [clientId] 1 to 64 of `A-Z a-z 0-9 . _ ~ -`; when left out, the one that the token is for (its `sub`
 *   claim), or else a random one
 * @property {Token} [token] not needed where the server has auth off
 * @property {AbortSignal} [signal] closes the connection for good when it aborts
 * @typedef {{direction: "in" | "out", event: string, data: any, id?: string | number}} Traffic
 * @typedef {{pc: RTCPeerConnection, typ: "pub" | "sub", device: string | null}} PeerConnectionMade
 *
 * @typedef {object} OwnEvents
 * @property {{state: ConnectionState, retryInMs: number | null, error: Error | null}} state
 * @property {Welcome} open a fresh session: the server knows nothing of us yet, or no longer
 * @property {Resumed} resumed the session went on with a new socket: rooms, publication and subscriptions are still there
 * @property {{code: number}} close the socket is gone; whether the session is, the next `open` or `resumed` tells
 * @property {Error} error a refusal that no request claims
 * @property {Traffic} traffic every message both ways, without its secrets; for inspecting
 * @property {PeerConnectionMade} peerconnection media is about to be negotiated; for inspecting
 * @typedef {OwnEvents & import("./protocol.js").ServerEvents} ConnectionEvents
 */

/**
 * Keep one session with the server going over one WebSocket after another, and speak the protocol's envelope.
 *
 * Unsolicited messages are dispatched under their own names (detail: their data); see `ConnectionEvents` for the rest.
 * @extends {Emitter<ConnectionEvents>}
 */
export class Connection extends Emitter {
  /** @type {WebSocket | null} from an attempt to its end */ #socket = null;
  /** @type {ConnectionState} */ #state = "idle";
  /** @type {Welcome | null} set by `welcome`, cleared when the socket closes */ #welcome = null;
  /** @type {string | null} the session's secret, for taking it over; null while there is none */ #resume = null;
  #isResuming = false; // from an attempt to resume until the message after `welcome` tells whether it was granted
  /** @type {Error | null} the last refusal before a close */ #refusal = null;
  #requests = new Requests();
  /** @type {ReturnType<typeof withResolvers<Welcome>> | null} */ #opening = null;
  /** @type {any} the attempt's deadline, or the pause before the next */ #timer = null;
  #heartbeat = new Heartbeat(
    () => this.#ping(),
    () => this.#dead(),
  );
  /** @type {Set<unknown>} ids of our `ping`s of this session that are not answered */ #pings = new Set();
  #unacknowledged = new Unacknowledged();
  #received = 0; // messages of this session, but for `welcome` and `resumed`
  #isDraining = false; // the server has said that it will end; a proxy may keep its close code from us
  #backoff = new Backoff();
  #attempt = 0;
  #openedAt = 0;
  #nextId = 1;
  #newIds = 0;
  #isIdRandom = false; // whether another id would do as well
  #hasToken = false;
  /** @type {AbortController | null} the listeners on the world outside, while not closed */ #outside = null;
  #options;
  #clientId;

  /** @param {ConnectionOptions} options */
  constructor(options) {
    super();
    this.#options = options;
    this.#clientId = options.clientId ?? randomClientId(options.role);
    options.signal?.addEventListener("abort", () => this.close(), { once: true });
  }

  get state() {
    return this.#state;
  }

  get clientId() {
    return this.#clientId;
  }

  /** What the server said first; null while not open. */
  get welcome() {
    return this.#welcome;
  }

  /**
   * Open the connection and keep it open until `close()`.
   *
   * Resolves with the first `welcome`, however many attempts that takes; rejects when the server refuses this client
   * for good or `close()` comes first. Calling it again while it is open is harmless.
   * @param {{signal?: AbortSignal}} [options] the signal gives up waiting and closes
   * @returns {Promise<Welcome>}
   */
  async open({ signal } = {}) {
    this.#options.signal?.throwIfAborted();
    signal?.throwIfAborted();
    if (this.#state === "open" && this.#welcome) return this.#welcome;
    let opening = this.#opening;
    if (!opening) {
      opening = this.#opening = withResolvers();
      this.#backoff.reset();
      this.#newIds = 0;
      this.#listenOutside();
      this.#connect();
    }
    try {
      return await abortable(abortable(opening.promise, this.#options.signal), signal);
    } catch (error) {
      if (signal?.aborted) this.close();
      throw error;
    }
  }

  /** Close for good; pending requests reject. Idempotent. */
  close() {
    const socket = this.#socket;
    this.#forgetSocket();
    this.#forgetSession(new ConnectionClosedError("The connection was closed."));
    socket?.close(CLOSE_GOODBYE);
    if (this.#state !== "idle" && this.#state !== "closed") this.#finish(null);
  }

  /** Skip the pause before the next attempt, for instance when a person asks for it. */
  retryNow() {
    if (this.#state !== "waiting") return;
    clearTimeout(this.#timer);
    this.#connect();
  }

  /** Doubt the link: try again at once where it is down, find out quickly where it seems up. */
  check() {
    this.retryNow();
    this.#heartbeat.doubt();
  }

  /**
   * Send a message that has no reply.
   * @param {string} event
   * @param {object} [data]
   * @returns {number} the message's id, which an `error` about it repeats
   */
  send(event, data = {}) {
    const socket = this.#socket;
    if (!socket || this.#state !== "open" || socket.readyState !== socket.OPEN) {
      throw new ConnectionClosedError(`Cannot send ${event}: not connected to the server.`);
    }
    if (socket.bufferedAmount > MAX_BUFFERED_BYTES) {
      throw new ConnectionClosedError(`Cannot send ${event}: the link is too slow, earlier messages still wait.`);
    }
    const id = this.#nextId++;
    const text = JSON.stringify({ event, data, id });
    this.#unacknowledged.add(id, text);
    socket.send(text);
    emit(this, "traffic", { direction: "out", event, data: withoutSecrets(event, data), id });
    return id;
  }

  /**
   * Send a message and wait for its direct reply, across a lost socket where the session is resumed.
   * @param {string} event
   * @param {object} [data]
   * @param {{signal?: AbortSignal, timeoutMs?: number}} [options] the signal gives up waiting; the message is not unsent
   * @returns {Promise<any>} the reply's data; rejects with ServerError, RequestTimeoutError or ConnectionClosedError
   */
  async request(event, data = {}, { signal, timeoutMs = REQUEST_TIMEOUT_MS } = {}) {
    signal?.throwIfAborted();
    if (this.#requests.size >= MAX_PENDING_REQUESTS) {
      throw new ConnectionClosedError(`Cannot send ${event}: ${MAX_PENDING_REQUESTS} requests are unanswered.`);
    }
    const id = this.send(event, data);
    const reply = this.#requests.expect(id);
    const timer = setTimeout(() => this.#requests.reject(id, new RequestTimeoutError(event, timeoutMs)), timeoutMs);
    try {
      return await abortable(reply, signal);
    } finally {
      clearTimeout(timer);
      this.#requests.forget(id);
    }
  }

  async #connect() {
    const { server, role, token } = this.#options;
    const attempt = ++this.#attempt;
    this.#refusal = null;
    this.#setState("connecting");
    // A server that accepts the socket but never speaks is as good as none, and so is one that gives no token.
    this.#timer = setTimeout(() => this.#dead(), WELCOME_TIMEOUT_MS);
    let secret;
    try {
      secret = typeof token === "function" ? await token() : token;
    } catch (error) {
      if (attempt !== this.#attempt) return;
      this.#refusal = /** @type {Error} */ (error);
      this.#retryLater();
      return;
    }
    if (attempt !== this.#attempt) return;
    this.#identify(secret);
    const url = socketUrl(server, role, this.#clientId);
    this.#isResuming = this.#resume !== null;
    if (this.#resume !== null) {
      url.searchParams.set("resume", this.#resume);
      url.searchParams.set("received", String(this.#received));
    }
    const socket = new WebSocket(url);
    this.#socket = socket;
    const showToken = () => socket.send(JSON.stringify({ event: "auth", data: { token: secret || NO_TOKEN } }));
    socket.onopen = () => (secret ? showToken() : setTimeout(() => this.#isUnheard(socket) && showToken(), NO_TOKEN_AFTER_MS));
    socket.onmessage = (message) => this.#receive(socket, message.data);
    socket.onclose = (close) => this.#closed(socket, close.code);
  }

  /** @param {string | undefined} token */
  #identify(token) {
    this.#hasToken = Boolean(token);
    if (this.#options.clientId) return;
    const own = token ? clientIdOf(token) : null;
    this.#isIdRandom = own === null;
    if (own !== null) this.#clientId = own;
  }

  /** @param {WebSocket} socket @returns {boolean} whether it is open and the server has said nothing yet */
  #isUnheard(socket) {
    return socket === this.#socket && this.#welcome === null && socket.readyState === WebSocket.OPEN;
  }

  /** @param {WebSocket} socket @param {unknown} text */
  #receive(socket, text) {
    if (socket !== this.#socket) return;
    this.#heartbeat.heard();
    let message;
    try {
      message = JSON.parse(String(text));
    } catch {
      emit(this, "error", new ServerError({ code: "bad_json", message: "The server sent something that is not JSON." }));
      return;
    }
    this.#dispatch(message.event, message.data ?? {}, message.id ?? message.data?.id);
  }

  /** @param {string} event @param {any} data @param {string | number | undefined} id */
  #dispatch(event, data, id) {
    emit(this, "traffic", { direction: "in", event, data: withoutSecrets(event, data), id });
    if (event === "welcome") {
      this.#welcomed(data);
      return;
    }
    if (this.#welcome && this.#isResuming) {
      this.#isResuming = false;
      if (event === "resumed") {
        this.#takenOver(data);
        return;
      }
      const counted = this.#unacknowledged;
      counted.resume(0);
      this.#begun(this.#welcome, counted);
    }
    this.#received += 1;
    this.#unacknowledged.acknowledge(id);
    if (this.#pings.delete(id)) return;
    if (event === "server_draining") this.#isDraining = true;
    if (event === "error") this.#failed(data, id);
    else if (!this.#requests.resolve(id, data)) emit(this, /** @type {any} */ (event), data);
  }

  /** @param {Welcome} welcome */
  #welcomed(welcome) {
    clearTimeout(this.#timer);
    this.#welcome = welcome;
    this.#newIds = 0;
    this.#openedAt = performance.now();
    this.#heartbeat.start();
    if (!this.#isResuming) this.#begun(welcome);
    // What comes next tells whether the session goes on; asking makes something come.
    else this.#ping();
    this.#resume = welcome.resume;
  }

  /** @param {Welcome} welcome @param {Unacknowledged} [counted] what was sent in the new session already */
  #begun(welcome, counted) {
    this.#forgetSession(new ConnectionClosedError("The server has forgotten this client meanwhile."));
    if (counted) this.#unacknowledged = counted;
    this.#resume = welcome.resume;
    this.#opened(welcome);
    emit(this, "open", welcome);
  }

  /** @param {Resumed} resumed */
  #takenOver(resumed) {
    const lost = this.#unacknowledged.resume(resumed.received);
    for (const { id, text } of lost) {
      this.#unacknowledged.add(id, text);
      this.#socket?.send(text);
    }
    this.#opened(/** @type {Welcome} */ (this.#welcome));
    emit(this, "resumed", resumed);
  }

  /** @param {Welcome} welcome */
  #opened(welcome) {
    this.#opening?.resolve(welcome);
    this.#opening = null;
    this.#setState("open");
  }

  /** Ask for a sign of life. A server that is older than the event answers too: that it does not know it. */
  #ping() {
    const socket = this.#socket;
    if (socket?.readyState !== WebSocket.OPEN) return;
    const id = this.#nextId++;
    this.#unacknowledged.add(id, null);
    this.#pings.add(id);
    socket.send(JSON.stringify({ event: "ping", data: {}, id }));
    emit(this, "traffic", { direction: "out", event: "ping", data: {}, id });
  }

  #dead() {
    const socket = this.#socket;
    this.#closed(socket, 0);
    // Later than the above, because a link that is down makes the browser wait for the closing handshake.
    socket?.close();
  }

  /** @param {any} data @param {string | number | undefined} id */
  #failed(data, id) {
    const isTokenMissing = data.code === "unauthorized" && !this.#hasToken && !this.#welcome;
    const message = isTokenMissing ? "The server asks for a token, and there is none." : data.message;
    const error = new ServerError({ ...data, id, message });
    if (this.#requests.reject(id, error)) return;
    if (!this.#welcome) this.#refusal = error; // reported when the close says whether it is final
    // A server that asks for no token, or is older than this way to give one, needs none from us.
    else if (error.event !== "auth") emit(this, "error", error);
  }

  /** @param {WebSocket | null} socket @param {number} code */
  #closed(socket, code) {
    if (socket !== this.#socket) return;
    const wasOpen = this.#welcome !== null;
    if (wasOpen && performance.now() - this.#openedAt > STABLE_MS) this.#backoff.reset();
    if (code === CLOSE_GOING_AWAY || this.#isDraining) this.#backoff.expectRestart();
    this.#isDraining = false;
    this.#forgetSocket();
    if (this.#resume === null) this.#forgetSession(new ConnectionClosedError("The connection to the server was lost."));
    emit(this, "close", { code });
    const replaced = code === CLOSE_ID_IN_USE && wasOpen;
    if (FATAL_CLOSE_CODES.has(code) || replaced) {
      const message = replaced ? "Another client has taken over this id." : "The server refused the connection.";
      const error = this.#refusal ?? new ConnectionClosedError(message);
      this.#forgetSession(error);
      this.#finish(error);
    } else if (code === CLOSE_ID_IN_USE && this.#isIdRandom && this.#newIds < MAX_NEW_IDS) {
      this.#newIds += 1;
      this.#clientId = randomClientId(this.#options.role);
      this.#connect();
    } else {
      this.#retryLater();
    }
  }

  #retryLater() {
    clearTimeout(this.#timer);
    const delay = this.#backoff.next();
    this.#opening ??= withResolvers();
    this.#setState("waiting", { retryInMs: delay, error: this.#refusal });
    this.#timer = setTimeout(() => this.#connect(), delay);
  }

  /** @param {Error | null} error */
  #finish(error) {
    this.#outside?.abort();
    this.#outside = null;
    this.#opening?.reject(error ?? new ConnectionClosedError("The connection was closed."));
    this.#opening = null;
    this.#setState("closed", { error });
  }

  #forgetSocket() {
    this.#attempt += 1;
    clearTimeout(this.#timer);
    this.#heartbeat.stop();
    if (this.#socket) this.#socket.onopen = this.#socket.onmessage = this.#socket.onclose = null;
    this.#socket = null;
    this.#welcome = null;
    this.#isResuming = false;
  }

  /** @param {Error} reason what pending requests are told */
  #forgetSession(reason) {
    this.#resume = null;
    this.#received = 0;
    this.#unacknowledged = new Unacknowledged();
    this.#pings.clear();
    this.#requests.rejectAll(reason);
  }

  /** Hear of changes of the network while we are not closed. */
  #listenOutside() {
    this.#outside?.abort();
    this.#outside = new AbortController();
    const { signal } = this.#outside;
    globalThis.addEventListener?.("online", () => this.check(), { signal });
    /** @type {any} */ (globalThis.navigator)?.connection?.addEventListener?.("change", () => this.check(), { signal });
  }

  /** @param {ConnectionState} state @param {{retryInMs?: number, error?: Error | null}} [more] */
  #setState(state, more = {}) {
    this.#state = state;
    emit(this, "state", { state, retryInMs: null, error: null, ...more });
  }
}
