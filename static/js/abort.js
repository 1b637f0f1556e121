// @ts-check
/** Waiting that can be given up. */

/**
 * Wait for `promise`, or reject with the signal's reason once it aborts. The work behind the promise goes on.
 * @template T
 * @param {Promise<T>} promise
 * @param {AbortSignal | null} [signal]
 * @returns {Promise<T>}
 */
export function abortable(promise, signal) {
  if (!signal) return promise;
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason);
    if (signal.aborted) abort();
    else signal.addEventListener("abort", abort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", abort));
  });
}

/**
 * `Promise.withResolvers`, which Safari 17.3 and Chrome 118 do not have yet.
 * @template T
 * @returns {{promise: Promise<T>, resolve: (value: T) => void, reject: (error: unknown) => void}}
 */
export function withResolvers() {
  /** @type {any} */ const parts = {};
  parts.promise = new Promise((resolve, reject) => Object.assign(parts, { resolve, reject }));
  // Whoever ignores the promise learns of the failure by an event.
  parts.promise.catch(() => {});
  return parts;
}

/**
 * Wait until `condition` holds, looking now and at each event of this name; rejects when it throws.
 * @param {EventTarget} target
 * @param {string} name
 * @param {() => boolean} condition
 * @returns {Promise<void>}
 */
export function until(target, name, condition) {
  const stop = new AbortController();
  return new Promise((resolve, reject) => {
    const look = () => {
      try {
        if (!condition()) return;
        resolve();
      } catch (error) {
        reject(error);
      }
      stop.abort();
    };
    target.addEventListener(name, look, { signal: stop.signal });
    look();
  });
}
