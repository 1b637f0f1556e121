/** What we send: one connection to the server, negotiated anew whenever tracks or the network change. */
import { Emitter } from "./events.js";
export type PublicationState = "idle" | "connecting" | "live" | "lost" | "ended";
export type Kind = import("./protocol.js").Kind;
export type Limits = import("./sending.js").Limits;
export type MediaOptions = {
    /**
     * instead of those that the server gives
     */
    iceServers?: RTCIceServer[];
    /**
     * preferred video codec, such as `VP9`; the browser's own order when left out
     */
    codec?: string;
    limits?: Limits;
};
export type PublicationEvents = {
    state: {
        state: PublicationState;
    };
    /**
     * the ids and kinds of our tracks that somebody receives; the others
     * are not sent. The ids are those that were offered: a replaced track goes under its predecessor's
     */
    wanted: {
        tracks: string[];
        kinds: Kind[];
    };
    /**
     * this attempt failed; another follows
     */
    error: Error;
};
/**
 * `idle` before `start()` and after `suspend()`; `connecting`; `live` while media flows to the server; `lost` while the
 * link is down and being repaired; `ended` after `stop()`.
 * @typedef {"idle" | "connecting" | "live" | "lost" | "ended"} PublicationState
 * @typedef {import("./protocol.js").Kind} Kind
 * @typedef {import("./sending.js").Limits} Limits
 *
 * @typedef {object} MediaOptions
 * @property {RTCIceServer[]} [iceServers] instead of those that the server gives
 * @property {string} [codec] preferred video codec, such as `VP9`; the browser's own order when left out
 * @property {Limits} [limits]
 *
 * @typedef {object} PublicationEvents
 * @property {{state: PublicationState}} state
 * @property {{tracks: string[], kinds: Kind[]}} wanted the ids and kinds of our tracks that somebody receives; the others
 *   are not sent. The ids are those that were offered: a replaced track goes under its predecessor's
 * @property {Error} error this attempt failed; another follows
 */
/**
 * Send a stream's tracks, and go on doing so until `stop()`.
 * @extends {Emitter<PublicationEvents>}
 */
export declare class Publication extends Emitter<PublicationEvents> {
    #private;
    /**
     * @param {import("./connection.js").Connection} connection
     * @param {MediaStream} stream what to send; its tracks at the time of `start()`
     * @param {MediaOptions} [options] throws where the browser cannot send the codec
     */
    constructor(connection: import("./connection.js").Connection, stream: MediaStream, options?: MediaOptions);
    get state(): PublicationState;
    get stream(): MediaStream;
    /** The connection underneath, to look at; null while there is none. Another one after some losses. */
    get peerConnection(): RTCPeerConnection | null;
    /**
     * Offer our media; we must be in a room.
     * @returns {Promise<void>} resolves when the server has answered; rejects with what it refused
     */
    start(): Promise<void>;
    /** Close the connection but stay, for another `start()`; the server has forgotten us, or asks us to stop. */
    suspend(): void;
    /** End for good, here and on the server. The stream's tracks are the caller's and go on. Idempotent. */
    stop(): void;
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
     * Send `track` instead of another, without interrupting viewers where there was one before.
     * @param {Kind | MediaStreamTrack} old a track, or the kind of which there is one
     * @param {MediaStreamTrack | null} track null sends nothing in its place
     * @returns {Promise<void>}
     */
    replaceTrack(old: Kind | MediaStreamTrack, track: MediaStreamTrack | null): Promise<void>;
    /**
     * Limit what is sent, from now on.
     * @param {Limits} limits in place of those before
     */
    limit(limits: Limits): Promise<void>;
    /**
     * Prefer a video codec, from now on.
     * @param {string | undefined} codec such as `VP9`; the browser's own order when undefined
     */
    setCodec(codec: string | undefined): Promise<void>;
    /** Repair the link now if it is broken, instead of when the browser gives it up. */
    check(): void;
    /**
     * Read the numbers of this moment; about once a second is a good rhythm.
     * @returns {Promise<import("./stats.js").MediaStats | null>} null while nothing is sent
     */
    stats(): Promise<import("./stats.js").MediaStats | null>;
}
