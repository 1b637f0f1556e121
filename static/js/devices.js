// @ts-check
/** Which devices are there and what they do, as the server tells it bit by bit. */

/** Devices kept; far above what a page can show. A viewer of a larger fleet sees the first of them. */
const MAX_DEVICES = 20_000;

/**
 * @typedef {import("./protocol.js").DeviceInfo} DeviceInfo
 * @typedef {import("./protocol.js").StartListening} StartListening
 */

/** The devices by their ids. It tells of changes once for all that come together: a fleet may come online at one stroke. */
export class DeviceList {
  /** @type {Map<string, DeviceInfo>} */ #devices = new Map();
  #isToBeTold = false;
  #changed;

  /** @param {() => void} changed */
  constructor(changed) {
    this.#changed = changed;
  }

  /** All of them by name. */
  get all() {
    return [...this.#devices.values()].sort((a, b) => (a.device < b.device ? -1 : 1));
  }

  /** @param {string} device @returns {DeviceInfo | undefined} */
  get(device) {
    return this.#devices.get(device);
  }

  /** Take a whole list in place of what was known. @param {DeviceInfo[]} devices */
  replace(devices) {
    this.#devices = new Map(devices.slice(0, MAX_DEVICES).map((info) => [info.device, info]));
    this.#tell();
  }

  /** Know of none any more; this is told to nobody. */
  forget() {
    this.#devices.clear();
  }

  /** @param {string} device */
  online(device) {
    if (!this.#devices.has(device)) this.#set({ device, state: "available" });
  }

  /** @param {string} device */
  offline(device) {
    if (this.#devices.delete(device)) this.#tell();
  }

  /** @param {string[]} devices */
  invited(devices) {
    for (const device of devices) {
      if (this.#devices.get(device)?.state !== "streaming") this.#set({ device, state: "invited" });
    }
  }

  /** @param {StartListening} announced */
  streaming({ device, feed, tracks }) {
    if (device !== undefined) this.#set({ device, state: "streaming", feed, tracks });
  }

  /** Its feed ended; it may still be there. @param {string | undefined} device */
  stopped(device) {
    if (device !== undefined && this.#devices.has(device)) this.#set({ device, state: "available" });
  }

  /** They did not take their invitation up. @param {string[]} devices */
  uninvited(devices) {
    for (const device of devices) {
      if (this.#devices.get(device)?.state === "invited") this.#set({ device, state: "available" });
    }
  }

  /** @param {DeviceInfo} info */
  #set(info) {
    if (this.#devices.size >= MAX_DEVICES && !this.#devices.has(info.device)) return;
    this.#devices.set(info.device, info);
    this.#tell();
  }

  #tell() {
    if (this.#isToBeTold) return;
    this.#isToBeTold = true;
    setTimeout(() => {
      this.#isToBeTold = false;
      this.#changed();
    }, 0);
  }
}
