// @ts-check
/** Whom a viewer invites. */

/** Devices by name, or all of them. */
export class Invitees {
  /** @type {Set<string> | null} null is all, also those that come later */ #names = null;
  #initial;

  /** @param {string[] | undefined} devices those to begin with; all when left out */
  constructor(devices) {
    this.#initial = devices;
    this.reset();
  }

  /** Their names; null is all. */
  get names() {
    return this.#names && [...this.#names];
  }

  get isNobody() {
    return this.#names?.size === 0;
  }

  /** @param {string} device @returns {boolean} whether it is one of them by its name, not only as one of all */
  includes(device) {
    return this.#names?.has(device) ?? false;
  }

  /** @param {string[] | null} devices null is all, from now on */
  add(devices) {
    if (devices === null) this.#names = null;
    else for (const device of devices) this.#names?.add(device);
  }

  /** @param {string[]} devices; one of all cannot be taken out */
  remove(devices) {
    for (const device of devices) this.#names?.delete(device);
  }

  /** Go back to those of the beginning. */
  reset() {
    this.#names = this.#initial ? new Set(this.#initial) : null;
  }
}
