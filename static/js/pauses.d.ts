/** Which kinds of a feed are paused, and which shall be. */
export type Kind = import("./protocol.js").Kind;
/** @typedef {import("./protocol.js").Kind} Kind */
/** What is wanted against what the server last said. Pure: it sends nothing. */
export declare class Pauses {
    #private;
    /** The kinds that the server says are paused, sorted. */
    get now(): import("./protocol.js").Kind[];
    /** @param {Kind[]} kinds none means both @param {boolean} isPaused */
    want(kinds: Kind[], isPaused: boolean): void;
    /** Take what the server said. @param {Kind[]} paused */
    set(paused: Kind[]): void;
    /** Begin with a new subscription, of which nothing is paused. What is wanted stays wanted. */
    forget(): void;
    /**
     * Give the requests that bring about what is wanted.
     * @returns {["pause_receiving" | "resume_receiving", Kind[]][]}
     */
    requests(): ["pause_receiving" | "resume_receiving", Kind[]][];
}
