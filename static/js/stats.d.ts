/** `RTCPeerConnection.getStats()` reduced to plain numbers. */
export type TrackStats = {
    /**
     * the browser's name for the track, as in `MediaStreamTrack.id`
     */
    id: string;
    kind: "audio" | "video";
    /**
     * pixels of the picture received (or sent); of the largest layer where there are several
     */
    width: number | null;
    height: number | null;
    /**
     * frames a second decoded (or encoded)
     */
    fps: number | null;
    /**
     * kbit/s of media
     */
    kbps: number | null;
    /**
     * packets lost since the last reading
     */
    lossPercent: number | null;
    jitterMs: number | null;
    /**
     * MIME type, such as `video/VP9`
     *
     * What a person or a test wants to know of a connection.
     */
    codec: string | null;
};
export type MediaStats = {
    /**
     * pixels of the largest picture received (or sent)
     */
    width: number | null;
    height: number | null;
    /**
     * frames a second decoded (or encoded)
     */
    fps: number | null;
    /**
     * kbit/s of media, audio and video together
     */
    kbps: number | null;
    /**
     * to the server, by ICE
     */
    roundTripMs: number | null;
    /**
     * packets lost since the last reading, in both kinds together
     */
    lossPercent: number | null;
    /**
     * of video, or of audio where there is no video
     */
    jitterMs: number | null;
    /**
     * decoded (or encoded) so far
     */
    frames: number;
    /**
     * decoded too late to be shown, so far
     */
    framesDropped: number;
    /**
     * so far, in both kinds together
     */
    packetsLost: number;
    /**
     * counted so far
     */
    freezes: number;
    /**
     * how long the picture stood still in them, so far
     */
    frozenMs: number;
    /**
     * from asking for the feed to its first picture; only of a `Feed`
     */
    firstFrameMs: number | null;
    /**
     * what the browser believes the way out can carry; only of a sender
     */
    availableKbps: number | null;
    /**
     * what holds a sender's quality down: `none`, `cpu`, `bandwidth` or `other`
     */
    limitedBy: string | null;
    /**
     * whether it goes through a TURN server
     */
    isRelayed: boolean | null;
    /**
     * `udp` or `tcp`
     */
    transport: string | null;
    /**
     * 0 to 1
     */
    audioLevel: number | null;
    /**
     * so far, in the units of `totalAudioEnergy`
     */
    audioEnergy: number;
    /**
     * MIME type, such as `video/VP9`
     */
    videoCodec: string | null;
    audioCodec: string | null;
    /**
     * the same for each track
     */
    tracks: TrackStats[];
};
export type Totals = {
    at: number;
    bytes: number;
    frames: number;
    packets: number;
    lost: number;
};
export type Rates = {
    fps: number | null;
    kbps: number | null;
    lossPercent: number | null;
};
/**
 * The numbers of one track. `null` is "not known (yet)", never a guess.
 * @typedef {object} TrackStats
 * @property {string} id the browser's name for the track, as in `MediaStreamTrack.id`
 * @property {"audio" | "video"} kind
 * @property {number | null} width pixels of the picture received (or sent); of the largest layer where there are several
 * @property {number | null} height
 * @property {number | null} fps frames a second decoded (or encoded)
 * @property {number | null} kbps kbit/s of media
 * @property {number | null} lossPercent packets lost since the last reading
 * @property {number | null} jitterMs
 * @property {string | null} codec MIME type, such as `video/VP9`
 *
 * What a person or a test wants to know of a connection.
 * @typedef {object} MediaStats
 * @property {number | null} width pixels of the largest picture received (or sent)
 * @property {number | null} height
 * @property {number | null} fps frames a second decoded (or encoded)
 * @property {number | null} kbps kbit/s of media, audio and video together
 * @property {number | null} roundTripMs to the server, by ICE
 * @property {number | null} lossPercent packets lost since the last reading, in both kinds together
 * @property {number | null} jitterMs of video, or of audio where there is no video
 * @property {number} frames decoded (or encoded) so far
 * @property {number} framesDropped decoded too late to be shown, so far
 * @property {number} packetsLost so far, in both kinds together
 * @property {number} freezes counted so far
 * @property {number} frozenMs how long the picture stood still in them, so far
 * @property {number | null} firstFrameMs from asking for the feed to its first picture; only of a `Feed`
 * @property {number | null} availableKbps what the browser believes the way out can carry; only of a sender
 * @property {string | null} limitedBy what holds a sender's quality down: `none`, `cpu`, `bandwidth` or `other`
 * @property {boolean | null} isRelayed whether it goes through a TURN server
 * @property {string | null} transport `udp` or `tcp`
 * @property {number | null} audioLevel 0 to 1
 * @property {number} audioEnergy so far, in the units of `totalAudioEnergy`
 * @property {string | null} videoCodec MIME type, such as `video/VP9`
 * @property {string | null} audioCodec
 * @property {TrackStats[]} tracks the same for each track
 */
/**
 * @typedef {{at: number, bytes: number, frames: number, packets: number, lost: number}} Totals
 * @typedef {{fps: number | null, kbps: number | null, lossPercent: number | null}} Rates
 */
/** Reduce successive reports of one connection; rates are over the time since the previous one. */
export declare class StatsMeter {
    #private;
    /**
     * Take a report and return its numbers.
     * @param {RTCStatsReport} report
     * @returns {MediaStats}
     */
    update(report: RTCStatsReport): MediaStats;
}
/**
 * Read a connection's statistics, or reject: Firefox never answers for a connection that is closed meanwhile.
 * @param {RTCPeerConnection} pc
 * @returns {Promise<RTCStatsReport>}
 */
export declare function readStats(pc: RTCPeerConnection): Promise<RTCStatsReport>;
