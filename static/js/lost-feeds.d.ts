/** Feeds whose device or server is gone and may be back in a moment. */
export type Feed = import("./feed.js").Feed;
/** @typedef {import("./feed.js").Feed} Feed */
/** Keep lost feeds until their devices come back, or for so long. */
export declare class LostFeeds {
    #private;
    /** @param {(feed: Feed) => void} givenUp called for a feed that has been waited for in vain */
    constructor(givenUp: (feed: Feed) => void);
    get feeds(): import("./feed.js").Feed[];
    /** @param {Feed} feed */
    add(feed: Feed): void;
    /** Let the time of those begin for which it has not. */
    startWaiting(): void;
    /** @param {Feed} feed */
    remove(feed: Feed): void;
    /** @param {string | undefined} device that is back @returns {Feed | undefined} its feed, which is lost no longer */
    takeBack(device: string | undefined): Feed | undefined;
}
