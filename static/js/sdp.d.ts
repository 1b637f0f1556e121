/** What we need to know of a session description (RFC 8866): which m-line carries which track. */
export type MediaLine = {
    mid: string;
    /**
     * `audio`, `video` or `application`
     */
    kind: string;
    isRejected: boolean;
    /**
     * whether the author of the description sends on it
     */
    sends: boolean;
    /**
     * the first one's name, such as `VP8`
     */
    codec: string | null;
    /**
     * the stream's id by `a=msid` (RFC 8830)
     */
    stream: string | null;
    /**
     * the track's id; the sender's own, which browsers do not always keep on the other side
     */
    track: string | null;
};
/**
 * @typedef {object} MediaLine
 * @property {string} mid
 * @property {string} kind `audio`, `video` or `application`
 * @property {boolean} isRejected
 * @property {boolean} sends whether the author of the description sends on it
 * @property {string | null} codec the first one's name, such as `VP8`
 * @property {string | null} stream the stream's id by `a=msid` (RFC 8830)
 * @property {string | null} track the track's id; the sender's own, which browsers do not always keep on the other side
 */
/**
 * Read the m-lines of a description.
 * @param {string} sdp
 * @returns {MediaLine[]}
 */
export declare function mediaLines(sdp: string): MediaLine[];
