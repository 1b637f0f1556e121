// @ts-check
/** Series: readings over time, and rates made of counters. Pure. */

/** As many as a plot shows; `graphs.js` draws 60. */
const READINGS = 60;

/** One number over time. */
export class Series {
  /** @type {(number | null)[]} */ readings = [];
  /** @type {{value: number, at: number} | null} the counter as it was last */ #last = null;

  /** @returns {number | null} */
  get latest() {
    return this.readings.at(-1) ?? null;
  }

  /** @param {number | null} value */
  add(value) {
    this.readings.push(value);
    if (this.readings.length > READINGS) this.readings.shift();
  }

  /**
   * Add a counter's rate since the last time; a counter that has gone back has begun anew.
   * @param {number} value
   * @param {number} at seconds
   */
  count(value, at) {
    const last = this.#last;
    this.#last = { value, at };
    if (last === null) return;
    this.add(value >= last.value && at > last.at ? (value - last.value) / (at - last.at) : null);
  }
}

/** @param {number | null} bytesPerSecond @returns {[string, string]} value and unit */
export function bitrate(bytesPerSecond) {
  if (bytesPerSecond === null) return ["–", ""];
  const kbps = (bytesPerSecond * 8) / 1000;
  return kbps >= 10_000 ? [(kbps / 1000).toFixed(1), "Mbit/s"] : [kbps.toFixed(0), "kbit/s"];
}

/** @param {number} seconds @returns {string} such as `3 h 20 min` */
export function duration(seconds) {
  const minutes = Math.floor(seconds / 60);
  if (minutes < 1) return `${Math.floor(seconds)} s`;
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return `${hours} h ${minutes % 60} min`;
  return `${Math.floor(hours / 24)} days`;
}

/** @param {number} count @param {string} one @param {string} [many] @returns {string} such as `1 viewer`, `2 viewers` */
export function counted(count, one, many = `${one}s`) {
  return `${count.toLocaleString("en")} ${count === 1 ? one : many}`;
}
