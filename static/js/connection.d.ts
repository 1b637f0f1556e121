/** The signalling connection: one WebSocket, requests with replies, reconnection and resume. No DOM, no media. */
import { Emitter } from "./events.js";
export type Role = import("./protocol.js").Role;
export type Welcome = import("./protocol.js").Welcome;
export type Resumed = import("./protocol.js").Resumed;
export type ConnectionState = "idle" | "connecting" | "open" | "waiting" | "closed";
export type Token = string | (() => string | Promise<string>);
export type ConnectionOptions = {
    role: Role;
    /**
     * `ws://host:port` or `http://host:port`; where this module came from when left out
     */
    server?: string;
    /**
     * 1 to 64 of `A-Z a-z 0-9 . _ ~ -`; when left out, the one that the token is for (its `sub`
     * claim), or else a random one
     */
    clientId?: string;
    /**
     * not needed where the server has auth off
     */
    token?: Token;
    /**
     * closes the connection for good when it aborts
     */
    signal?: AbortSignal;
};
export type Traffic = {
    direction: "in" | "out";
    event: string;
    data: any;
    id?: string | number;
};
export type PeerConnectionMade = {
    pc: RTCPeerConnection;
    typ: "pub" | "sub";
    device: string | null;
};
export type OwnEvents = {
    state: {
        state: ConnectionState;
        retryInMs: number | null;
        error: Error | null;
    };
    /**
     * a fresh session: the server knows nothing of us yet, or no longer
     */
    open: Welcome;
    /**
     * the session went on with a new socket: rooms, publication and subscriptions are still there
     */
    resumed: Resumed;
    /**
     * the socket is gone; whether the session is, the next `open` or `resumed` tells
     */
    close: {
        code: number;
    };
    /**
     * a refusal that no request claims
     */
    error: Error;
    /**
     * every message both ways, without its secrets; for inspecting
     */
    traffic: Traffic;
    /**
     * media is about to be negotiated; for inspecting
     */
    peerconnection: PeerConnectionMade;
};
export type ConnectionEvents = OwnEvents & import("./protocol.js").ServerEvents;
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
export declare class Connection extends Emitter<ConnectionEvents> {
    #private;
    /** @param {ConnectionOptions} options */
    constructor(options: ConnectionOptions);
    get state(): ConnectionState;
    get clientId(): string;
    /** What the server said first; null while not open. */
    get welcome(): import("./protocol.js").Welcome | null;
    /**
     * Open the connection and keep it open until `close()`.
     *
     * Resolves with the first `welcome`, however many attempts that takes; rejects when the server refuses this client
     * for good or `close()` comes first. Calling it again while it is open is harmless.
     * @param {{signal?: AbortSignal}} [options] the signal gives up waiting and closes
     * @returns {Promise<Welcome>}
     */
    open({ signal }?: {
        signal?: AbortSignal;
    }): Promise<Welcome>;
    /** Close for good; pending requests reject. Idempotent. */
    close(): void;
    /** Skip the pause before the next attempt, for instance when a person asks for it. */
    retryNow(): void;
    /** Doubt the link: try again at once where it is down, find out quickly where it seems up. */
    check(): void;
    /**
     * Send a message that has no reply.
     * @param {string} event
     * @param {object} [data]
     * @returns {number} the message's id, which an `error` about it repeats
     */
    send(event: string, data?: object): number;
    /**
     * Send a message and wait for its direct reply, across a lost socket where the session is resumed.
     * @param {string} event
     * @param {object} [data]
     * @param {{signal?: AbortSignal, timeoutMs?: number}} [options] the signal gives up waiting; the message is not unsent
     * @returns {Promise<any>} the reply's data; rejects with ServerError, RequestTimeoutError or ConnectionClosedError
     */
    request(event: string, data?: object, { signal, timeoutMs }?: {
        signal?: AbortSignal;
        timeoutMs?: number;
    }): Promise<any>;
}
