// @ts-check
/** Whether a picture moves, has frozen or is back; judged from the pictures that came, never from hope. */

/** No new picture for this long is a frozen one, and said so. */
const FROZEN_AFTER_MS = 1_400;
/** A slow camera, or a screen that stands still and is sent once a second, may miss one picture and is not frozen. */
const FROZEN_AFTER_INTERVALS = 2.6;
/** A longer one is a freeze, and says little of the camera's own pace. */
const MAX_INTERVAL_MS = 2_500;
/** The share of the newest interval in the mean of those before: four pictures make another pace. */
const NEWEST_SHARE = 0.25;
/** "Back" is shown this long after an interruption: long enough to be read by somebody who looked away. */
const BACK_SHOWN_MS = 5_000;

/** @typedef {"starting" | "live" | "frozen"} Motion */

/** One picture's motion. Pure: every call takes `now` in milliseconds of any clock that does not jump. */
export class Liveness {
  /** What changes with each picture: the time it came, or how many there were. */ #clock = 0;
  /** Whether the browser tells when pictures came, which is newer than its count. */ #tellsTime = false;
  #seen = -1; // the clock at the last judgement; -1 until a connection's first
  #changedAt = 0;
  /** @type {number | null} when it last moved before it stood still or was lost; null while all is well */ #lostAt = null;
  /** @type {{at: number, afterMs: number} | null} */ #back = null;
  #hasMoved = false;
  #intervalMs = 0; // between the pictures that were noticed, the mean of the last few

  /** A new connection counts its frames anew; the interruption, if there is one, goes on until they come. */
  restart() {
    this.#seen = -1;
    this.#clock = 0;
  }

  /** @param {number | null} at when the newest picture came; null where that is long ago or the browser does not tell */
  timed(at) {
    if (at === null) return;
    this.#tellsTime = true;
    this.#clock = at;
  }

  /** @param {number} frames decoded so far on this connection */
  counted(frames) {
    if (!this.#tellsTime) this.#clock = frames;
  }

  /**
   * The link is lost.
   * @param {number} now
   */
  lost(now) {
    if (this.#hasMoved) this.#lostAt ??= this.#changedAt || now;
    this.restart();
  }

  /**
   * Judge by what has been noted.
   * @param {number} now
   * @returns {Motion}
   */
  update(now) {
    const clock = this.#clock;
    if (clock === 0 && !this.#hasMoved) return "starting";
    const isFirst = this.#seen === -1;
    const isNew = isFirst ? clock > 0 : clock !== this.#seen;
    this.#seen = clock;
    if (isFirst && this.#lostAt === null) this.#changedAt = now;
    if (isNew) this.#moved(now);
    if (now - this.#changedAt <= Math.max(FROZEN_AFTER_MS, FROZEN_AFTER_INTERVALS * this.#intervalMs)) return "live";
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
    if (this.#hasMoved) {
      const newest = Math.min(now - this.#changedAt, MAX_INTERVAL_MS);
      this.#intervalMs += (newest - this.#intervalMs) * NEWEST_SHARE;
    }
    if (this.#lostAt !== null) this.#back = { at: now, afterMs: now - this.#lostAt };
    this.#lostAt = null;
    this.#changedAt = now;
    this.#hasMoved = true;
  }
}

/**
 * When a connection's newest picture came; cheaper and newer than its statistics.
 * @param {RTCPeerConnection | null} pc
 * @returns {number | null} ms of a clock of the browser's; null where it does not tell, and 10 s after the last picture
 */
export function newestPictureAt(pc) {
  const videos = pc?.getReceivers().filter(({ track }) => track.kind === "video") ?? [];
  const times = videos.flatMap((receiver) => receiver.getSynchronizationSources().map(({ timestamp }) => timestamp));
  return times.length > 0 ? Math.max(...times) : null;
}
