// @ts-check
/** The signalling connection: one WebSocket, requests with replies, reconnection. No DOM, no media. */

import { Backoff } from "./backoff.js";

/** From opening the socket to `welcome`; a reachable server answers in one round trip. */
const WELCOME_TIMEOUT_MS = 10_000;
/** From a request to its reply. Answering an offer is the slowest and takes tens of milliseconds. */
const REQUEST_TIMEOUT_MS = 15_000;
/** Requests in flight at once; more means that the server has stopped answering. */
const MAX_PENDING_REQUESTS = 64;
/** Unsent bytes in the socket beyond which sending fails instead of growing the browser's buffer. */
const MAX_BUFFERED_BYTES = 1_048_576;
/** Attempts with a fresh random id when ours is taken; twice in a row is already unlikely. */
const MAX_NEW_IDS = 3;

/** Close codes of the protocol (section 1) after which trying again cannot help. */
const FATAL_CLOSE_CODES = new Set([4400, 4401]);
/** The id is in use, or, after `welcome`, somebody else has taken it over. */
const CLOSE_ID_IN_USE = 4409;
/** Normal closure (RFC 6455 section 7.4.1). */
const CLOSE_NORMAL = 1000;

/**
 * @typedef {"WEB" | "DEVICE"} Role
 * @typedef {"idle" | "connecting" | "open" | "waiting" | "closed"} ConnectionState
 *   `waiting` is the pause before the next attempt; `closed` is final until `open()` is called again.
 * @typedef {{client_id: string, role: Role, resume: string | null, ice_servers: RTCIceServer[], protocol: number,
 *   server: string}} Welcome
 * @typedef {object} ConnectionOptions
 * @property {Role} role
 * @property {string} [server] `ws://host:port` or `http://host:port`; the page's own host when left out
 * @property {string} [clientId] 1 to 64 of `A-Z a-z 0-9 . _ ~ -`; a random one when left out
 * @property {string} [token] what authorises this client; any text where the server has auth off
 */

/** What the server refused or could not do: `code` is one of the protocol's section 7. */
export class ServerError extends Error {
  /** @param {{code: string, message: string, event?: string, id?: string | number}} data */
  constructor(data) {
    super(data.message);
    this.name = "ServerError";
    this.code = String(data.code);
    this.event = data.event ?? null;
    this.id = data.id ?? null;
  }
}

/** The connection is not open, or closed before the reply came. */
export class ConnectionClosedError extends Error {
  /** @param {string} message */
  constructor(message) {
    super(message);
    this.name = "ConnectionClosedError";
    this.code = "connection_closed";
  }
}

/** No reply came in time. */
export class RequestTimeoutError extends Error {
  /** @param {string} event */
  constructor(event) {
    super(`The server did not answer ${event} within ${REQUEST_TIMEOUT_MS / 1000} s.`);
    this.name = "RequestTimeoutError";
    this.code = "timeout";
  }
}

/**
 * Make a client id that is unlikely to collide.
 * @param {Role} role
 * @returns {string}
 */
export function randomClientId(role) {
  const bytes = crypto.getRandomValues(new Uint8Array(6));
  const suffix = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return `${role.toLowerCase()}-${suffix}`;
}

/**
 * Build the address of the protocol's section 1.
 * @param {string | undefined} server
 * @param {Role} role
 * @param {string} clientId
 * @param {string} token
 * @returns {string}
 */
export function socketUrl(server, role, clientId, token) {
  const url = new URL(server ?? globalThis.location.origin);
  const secure = url.protocol === "https:" || url.protocol === "wss:";
  const path = ["ws", "connect", role, clientId, token].map(encodeURIComponent).join("/");
  return `${secure ? "wss" : "ws"}://${url.host}/${path}`;
}

/**
 * Keep one WebSocket to the server open and speak the protocol's envelope over it.
 *
 * Events: `state` (detail: {state, retryInMs, error}), `open` (detail: Welcome), `close`, `error` (detail: Error,
 * for errors that no request claims), and each unsolicited message under its own name (detail: its data).
 */
