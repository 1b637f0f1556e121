/** One connection that receives: offers in, answers out, tracks by their publisher's ids. No protocol. */
export type ReceiverHandlers = {
    added: (id: string, track: MediaStreamTrack) => void;
    removed: (id: string, track: MediaStreamTrack) => void;
    state: (state: RTCPeerConnectionState) => void;
    /**
     * null is the end of candidates
     */
    candidate: (candidate: RTCIceCandidate | null) => void;
    firstFrame: () => void;
};
/**
 * @typedef {object} ReceiverHandlers
 * @property {(id: string, track: MediaStreamTrack) => void} added
 * @property {(id: string, track: MediaStreamTrack) => void} removed
 * @property {(state: RTCPeerConnectionState) => void} state
 * @property {(candidate: RTCIceCandidate | null) => void} candidate null is the end of candidates
 * @property {() => void} firstFrame
 */
/** Receive what one peer offers. Made anew for each attempt; `close()` ends it. */
export declare class Receiver {
    #private;
    pc: RTCPeerConnection;
    /** @param {RTCIceServer[]} iceServers @param {ReceiverHandlers} handlers */
    constructor(iceServers: RTCIceServer[], handlers: ReceiverHandlers);
    /** What is offered and this browser has no decoder for. @type {import("./errors.js").UnplayableTrack[]} */
    unplayable: import("./errors.js").UnplayableTrack[];
    /** Whether nothing is left of what is offered. */
    get isEmpty(): boolean;
    /** Milliseconds of `performance.now()` at the first picture (or sound, where there is no picture); null before. */
    firstFrameAt: number | null;
    /**
     * Take an offer, the first or a further one, and return the answer.
     * @param {string} sdp
     * @returns {Promise<string>}
     */
    answer(sdp: string): Promise<string>;
    /** @returns {Promise<import("./stats.js").MediaStats>} */
    stats(): Promise<import("./stats.js").MediaStats>;
    /** @returns {number | null} how loud it is now, 0 to 1, or null where the sender does not say (RFC 6464) */
    audioLevel(): number | null;
    /** End. Its tracks end too; nobody is told. */
    close(): void;
}
