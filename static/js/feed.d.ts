/** One device's media as a viewer receives it. Made by `Viewer`. */
import { Emitter } from "./events.js";
export type FeedState = import("./feed-types.js").FeedState;
export type ReceivedTrack = import("./feed-types.js").ReceivedTrack;
export type Kind = import("./protocol.js").Kind;
export type StartListening = import("./protocol.js").StartListening;
/**
 * @typedef {import("./feed-types.js").FeedState} FeedState
 * @typedef {import("./feed-types.js").ReceivedTrack} ReceivedTrack
 * @typedef {import("./protocol.js").Kind} Kind
 * @typedef {import("./protocol.js").StartListening} StartListening
 */
/**
 * A feed and the media received from it. It outlives reconnections and restarts of the server or the device: the object,
 * and the `stream` that a video element shows, stay the same.
 * @extends {Emitter<import("./feed-types.js").FeedEvents>}
 */
export declare class Feed extends Emitter<import("./feed-types.js").FeedEvents> {
    #private;
    /** The server's number for it. Another one after the server or the device has started anew. */
    id: number;
    /** Who publishes it; servers that follow only the published document do not say. */
    device: string | null;
    /** What is published, whether or not it has arrived yet. */
    tracks: import("./protocol.js").TrackInfo[];
    /** All tracks received; fit for `video.srcObject`, and kept for the feed's whole life. */
    stream: MediaStream;
    /** Why it is lost or ended: a reason of the protocol's `stop_listening`, `reconnected`, `stopped` or `unplayable`. */
    reason: string | null;
    /** @param {StartListening} announced @param {import("./feed-types.js").FeedLink} link */
    constructor(announced: StartListening, link: import("./feed-types.js").FeedLink);
    get state(): import("./feed-types.js").FeedState;
    /** The kinds that are paused now. */
    get paused(): import("./protocol.js").Kind[];
    /** The tracks that were asked for, by id; null is all there are. */
    get selected(): string[] | null;
    /** The tracks that are received now. */
    get received(): import("./feed-types.js").ReceivedTrack[];
    /** What the device sends of the selected tracks and this browser has no decoder for. */
    get unplayable(): import("./errors.js").UnplayableTrack[];
    /** The connection underneath, to look at; null while there is none. Another one after each loss. */
    get peerConnection(): RTCPeerConnection | null;
    /**
     * Receive it, until `stop()` or its end.
     * @param {{tracks?: string[] | null, signal?: AbortSignal}} [options] `tracks`: some of its tracks, by id; null or left
     *   out is all. The signal gives up waiting and stops.
     * @returns {Promise<void>} resolves when it is live; rejects when it ends or is stopped first, and with a
     *   `CodecError` when this browser can play none of it; that is tried again when the device sends something else
     */
    receive({ tracks, signal }?: {
        tracks?: string[] | null;
        signal?: AbortSignal;
    }): Promise<void>;
    /** Stop receiving; the feed stays, and `receive()` starts it again. Idempotent. */
    stop(): void;
    /**
     * Pause without negotiating anew: nothing of these kinds is sent to us until `resume()`.
     * @param {...Kind} kinds both when left out
     * @returns {Promise<Kind[]>} what is paused now
     */
    pause(...kinds: Kind[]): Promise<Kind[]>;
    /**
     * Go on after `pause()`.
     * @param {...Kind} kinds both when left out
     * @returns {Promise<Kind[]>} what is paused now
     */
    resume(...kinds: Kind[]): Promise<Kind[]>;
    /**
     * Make a stream of one track, for devices that have several cameras.
     * @param {string} id the publisher's track id, as in `tracks`
     * @returns {MediaStream | null} null while it is not received
     */
    streamOf(id: string): MediaStream | null;
    /**
     * Read the numbers of this moment; about once a second is a good rhythm.
     * @returns {Promise<import("./stats.js").MediaStats | null>} null while there is no connection
     */
    stats(): Promise<import("./stats.js").MediaStats | null>;
    /** @returns {number | null} how loud it is now, muted or not: 0 to 1; null where the sender does not say (RFC 6464) */
    audioLevel(): number | null;
}
