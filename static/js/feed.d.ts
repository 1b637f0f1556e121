/** One device's media as a viewer receives it. Made by `Viewer`. */
import { Emitter } from "./events.js";
export type FeedState = "idle" | "connecting" | "live" | "lost" | "ended";
export type Kind = import("./protocol.js").Kind;
export type TrackInfo = import("./protocol.js").TrackInfo;
export type StartListening = import("./protocol.js").StartListening;
export type ReceivedTrack = {
    id: string;
    kind: Kind;
    track: MediaStreamTrack;
};
export type FeedEvents = {
    state: {
        state: FeedState;
        reason: string | null;
    };
    /**
     * a track was added to `stream`
     */
    track: ReceivedTrack;
    /**
     * a track was taken out of `stream`
     */
    trackremoved: ReceivedTrack;
    /**
     * what the device publishes has changed
     */
    tracks: TrackInfo[];
    paused: {
        paused: Kind[];
    };
    /**
     * the first picture (or sound, where there is no picture) is there
     */
    firstframe: {
        milliseconds: number;
    };
    /**
     * this attempt to receive failed; another follows
     *
     * What a feed needs of its viewer.
     */
    error: Error;
};
export type FeedLink = {
    connection: import("./connection.js").Connection;
    /**
     * null while we are in none
     */
    room: () => number | null;
    iceServers: () => RTCIceServer[];
    /**
     * the server no longer has it
     */
    gone: (feed: Feed) => void;
};
/**
 * `idle` while it is not received; `connecting` until media can flow; `live`; `lost` while it is down and may come back;
 * `ended` for good.
 * @typedef {"idle" | "connecting" | "live" | "lost" | "ended"} FeedState
 * @typedef {import("./protocol.js").Kind} Kind
 * @typedef {import("./protocol.js").TrackInfo} TrackInfo
 * @typedef {import("./protocol.js").StartListening} StartListening
 * @typedef {{id: string, kind: Kind, track: MediaStreamTrack}} ReceivedTrack
 *
 * @typedef {object} FeedEvents
 * @property {{state: FeedState, reason: string | null}} state
 * @property {ReceivedTrack} track a track was added to `stream`
 * @property {ReceivedTrack} trackremoved a track was taken out of `stream`
 * @property {TrackInfo[]} tracks what the device publishes has changed
 * @property {{paused: Kind[]}} paused
 * @property {{milliseconds: number}} firstframe the first picture (or sound, where there is no picture) is there
 * @property {Error} error this attempt to receive failed; another follows
 *
 * What a feed needs of its viewer.
 * @typedef {object} FeedLink
 * @property {import("./connection.js").Connection} connection
 * @property {() => number | null} room null while we are in none
 * @property {() => RTCIceServer[]} iceServers
 * @property {(feed: Feed) => void} gone the server no longer has it
 */
/**
 * A feed and the media received from it. It outlives reconnections and restarts of the server or the device: the object,
 * and the `stream` that a video element shows, stay the same.
 * @extends {Emitter<FeedEvents>}
 */
export declare class Feed extends Emitter<FeedEvents> {
    #private;
    /** The server's number for it. Another one after the server or the device has started anew. */
    id: number;
    /** Who publishes it; servers that follow only the published document do not say. */
    device: string | null;
    /** What is published, whether or not it has arrived yet. */
    tracks: import("./protocol.js").TrackInfo[];
    /** All tracks received; fit for `video.srcObject`, and kept for the feed's whole life. */
    stream: MediaStream;
    /** Why it is lost or ended: a reason of the protocol's `stop_listening`, `reconnected` or `stopped`. */
    reason: string | null;
    /** @param {StartListening} announced @param {FeedLink} link */
    constructor(announced: StartListening, link: FeedLink);
    get state(): FeedState;
    /** The kinds that are paused now. */
    get paused(): import("./protocol.js").Kind[];
    /** The tracks that were asked for, by id; null is all there are. */
    get selected(): string[] | null;
    /** The tracks that are received now. */
    get received(): ReceivedTrack[];
    /** The connection underneath, to look at; null while there is none. Another one after each loss. */
    get peerConnection(): RTCPeerConnection | null;
    /**
     * Receive it, until `stop()` or its end.
     * @param {{tracks?: string[] | null, signal?: AbortSignal}} [options] `tracks`: some of its tracks, by id; null or left
     *   out is all. The signal gives up waiting and stops.
     * @returns {Promise<void>} resolves when it is live; rejects when it ends or is stopped first
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
