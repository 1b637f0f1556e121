/** Being a device: waiting for invitations and sending media while somebody watches. No DOM. */
import { Connection } from "./connection.js";
import { Emitter } from "./events.js";
import { Publication } from "./publication.js";
export type PublisherState = "offline" | "connecting" | "waiting" | "joining" | "live" | "reconnecting" | "failed";
export type MediaOptions = import("./publication.js").MediaOptions;
export type OwnOptions = {
    /**
     * what to publish; its tracks at the time of an invitation
     */
    stream: MediaStream;
    /**
     * `ws://host:port`; where this module came from when left out
     */
    server?: string;
    /**
     * the device's name
     */
    clientId?: string;
    token?: import("./connection.js").Token;
    /**
     * goes offline when it aborts
     */
    signal?: AbortSignal;
};
export type PublisherOptions = OwnOptions & MediaOptions;
export type PublisherEvents = {
    state: {
        state: PublisherState;
        error: Error | null;
    };
    /**
     * the ids (as offered) and kinds of our tracks
     * that somebody receives; the others are not sent
     */
    wanted: {
        tracks: string[];
        kinds: import("./protocol.js").Kind[];
    };
    /**
     * somebody wants to watch
     */
    invited: {
        room: number;
        inviter: string | null;
    };
    error: Error;
};
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
export declare class Publisher extends Emitter<PublisherEvents> {
    #private;
    /** @param {PublisherOptions} options */
    constructor(options: PublisherOptions);
    get state(): PublisherState;
    get stream(): MediaStream;
    /** The connection underneath, for events that this class does not use. */
    get connection(): Connection;
    /** The media that is sent, for what this class does not offer. */
    get publication(): Publication;
    /**
     * Connect and wait for invitations until `offline()`, whatever happens to the connection.
     * @param {{signal?: AbortSignal}} [options] the signal gives up waiting and goes offline
     * @returns {Promise<void>} resolves when the server has said welcome; rejects when it refuses for good
     */
    online({ signal }?: {
        signal?: AbortSignal;
    }): Promise<void>;
    /** Stop publishing, leave and close. The stream's tracks are the caller's and go on. Idempotent. */
    offline(): void;
    /**
     * Send `track` instead of another, without interrupting viewers where there was one before.
     * @param {import("./protocol.js").Kind | MediaStreamTrack} old a track, or the kind of which there is one
     * @param {MediaStreamTrack | null} track null sends nothing in its place
     * @returns {Promise<void>}
     */
    replaceTrack(old: import("./protocol.js").Kind | MediaStreamTrack, track: MediaStreamTrack | null): Promise<void>;
    /**
     * Send a further track; viewers are offered it.
     * @param {MediaStreamTrack} track
     * @returns {Promise<void>}
     */
    addTrack(track: MediaStreamTrack): Promise<void>;
    /**
     * Send a track no longer; viewers lose it. Its capture goes on: that is the caller's.
     * @param {MediaStreamTrack} track
     * @returns {Promise<void>}
     */
    removeTrack(track: MediaStreamTrack): Promise<void>;
    /**
     * Read the numbers of this moment; about once a second is a good rhythm.
     * @returns {Promise<import("./stats.js").MediaStats | null>} null while nothing is published
     */
    stats(): Promise<import("./stats.js").MediaStats | null>;
}
