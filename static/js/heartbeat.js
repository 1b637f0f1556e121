// @ts-check
/** Finding out that a link is dead although nobody closed it. Browsers cannot send WebSocket pings, so we ask. */

/** Silence after which we ask. The server pings at the same rhythm, but browsers hide its pings from us. */
const QUIET_MS = 10_000;
/** From asking to giving up; a slow mobile link answers within one or two seconds. */
const ANSWER_TIMEOUT_MS = 5_000;
/** The same when there is a reason for doubt, such as a change of network. */
const DOUBT_TIMEOUT_MS = 2_500;

/** Watch one link: `probe` is called after silence, `dead` when nothing at all comes after it. */
export class Heartbeat {
  #heardAt = 0;
  /** @type {any} runs while started */ #timer = null;
  /** @type {any} runs from a probe to the next sign of life */ #deadline = null;
  #probe;
  #dead;

  /** @param {() => void} probe @param {() => void} dead */
  constructor(probe, dead) {
    this.#probe = probe;
    this.#dead = dead;
  }

  /** Begin. */
  start() {
    this.stop();
    this.heard();
    this.#wait(QUIET_MS);
  }

  /** Stop. Idempotent. */
  stop() {
    clearTimeout(this.#timer);
    clearTimeout(this.#deadline);
    this.#timer = this.#deadline = null;
  }

  /** Take note of a sign of life: any message. */
  heard() {
    this.#heardAt = performance.now();
    clearTimeout(this.#deadline);
    this.#deadline = null;
  }

  /** Ask now, and give up sooner than usual. */
  doubt() {
    if (this.#timer !== null) this.#ask(DOUBT_TIMEOUT_MS);
  }

  /** @param {number} delay */
  #wait(delay) {
    this.#timer = setTimeout(() => {
      const left = QUIET_MS - (performance.now() - this.#heardAt);
      if (left <= 0) this.#ask(ANSWER_TIMEOUT_MS);
      this.#wait(left > 0 ? left : QUIET_MS);
    }, delay);
  }

  /** @param {number} timeout */
  #ask(timeout) {
    clearTimeout(this.#deadline);
    this.#deadline = setTimeout(() => this.#dead(), timeout);
    this.#probe();
  }
}
