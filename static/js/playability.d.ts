/** Which of a feed's tracks this browser can play, as far as it has been seen. Pure. */
export type UnplayableTrack = import("./errors.js").UnplayableTrack;
/** @typedef {import("./errors.js").UnplayableTrack} UnplayableTrack */
/** What is learnt from offers, and what to ask for then. */
export declare class Playability {
    #private;
    /** @type {UnplayableTrack[]} what this browser has no decoder for */ unplayable: UnplayableTrack[];
    /**
     * Take what an offer has shown.
     * @param {UnplayableTrack[]} found
     * @returns {boolean} whether any of it was not known before
     */
    learn(found: UnplayableTrack[]): boolean;
    /** Begin anew: the device sends something else now. @returns {boolean} whether there was anything unplayable */
    forget(): boolean;
    /**
     * Say which tracks to ask for.
     * @param {string[] | null} selected by id; null is all
     * @param {{id: string}[]} tracks all there are, as far as the server tells
     * @returns {string[] | null} null is all
     */
    choose(selected: string[] | null, tracks: {
        id: string;
    }[]): string[] | null;
}
