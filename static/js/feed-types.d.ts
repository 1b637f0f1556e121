/** What a feed tells, and what it needs: types alone. */
export type FeedState = "idle" | "connecting" | "live" | "lost" | "ended";
export type Kind = import("./protocol.js").Kind;
export type TrackInfo = import("./protocol.js").TrackInfo;
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
     * this attempt to receive failed and another follows; or a `CodecError`: this browser cannot play
     * some of it, and receives the rest
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
    gone: (feed: import("./feed.js").Feed) => void;
};
/**
 * `idle` while it is not received; `connecting` until media can flow; `live`; `lost` while it is down and may come back;
 * `ended` for good.
 * @typedef {"idle" | "connecting" | "live" | "lost" | "ended"} FeedState
 * @typedef {import("./protocol.js").Kind} Kind
 * @typedef {import("./protocol.js").TrackInfo} TrackInfo
 * @typedef {{id: string, kind: Kind, track: MediaStreamTrack}} ReceivedTrack
 */
/**
 * @typedef {object} FeedEvents
 * @property {{state: FeedState, reason: string | null}} state
 * @property {ReceivedTrack} track a track was added to `stream`
 * @property {ReceivedTrack} trackremoved a track was taken out of `stream`
 * @property {TrackInfo[]} tracks what the device publishes has changed
 * @property {{paused: Kind[]}} paused
 * @property {{milliseconds: number}} firstframe the first picture (or sound, where there is no picture) is there
 * @property {Error} error this attempt to receive failed and another follows; or a `CodecError`: this browser cannot play
 *   some of it, and receives the rest
 */
/**
 * What a feed needs of its viewer.
 * @typedef {object} FeedLink
 * @property {import("./connection.js").Connection} connection
 * @property {() => number | null} room null while we are in none
 * @property {() => RTCIceServer[]} iceServers
 * @property {(feed: import("./feed.js").Feed) => void} gone the server no longer has it
 */
export {};
