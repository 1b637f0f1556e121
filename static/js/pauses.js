// @ts-check
/** Which kinds of a feed are paused, and which shall be. */

/** @typedef {import("./protocol.js").Kind} Kind */

/** What is wanted against what the server last said. Pure: it sends nothing. */
export class Pauses {
  /** @type {Set<Kind>} */ #wanted = new Set();
  /** @type {Set<Kind>} */ #paused = new Set();

  /** The kinds that the server says are paused, sorted. */
  get now() {
    return [...this.#paused].sort();
  }

  /** @param {Kind[]} kinds none means both @param {boolean} isPaused */
  want(kinds, isPaused) {
    for (const kind of kinds.length > 0 ? kinds : /** @type {Kind[]} */ (["audio", "video"])) {
      if (isPaused) this.#wanted.add(kind);
      else this.#wanted.delete(kind);
    }
  }

  /** Take what the server said. @param {Kind[]} paused */
  set(paused) {
    this.#paused = new Set(paused);
  }

  /** Begin with a new subscription, of which nothing is paused. What is wanted stays wanted. */
  forget() {
    this.#paused.clear();
  }

  /**
   * Give the requests that bring about what is wanted.
   * @returns {["pause_receiving" | "resume_receiving", Kind[]][]}
   */
  requests() {
    const pause = [...this.#wanted].filter((kind) => !this.#paused.has(kind));
    const resume = [...this.#paused].filter((kind) => !this.#wanted.has(kind));
    /** @type {["pause_receiving" | "resume_receiving", Kind[]][]} */ const requests = [];
    if (pause.length > 0) requests.push(["pause_receiving", pause]);
    if (resume.length > 0) requests.push(["resume_receiving", resume]);
    return requests;
  }
}
