/** One drone of the drone client's module: its feed, and the conversations about its cameras. */
export type CTalk = import("./talk.js").CTalk;
export type Feed = import("./feed.js").Feed;
export type TrackInfo = import("./protocol.js").TrackInfo;
/**
 * @typedef {import("./talk.js").CTalk} CTalk
 * @typedef {import("./feed.js").Feed} Feed
 * @typedef {import("./protocol.js").TrackInfo} TrackInfo
 */
/** Receive of one drone what its conversations want, over one connection. */
export declare class Party {
    #private;
    number: string;
    /** @param {string} number */
    constructor(number: string);
    get talks(): import("./talk.js").CTalk[];
    get hasFeed(): boolean;
    /** @param {CTalk} talk */
    add(talk: CTalk): void;
    /** @param {CTalk} talk */
    remove(talk: CTalk): void;
    /** Receive by this feed from now on. @param {Feed} feed */
    attach(feed: Feed): void;
    /** Let go of the feed: it ended, or nobody asks for it any more. @returns {CTalk[]} the conversations it leaves */
    detach(): CTalk[];
    /** Tell that it does not come for now, once for each time that somebody asks. @param {string} what */
    absent(what: string): void;
    /** Whether this is an error of this drone's feed. @param {Error} error */
    knows(error: Error): boolean;
    /** @param {Error} error */
    failed(error: Error): void;
}
