// @ts-check
/** Requests that wait for their replies. */

import { withResolvers } from "./abort.js";

/**
 * @typedef {object} Waiting
 * @property {(data: any) => void} resolve
 * @property {(error: unknown) => void} reject
 */

/** Promises by the ids of their requests. They outlive a socket whose session may be resumed. */
export class Requests {
  /** @type {Map<unknown, Waiting>} */ #waiting = new Map();

  /** How many wait. */
  get size() {
    return this.#waiting.size;
  }

  /** @param {number} id @returns {Promise<any>} settled by one of the methods below */
  expect(id) {
    const { promise, resolve, reject } = withResolvers();
    this.#waiting.set(id, { resolve, reject });
    return promise;
  }

  /** @param {unknown} id @param {any} data @returns {boolean} whether a request was waiting for it */
  resolve(id, data) {
    return this.#settle(id, (request) => request.resolve(data));
  }

  /** @param {unknown} id @param {unknown} error @returns {boolean} whether a request was waiting for it */
  reject(id, error) {
    return this.#settle(id, (request) => request.reject(error));
  }

  /** @param {unknown} error what all of them are told */
  rejectAll(error) {
    for (const id of [...this.#waiting.keys()]) this.reject(id, error);
  }

  /** Wait no longer. @param {number} id */
  forget(id) {
    this.#waiting.delete(id);
  }

  /** @param {unknown} id @param {(request: Waiting) => void} settle */
  #settle(id, settle) {
    const request = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (request) settle(request);
    return request !== undefined;
  }
}
