// @ts-check
/** Waiting times between attempts: exponential with jitter, so that many clients do not come back in step. */

/** First wait. Long enough not to hammer a server that is starting, short enough to feel immediate. */
const FIRST_DELAY_MS = 500;
/** Longest wait. A person looking at "reconnecting" should not wait longer than this. */
const LONGEST_DELAY_MS = 10_000;
/** Doubling: 0.5, 1, 2, 4, 8, 10 s. */
const GROWTH_FACTOR = 2;
/** Each wait for a server that has said that it ends: most are started anew, which takes a second or two. */
const RESTART_DELAY_MS = 400;
/** So many of these, some ten seconds, before the waits grow. */
const RESTART_ATTEMPTS = 30;
/** Share of each wait that is random. */
const JITTER_SHARE = 0.5;

/** Count failed attempts and say how long to wait before the next one. Pure: it holds no timer. */
export class Backoff {
  #attempts = 0;
  #restartAttempts = 0;
  #random;

  /** @param {() => number} [random] numbers in [0, 1); a test passes its own */
  constructor(random = Math.random) {
    this.#random = random;
  }

  /** How many waits have been handed out since the last success. */
  get attempts() {
    return this.#attempts;
  }

  /**
   * Give the wait before the next attempt.
   * @returns {number} milliseconds
   */
  next() {
    const share = 1 - JITTER_SHARE * this.#random();
    if (this.#restartAttempts > 0) {
      this.#restartAttempts -= 1;
      return Math.round(RESTART_DELAY_MS * share);
    }
    const full = Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * GROWTH_FACTOR ** this.#attempts);
    this.#attempts += 1;
    return Math.round(full * share);
  }

  /** Let the next waits be short: the server has said that it ends, and will be back soon. */
  expectRestart() {
    this.#restartAttempts = RESTART_ATTEMPTS;
  }

  /** Start over after a success. */
  reset() {
    this.#attempts = this.#restartAttempts = 0;
  }
}
