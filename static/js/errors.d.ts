/** What can go wrong between this client and the server. Each has a `code` to tell it by. */
/** What the server refused or could not do: `code` is one of the protocol's section 7. */
export declare class ServerError extends Error {
    code: string;
    /** The event that failed, where the server could tell. */
    event: string | null;
    id: string | number | null;
    /** @param {{code: string, message: string, event?: string, id?: string | number}} data */
    constructor(data: {
        code: string;
        message: string;
        event?: string;
        id?: string | number;
    });
}
/** The connection is not open, or closed before the reply came. */
export declare class ConnectionClosedError extends Error {
    code: string;
    /** @param {string} message */
    constructor(message: string);
}
/** No reply came in time. */
export declare class RequestTimeoutError extends Error {
    code: string;
    /** @param {string} event @param {number} milliseconds */
    constructor(event: string, milliseconds: number);
}
export type UnplayableTrack = {
    id: string | null;
    kind: "audio" | "video";
    codec: string | null;
};
/** @typedef {{id: string | null, kind: "audio" | "video", codec: string | null}} UnplayableTrack `codec` such as `H264` */
/** The browser has no decoder for some of what a device sends; the rest, if there is any, is received. */
export declare class CodecError extends Error {
    code: string;
    tracks: UnplayableTrack[];
    /** @param {UnplayableTrack[]} tracks */
    constructor(tracks: UnplayableTrack[]);
}
/**
 * Whether `error` is the server's refusal with this code.
 * @param {unknown} error
 * @param {...string} codes
 * @returns {error is ServerError}
 */
export declare function isRefusal(error: unknown, ...codes: string[]): error is ServerError;
/**
 * Whether `error` only says that the connection went away, which its `state` has told already.
 * @param {any} error
 */
export declare function isClosed(error: any): boolean;
/**
 * Whether `error` refuses a subscription that another attempt cannot cure: the feed or our place in the room is gone.
 * @param {unknown} error
 */
export declare function isGone(error: unknown): error is ServerError;
