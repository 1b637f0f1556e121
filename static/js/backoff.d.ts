/** Waiting times between attempts: exponential with jitter, so that many clients do not come back in step. */
/** Count failed attempts and say how long to wait before the next one. Pure: it holds no timer. */
export declare class Backoff {
    #private;
    /** @param {() => number} [random] numbers in [0, 1); a test passes its own */
    constructor(random?: () => number);
    /** How many waits have been handed out since the last success. */
    get attempts(): number;
    /**
     * Give the wait before the next attempt.
     * @returns {number} milliseconds
     */
    next(): number;
    /** Let the next waits be short: the server has said that it ends, and will be back soon. */
    expectRestart(): void;
    /** Start over after a success. */
    reset(): void;
}
