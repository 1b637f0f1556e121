// @ts-check
/** Which of a feed's tracks this browser can play, as far as it has been seen. Pure. */

/** @typedef {import("./errors.js").UnplayableTrack} UnplayableTrack */

/** What is learnt from offers, and what to ask for then. */
export class Playability {
  /** @type {UnplayableTrack[]} what this browser has no decoder for */ unplayable = [];

  /**
   * Take what an offer has shown.
   * @param {UnplayableTrack[]} found
   * @returns {boolean} whether any of it was not known before
   */
  learn(found) {
    const news = found.filter(({ id }) => this.#isPlayable(id));
    if (news.length > 0) this.unplayable = [...this.unplayable, ...news];
    return news.length > 0;
  }

  /** Begin anew: the device sends something else now. @returns {boolean} whether there was anything unplayable */
  forget() {
    const had = this.unplayable.length > 0;
    this.unplayable = [];
    return had;
  }

  /**
   * Say which tracks to ask for.
   * @param {string[] | null} selected by id; null is all
   * @param {{id: string}[]} tracks all there are, as far as the server tells
   * @returns {string[] | null} null is all
   */
  choose(selected, tracks) {
    if (this.unplayable.length === 0) return selected;
    const playable = (selected ?? tracks.map(({ id }) => id)).filter((id) => this.#isPlayable(id));
    return playable.length > 0 ? playable : selected;
  }

  /** @param {string | null} id */
  #isPlayable(id) {
    return !this.unplayable.some((track) => track.id === id);
  }
}
