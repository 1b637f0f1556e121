/**
 * The drone web client's stream module (`js_webrtcstream`) over this server: the same names, another import.
 *
 *     import { js_webrtcstream } from "https://sfu.example/static/js/webrtc-stream.js";
 *     const onDisplayVideo = (talk) => { video.srcObject = talk.stream; };
 *     js_webrtcstream.joinStream({ number: "drone-1", targetVideoTrack: "front", onDisplayVideo });
 *
 * No DOM. The server is the one that the module came from, unless `configure()` names another.
 */
import { Emitter } from "./events.js";
import { CTalk } from "./talk.js";
export { CTalk } from "./talk.js";
export type TalkCallbacks = import("./talk.js").TalkCallbacks;
export type Feed = import("./feed.js").Feed;
export type JoinTarget = {
    /**
     * the drone's party id: its client id at the server
     */
    number: string | number;
    /**
     * its camera's track id or name; its first one when left out
     */
    targetVideoTrack?: string;
    /**
     * the page's client: its `EVT_andruavSignalling` becomes ours, and its
     * `m_andruavUnitList` names the units in events
     */
    v_andruavClient?: any;
    /**
     * the original's spelling
     */
    onRemovestream?: TalkCallbacks["onRemoveStream"];
};
export type JoinConfig = JoinTarget & Partial<TalkCallbacks>;
export type StreamSettings = {
    /**
     * `wss://host:port`; where this module came from when left out
     */
    server?: string;
    /**
     * who we are there; a random id when left out
     */
    clientId?: string;
    token?: import("./connection.js").Token;
    /**
     * the page's `js_eventEmitter`
     */
    eventEmitter?: {
        fn_dispatch: (event: any, data: any) => void;
    };
    /**
     * the page's `EVENTS`, where its emitter does not know events by their names
     */
    events?: Record<string, any>;
    /**
     * the page's object for a drone, where `v_andruavClient` does not have it
     */
    unit?: (number: string) => any;
};
export type VideoStatistics = {
    unit: any;
    fps: number;
    rx: number;
    track_id: string;
};
export type StreamEvents = {
    /**
     * once a second for each conversation; `rx` in bytes so far
     */
    EE_onWebRTC_Video_Statistics: VideoStatistics;
    EE_videoStreamStarted: {
        andruavUnit: any;
        talk: CTalk;
    };
    EE_videoStreamStopped: {
        andruavUnit: any;
        talk: CTalk;
    };
    EE_Video_State_Change: {
        talk: CTalk;
        status: import("./talk.js").TalkStatus;
    };
    /**
     * what `debugError` was told
     */
    debugerror: {
        error: unknown;
    };
    /**
     * what `debugCallback` was told
     */
    debugcallback: {
        message: unknown;
    };
};
/**
 * @typedef {import("./talk.js").TalkCallbacks} TalkCallbacks
 * @typedef {import("./feed.js").Feed} Feed
 *
 * @typedef {object} JoinTarget
 * @property {string | number} number the drone's party id: its client id at the server
 * @property {string} [targetVideoTrack] its camera's track id or name; its first one when left out
 * @property {any} [v_andruavClient] the page's client: its `EVT_andruavSignalling` becomes ours, and its
 *   `m_andruavUnitList` names the units in events
 * @property {TalkCallbacks["onRemoveStream"]} [onRemovestream] the original's spelling
 * @typedef {JoinTarget & Partial<TalkCallbacks>} JoinConfig
 *
 * @typedef {object} StreamSettings
 * @property {string} [server] `wss://host:port`; where this module came from when left out
 * @property {string} [clientId] who we are there; a random id when left out
 * @property {import("./connection.js").Token} [token]
 * @property {{fn_dispatch: (event: any, data: any) => void}} [eventEmitter] the page's `js_eventEmitter`
 * @property {Record<string, any>} [events] the page's `EVENTS`, where its emitter does not know events by their names
 * @property {(number: string) => any} [unit] the page's object for a drone, where `v_andruavClient` does not have it
 *
 * @typedef {{unit: any, fps: number, rx: number, track_id: string}} VideoStatistics
 * @typedef {object} StreamEvents
 * @property {VideoStatistics} EE_onWebRTC_Video_Statistics once a second for each conversation; `rx` in bytes so far
 * @property {{andruavUnit: any, talk: CTalk}} EE_videoStreamStarted
 * @property {{andruavUnit: any, talk: CTalk}} EE_videoStreamStopped
 * @property {{talk: CTalk, status: import("./talk.js").TalkStatus}} EE_Video_State_Change
 * @property {{error: unknown}} debugerror what `debugError` was told
 * @property {{message: unknown}} debugcallback what `debugCallback` was told
 */