export class Connection extends EventTarget {
  /** @type {WebSocket | null} */ #socket = null;
  /** @type {ConnectionState} */ #state = "idle";
  /** @type {Welcome | null} set by `welcome`, cleared when the socket closes */ #welcome = null;
  /** @type {Error | null} the last refusal before a close */ #refusal = null;
  /** @type {Map<number, {event: string, resolve: (data: any) => void, reject: (error: Error) => void, timer: any}>} */
  #pending = new Map();
  /** @type {{promise: Promise<Welcome>, resolve: (welcome: Welcome) => void, reject: (error: Error) => void} | null} */
  #opening = null;
  /** @type {any} */ #timer = null;
  #backoff = new Backoff();
  #nextId = 1;
  #newIds = 0;
  #options;
  #clientId;

  /** @param {ConnectionOptions} options */
  constructor(options) {
    super();
    this.#options = options;
    this.#clientId = options.clientId ?? randomClientId(options.role);
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
   * @returns {Promise<Welcome>}
   */
  open() {
    if (this.#welcome) return Promise.resolve(this.#welcome);
    if (this.#opening) return this.#opening.promise;
    const opening = (this.#opening = withResolvers());
    this.#backoff.reset();
    this.#newIds = 0;
    this.#connect();
    return opening.promise;
  }

  /** Close for good; pending requests reject. Idempotent. */
  close() {
    const socket = this.#socket;
    this.#forgetSocket(new ConnectionClosedError("The connection was closed."));
    socket?.close(CLOSE_NORMAL);
    if (this.#state !== "idle") this.#finish(null);
  }

  /** Skip the pause before the next attempt, for instance when the browser says that the network is back. */
  retryNow() {
    if (this.#state !== "waiting") return;
    clearTimeout(this.#timer);
    this.#connect();
  }

  /**
   * Send a message that has no reply.
   * @param {string} event
   * @param {object} [data]
   * @returns {number} the message's id, which an `error` about it repeats
   */
  send(event, data = {}) {
    const socket = this.#socket;
    if (!socket || !this.#welcome || socket.readyState !== socket.OPEN) {
      throw new ConnectionClosedError(`Cannot send ${event}: not connected to the server.`);
    }
    if (socket.bufferedAmount > MAX_BUFFERED_BYTES) {
      throw new ConnectionClosedError(`Cannot send ${event}: the link is too slow, earlier messages still wait.`);
    }
    const id = this.#nextId++;
    socket.send(JSON.stringify({ event, data, id }));
    return id;
  }

  /**
   * Send a message and wait for its direct reply.
   * @param {string} event
   * @param {object} [data]
   * @returns {Promise<any>} the reply's data; rejects with ServerError, RequestTimeoutError or ConnectionClosedError
   */
  request(event, data = {}) {
    return new Promise((resolve, reject) => {
      if (this.#pending.size >= MAX_PENDING_REQUESTS) {
        throw new ConnectionClosedError(`Cannot send ${event}: ${MAX_PENDING_REQUESTS} requests are unanswered.`);
      }
      const id = this.send(event, data);
      const timer = setTimeout(() => {
        this.#pending.delete(id);
        reject(new RequestTimeoutError(event));
      }, REQUEST_TIMEOUT_MS);
      this.#pending.set(id, { event, resolve, reject, timer });
    });
  }

  #connect() {
    const { server, role, token } = this.#options;
    this.#refusal = null;
    this.#setState("connecting");
    const socket = new WebSocket(socketUrl(server, role, this.#clientId, token ?? "anonymous"));
    this.#socket = socket;
    socket.onmessage = (message) => this.#receive(socket, message.data);
    socket.onclose = (close) => this.#closed(socket, close.code);
    // A server that accepts the socket but never speaks is as good as none.
    this.#timer = setTimeout(() => {
      socket.onclose = null;
      socket.close();
      this.#closed(socket, 0);
    }, WELCOME_TIMEOUT_MS);
  }

  /** @param {WebSocket} socket @param {unknown} text */
  #receive(socket, text) {
    if (socket !== this.#socket) return;
    let message;
    try {
      message = JSON.parse(String(text));
    } catch {
      this.#emit("error", new ServerError({ code: "bad_json", message: "The server sent something that is not JSON." }));
      return;
    }
    const data = message.data ?? {};
    if (message.event === "welcome") this.#welcomed(data);
    else if (message.event === "error") this.#failed(data, message.id ?? data.id);
    else if (this.#settle(message.id, (request) => request.resolve(data))) return;
    else this.#emit(message.event, data);
  }

  /** @param {Welcome} welcome */
  #welcomed(welcome) {
    clearTimeout(this.#timer);
    this.#welcome = welcome;
    this.#backoff.reset();
    this.#newIds = 0;
    this.#opening?.resolve(welcome);
    this.#opening = null;
    this.#setState("open");
    this.#emit("open", welcome);
  }

  /** @param {any} data @param {string | number | undefined} id */
  #failed(data, id) {
    const error = new ServerError({ ...data, id });
    if (!this.#welcome) this.#refusal = error; // reported when the close says whether it is final
    else if (!this.#settle(id, (request) => request.reject(error))) this.#emit("error", error);
  }

  /**
   * @param {unknown} id
   * @param {(request: {resolve: (data: any) => void, reject: (error: Error) => void}) => void} how
   * @returns {boolean} whether a request was waiting for this id
   */
  #settle(id, how) {
    const request = typeof id === "number" ? this.#pending.get(id) : undefined;
    if (!request) return false;
    this.#pending.delete(/** @type {number} */ (id));
    clearTimeout(request.timer);
    how(request);
    return true;
  }

  /** @param {WebSocket} socket @param {number} code */
  #closed(socket, code) {
    if (socket !== this.#socket) return;
    const wasOpen = this.#welcome !== null;
    this.#forgetSocket(new ConnectionClosedError("The connection to the server was lost."));
    this.#emit("close", { code });
    const replaced = code === CLOSE_ID_IN_USE && wasOpen;
    if (FATAL_CLOSE_CODES.has(code) || replaced) {
      const message = replaced ? "Another client has taken over this id." : "The server refused the connection.";
      this.#finish(this.#refusal ?? new ConnectionClosedError(message));
    } else if (code === CLOSE_ID_IN_USE && !this.#options.clientId && this.#newIds < MAX_NEW_IDS) {
      this.#newIds += 1;
      this.#clientId = randomClientId(this.#options.role);
      this.#connect();
    } else {
      this.#retryLater();
    }
  }

  #retryLater() {
    const delay = this.#backoff.next();
    this.#opening ??= withResolvers();
    this.#setState("waiting", { retryInMs: delay, error: this.#refusal });
    this.#timer = setTimeout(() => this.#connect(), delay);
  }

  /** @param {Error | null} error */
  #finish(error) {
    this.#opening?.reject(error ?? new ConnectionClosedError("The connection was closed."));
    this.#opening = null;
    this.#setState("closed", { error });
  }

  /** @param {Error} reason what pending requests are told */
  #forgetSocket(reason) {
    clearTimeout(this.#timer);
    this.#socket = null;
    this.#welcome = null;
    const requests = [...this.#pending.values()];
    this.#pending.clear();
    for (const request of requests) {
      clearTimeout(request.timer);
      request.reject(reason);
    }
  }

  /** @param {ConnectionState} state @param {{retryInMs?: number, error?: Error | null}} [more] */
  #setState(state, more = {}) {
    this.#state = state;
    this.#emit("state", { state, retryInMs: null, error: null, ...more });
  }

  /** @param {string} name @param {unknown} detail */
  #emit(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}

/**
 * `Promise.withResolvers`, which Safari 17.3 and Chrome 118 do not have yet.
 * @returns {{promise: Promise<Welcome>, resolve: (welcome: Welcome) => void, reject: (error: Error) => void}}
 */
function withResolvers() {
  /** @type {any} */ const parts = {};
  parts.promise = new Promise((resolve, reject) => Object.assign(parts, { resolve, reject }));
  // Whoever ignores the promise learns of the failure by the `state` event.
  parts.promise.catch(() => {});
  return parts;
}
