/** Watching: one room of our own, the feeds in it received. No DOM. */
import { Connection } from "./connection.js";
import { Emitter } from "./events.js";
import { Feed } from "./feed.js";
import { Publication } from "./publication.js";
export type ViewerState = "idle" | "connecting" | "waiting" | "watching" | "reconnecting" | "failed";
export type Invited = import("./protocol.js").Invited;
export type DeviceInfo = import("./protocol.js").DeviceInfo;
export type StartListening = import("./protocol.js").StartListening;
export type ViewerOptions = {
    /**
     * `ws://host:port`; where this module came from when left out
     */
    server?: string;
    clientId?: string;
    token?: import("./connection.js").Token;
    /**
     * instead of those that the server gives
     */
    iceServers?: RTCIceServer[];
    /**
     * invite only these; all when left out, also those that come later; none when empty
     */
    devices?: string[];
    /**
     * enter this room of somebody else; once it is gone (`error` says so) we open our own
     */
    room?: number;
    /**
     * asked of each new feed: whether to receive it at once, or which
     * of its tracks, by id; all of every feed when left out
     */
    choose?: (feed: Feed) => boolean | string[];
    /**
     * stops it when it aborts
     */
    signal?: AbortSignal;
};
export type ViewerEvents = {
    /**
     * a feed is there; whether it is received, `choose` has said
     */
    feed: Feed;
    feedended: Feed;
    state: {
        state: ViewerState;
        error: Error | null;
    };
    /**
     * who is online has changed, or what they do
     */
    devices: DeviceInfo[];
    /**
     * the answer to an invitation, ours or one made by ourselves
     */
    invited: Invited;
    /**
     * devices did not take their invitation up in time; they may still come
     */
    uninvited: {
        devices: string[];
    };
    /**
     * an operator has ended our room; we have stopped
     */
    roomclosed: {
        room: number;
        reason: string;
    };
    error: Error;
};
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
export declare class Viewer extends Emitter<ViewerEvents> {
    #private;
    /** @param {ViewerOptions} [options] */
    constructor(options?: ViewerOptions);
    get state(): ViewerState;
    /** The feeds that are there now, and those that are lost and may come back. */
    get feeds(): Feed[];
    /** Who is online and what they do, by name; empty where the server does not tell. */
    get devices(): import("./protocol.js").DeviceInfo[];
    /** Our room's number; null while we are in none. */
    get room(): number | null;
    /** What we send ourselves; null unless `publish()` was called. */
    get publication(): Publication | null;
    /** Whether devices are invited again by themselves; not after one was switched off over there, until `invite()`. */
    get isInviting(): boolean;
    /** The connection underneath, for events that this class does not use. */
    get connection(): Connection;
    /**
     * Connect, make a room and invite devices; go on until `stop()`, whatever happens to the connection.
     * @param {{signal?: AbortSignal}} [options] the signal gives up waiting and stops
     * @returns {Promise<void>} resolves when the server has said welcome; rejects when it refuses for good
     */
    watch({ signal }?: {
        signal?: AbortSignal;
    }): Promise<void>;
    /** Leave the room and close; forget whom `invite()` has added. Idempotent. */
    stop(): void;
    /**
     * Invite devices now, and again when they come back.
     * @param {string[] | null} [devices] these, from now on too; null is all, also those that come later; those of the
     *   options when left out
     * @param {{signal?: AbortSignal}} [options] the signal gives up waiting
     * @returns {Promise<Invited | null>} null while there is no room: it is made up for as soon as there is
     */
    invite(devices?: string[] | null, { signal }?: {
        signal?: AbortSignal;
    }): Promise<Invited | null>;
    /**
     * Take invitations back: these devices are not invited again by ourselves, and what they send is not received.
     * Their cameras rest while nobody receives them, and stop when the room is left. Where all are invited they stay so,
     * and `choose` is asked of what they send next.
     * @param {string[]} devices
     */
    uninvite(devices: string[]): void;
    /**
     * Ask the server who is online. `devices` is kept up to date without it.
     * @param {{signal?: AbortSignal}} [options]
     * @returns {Promise<DeviceInfo[]>}
     */
    listDevices({ signal }?: {
        signal?: AbortSignal;
    }): Promise<DeviceInfo[]>;
    /**
     * Send media ourselves, into our room: a two-way call.
     * @param {MediaStream} stream
     * @param {import("./publication.js").MediaOptions} [options]
     * @returns {Publication} connecting; its `state` event tells the rest
     */
    publish(stream: MediaStream, options?: import("./publication.js").MediaOptions): Publication;
    /** Stop sending. The stream's tracks are the caller's and go on. Idempotent. */
    unpublish(): void;
}