/**
 * All conversations of a page, over one connection to the server. There is one: `getInstance()`.
 * @extends {Emitter<StreamEvents>}
 */
export declare class AndruavStream extends Emitter<StreamEvents> {
    #private;
    /** @type {AndruavStream | null} */ static instance: AndruavStream | null;
    /** Open ones by `number/track`, for two drones may have cameras of one name. @type {Record<string, CTalk>} */
    conversations: Record<string, CTalk>;
    /** `iceServers` here are used instead of the server's; the rest is the library's business. */
    rtcConfig: {
        iceServers: RTCIceServer[] | null;
    };
    IceCandidate: {
        new (candidateInitDict?: RTCLocalIceCandidateInit): RTCIceCandidate;
        prototype: RTCIceCandidate;
    };
    SessionDescription: {
        new (descriptionInitDict: RTCSessionDescriptionInit): RTCSessionDescription;
        prototype: RTCSessionDescription;
    };
    /** Offers, answers and candidates that came by the drone client's own signalling, where nothing is negotiated now. */
    ignoredSignals: number;
    constructor();
    /** @returns {AndruavStream} the only one */
    static getInstance(): AndruavStream;
    /**
     * Called with a drone's number when it stops and no conversation about it is open; the page sets its own.
     * @type {(number: string) => void}
     */
    onOrphanDisconnect: (number: string) => void;
    /**
     * Say where the server is and who we are; only where the defaults do not fit. Holds from the next connection on.
     * @param {StreamSettings} settings those left out stay as they are
     */
    configure(settings: StreamSettings): void;
    /**
     * Watch a camera, from as soon as its drone is there until `hangup()` or until the drone stops.
     * @param {JoinConfig} config
     * @returns {CTalk} `connecting`; where this camera is watched already, the one there is, with the new callbacks
     */
    joinStream(config: JoinConfig): CTalk;
    /**
     * Find a conversation, or make one that waits for its `joinStream()`.
     * @param {string | number} number
     * @param {string} [track]
     * @returns {CTalk}
     */
    getConversation(number: string | number, track?: string): CTalk;
    /**
     * Hang up.
     * @param {string} track a camera's name, or `number/track`
     * @param {string | number} [number] the drone, where several have a camera of this name
     */
    closeConversation(track: string, number?: string | number): void;
    /** The older client's name for `closeConversation`. @param {string} key */
    hangup(key: string): void;
    /**
     * Put a track into a conversation and show it, for pages that bring tracks of their own.
     * @param {CTalk} talk
     * @param {RTCTrackEvent} event
     */
    onAddTrack(talk: CTalk, event: RTCTrackEvent): void;
    /**
     * Send what the original sent to a drone: `{joinme: true}` and `{hangup: true}` have an effect, the rest has none.
     * @param {string | number} phone the drone
     * @param {string} channel its camera
     * @param {any} packet
     */
    transmit(phone: string | number, channel: string, packet: any): void;
    /**
     * Take a message of the drone client's own signalling. Only a hangup means something: media comes by our server.
     * @param {any} unit the page's object for the drone, or its party id
     * @param {any} signal
     */
    EVT_andruavSignalling(unit: any, signal: any): Promise<void>;
    /** Ignored, and counted: the library negotiates, and again when the drone's cameras change. @param {any} signal */
    addSdpOffer(signal: any): Promise<void>;
    /** Nothing is left to do: the library answers. @param {RTCPeerConnection | null} _pc @param {CTalk} _talk */
    createAnswer(_pc: RTCPeerConnection | null, _talk: CTalk): Promise<void>;
    /** Ignored, and counted, like `addSdpOffer`. @param {any} signal */
    addIceRoute(signal: any): Promise<void>;
    /** Told of everything that goes wrong; quiet unless overridden or listened to. @param {unknown} error */
    debugError(error: unknown): void;
    /** Told of the original's packets; quiet unless overridden or listened to. @param {unknown} message */
    debugCallback(message: unknown): void;
}
export declare const js_webrtcstream: AndruavStream;
