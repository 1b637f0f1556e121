// @ts-check
/** Whether a picture moves, has frozen or is back; judged from its frame counter, never from hope. Pure. */

/** No new frame for this long is a frozen picture, and said so. A camera at one frame a second is not frozen. */
const FROZEN_AFTER_MS = 2_500;
/** "Back" is shown this long after an interruption: long enough to be read by somebody who looked away. */
const BACK_SHOWN_MS = 5_000;

/** @typedef {"starting" | "live" | "frozen"} Motion */

/** One picture's motion. Every call takes `now` in milliseconds of any clock that does not jump. */
export class Liveness {
  #frames = -1; // -1 until a connection's first reading
  #changedAt = 0;
  /** @type {number | null} when it last moved before it stood still or was lost; null while all is well */ #lostAt = null;
  /** @type {{at: number, afterMs: number} | null} */ #back = null;
  #hasMoved = false;

  /** A new connection counts its frames anew; the interruption, if there is one, goes on until they come. */
  restart() {
    this.#frames = -1;
  }

  /**
   * The link is lost.
   * @param {number} now
   */
  lost(now) {
    if (this.#hasMoved) this.#lostAt ??= this.#changedAt || now;
    this.#frames = -1;
  }

  /**
   * Take a reading of the frame counter.
   * @param {number} frames decoded so far on this connection
   * @param {number} now
   * @returns {Motion}
   */
  update(frames, now) {
    if (frames === 0 && !this.#hasMoved) return "starting";
    if (this.#frames === -1) {
      this.#frames = frames;
      if (this.#lostAt === null) this.#changedAt = now;
      if (frames > 0) this.#moved(now);
    } else if (frames !== this.#frames) {
      this.#frames = frames;
      this.#moved(now);
    }
    if (now - this.#changedAt <= FROZEN_AFTER_MS) return "live";
    if (this.#hasMoved) this.#lostAt ??= this.#changedAt;
    return "frozen";
  }

  /** Start the clock anew after a pause that was asked for: it is no freeze. @param {number} now */
  resumed(now) {
    this.#changedAt = now;
    this.#lostAt = null;
  }

  /** @param {number} now @returns {number} how long it has stood still */
  stillMs(now) {
    return now - (this.#lostAt ?? this.#changedAt);
  }

  /** @param {number} now @returns {number | null} how long the interruption was that has just ended; null after a while */
  backAfterMs(now) {
    return this.#back && now - this.#back.at < BACK_SHOWN_MS ? this.#back.afterMs : null;
  }

  /** @param {number} now */
  #moved(now) {
    if (this.#lostAt !== null) this.#back = { at: now, afterMs: now - this.#lostAt };
    this.#lostAt = null;
    this.#changedAt = now;
    this.#hasMoved = true;
  }
}
