/** How tracks are encoded: codec, limits, and whether at all. */
export type Limits = {
    /**
     * kbit/s of each video track
     */
    kbps?: number;
    fps?: number;
    /**
     * pixels; the width follows
     */
    height?: number;
};
/**
 * What an encoder may do at most; what is left out is the browser's choice.
 * @typedef {object} Limits
 * @property {number} [kbps] kbit/s of each video track
 * @property {number} [fps]
 * @property {number} [height] pixels; the width follows
 */
/**
 * Give the order of video codecs that puts one first.
 * @param {string | undefined} codec such as `VP9`
 * @returns {RTCRtpCodec[]} empty for the browser's own order; throws where the browser cannot send `codec`
 */
export declare function codecOrder(codec: string | undefined): RTCRtpCodec[];
/**
 * Prefer codecs in this order in every video transceiver that sends.
 * @param {RTCPeerConnection} pc
 * @param {RTCRtpCodec[]} order
 */
export declare function preferCodecs(pc: RTCPeerConnection, order: RTCRtpCodec[]): void;
/**
 * Set one sender's encodings. Without any, as before the first negotiation in some browsers, there is nothing to set.
 * @param {RTCRtpSender} sender
 * @param {boolean} isWanted whether to send at all
 * @param {Limits} limits of video
 */
export declare function shapeEncodings(sender: RTCRtpSender, isWanted: boolean, limits: Limits): Promise<void>;
