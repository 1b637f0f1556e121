// @ts-check
/** Keeping the screen on: a phone that dims stops its camera. */

/** Hold a wake lock for as long as one is wanted; the browser takes it away whenever the page is hidden. */
export class WakeLock {
  /** @type {WakeLockSentinel | null} */ #sentinel = null;
  #wanted = false;
  #isAsking = false;

  constructor() {
    document.addEventListener("visibilitychange", () => this.#update());
  }

  /** Whether the screen stays on now. */
  get isHeld() {
    return this.#sentinel !== null && !this.#sentinel.released;
  }

  /** @param {boolean} wanted */
  want(wanted) {
    if (wanted === this.#wanted) return;
    this.#wanted = wanted;
    this.#update();
  }

  async #update() {
    if (!this.#wanted) {
      const sentinel = this.#sentinel;
      this.#sentinel = null;
      await sentinel?.release();
      return;
    }
    if (this.isHeld || this.#isAsking || document.hidden || !navigator.wakeLock) return;
    this.#isAsking = true;
    try {
      this.#sentinel = await navigator.wakeLock.request("screen");
    } catch {
      // Refused where the battery is low. The page works without it until the system sleeps.
    } finally {
      this.#isAsking = false;
    }
    if (!this.#wanted) await this.#update();
  }
}
