// @ts-check
/** Feeds whose device or server is gone and may be back in a moment. */

/** Kept this long once the server is there: clients that start anew wait up to ten seconds between attempts. */
const LOST_FEED_MS = 15_000;

/** @typedef {import("./feed.js").Feed} Feed */

/** Keep lost feeds until their devices come back, or for so long. */
export class LostFeeds {
  /** @type {Map<Feed, any>} with their timers; null while the server itself is lost */ #timers = new Map();
  #givenUp;

  /** @param {(feed: Feed) => void} givenUp called for a feed that has been waited for in vain */
  constructor(givenUp) {
    this.#givenUp = givenUp;
  }

  get feeds() {
    return [...this.#timers.keys()];
  }

  /** @param {Feed} feed */
  add(feed) {
    this.#timers.set(feed, null);
  }

  /** Let the time of those begin for which it has not. */
  startWaiting() {
    for (const [feed, timer] of this.#timers) {
      if (timer === null) this.#timers.set(feed, setTimeout(() => this.#givenUp(feed), LOST_FEED_MS));
    }
  }

  /** @param {Feed} feed */
  remove(feed) {
    clearTimeout(this.#timers.get(feed));
    this.#timers.delete(feed);
  }

  /** @param {string | undefined} device that is back @returns {Feed | undefined} its feed, which is lost no longer */
  takeBack(device) {
    const feed = this.feeds.find((lost) => lost.device === device && device !== undefined);
    if (feed) this.remove(feed);
    return feed;
  }
}
