/** Waiting that can be given up. */
/**
 * Wait for `promise`, or reject with the signal's reason once it aborts. The work behind the promise goes on.
 * @template T
 * @param {Promise<T>} promise
 * @param {AbortSignal | null} [signal]
 * @returns {Promise<T>}
 */
export declare function abortable<T>(promise: Promise<T>, signal?: AbortSignal | null): Promise<T>;
/**
 * `Promise.withResolvers`, which Safari 17.3 and Chrome 118 do not have yet.
 * @template T
 * @returns {{promise: Promise<T>, resolve: (value: T) => void, reject: (error: unknown) => void}}
 */
export declare function withResolvers<T>(): {
    promise: Promise<T>;
    resolve: (value: T) => void;
    reject: (error: unknown) => void;
};
/**
 * Wait until `condition` holds, looking now and at each event of this name; rejects when it throws.
 * @param {EventTarget} target
 * @param {string} name
 * @param {() => boolean} condition
 * @returns {Promise<void>}
 */
export declare function until(target: EventTarget, name: string, condition: () => boolean): Promise<void>;
