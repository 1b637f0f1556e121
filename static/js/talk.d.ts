/** One conversation of the drone client's module: one camera of one drone, with that client's names. */
/** The camera of a conversation that names none. */
export declare const DEFAULT_TRACK = "default";
export type TalkStatus = "initializing" | "connecting" | "routing" | "connected" | "closing" | "closed" | "cancelled";
export type RemoveStreamEvent = Event & {
    stream: MediaStream;
    talk: CTalk;
};
export type TalkCallbacks = {
    /**
     * the conversation goes on unless its status says otherwise
     */
    onError: (talk: CTalk, error: Error) => void;
    /**
     * media can flow, at first and after each loss
     */
    onConnect: (talk: CTalk) => void;
    /**
     * `talk.stream` has the camera; once, unless it was taken away since
     */
    onDisplayVideo: (talk: CTalk) => void;
    /**
     * the same moment, for pages of the older client
     */
    onAddStream: (talk: CTalk) => void;
    /**
     * the drone took the camera away
     */
    onRemoveStream: (event: RemoveStreamEvent) => void;
    onClosing: (talk: CTalk) => void;
    onDisconnected: (talk: CTalk) => void;
    /**
     * the drone stopped after the conversation had been hung up
     */
    onOrphanDisconnect: (number: string) => void;
    /**
     * once a second
     *
     * What a conversation needs of the module.
     */
    onFrameRateUpdate: (talk: CTalk, fps: number) => void;
};
export type TalkParent = {
    hungUp: (talk: CTalk, sendToParty: boolean) => void;
    statusChanged: (talk: CTalk) => void;
    debugError: (error: unknown) => void;
};
/** @typedef {Event & {stream: MediaStream, talk: CTalk}} RemoveStreamEvent */
/**
 * What the page wants to hear, by the original's names; each gets the conversation first, where nothing else is said.
 * @typedef {object} TalkCallbacks
 * @property {(talk: CTalk, error: Error) => void} onError the conversation goes on unless its status says otherwise
 * @property {(talk: CTalk) => void} onConnect media can flow, at first and after each loss
 * @property {(talk: CTalk) => void} onDisplayVideo `talk.stream` has the camera; once, unless it was taken away since
 * @property {(talk: CTalk) => void} onAddStream the same moment, for pages of the older client
 * @property {(event: RemoveStreamEvent) => void} onRemoveStream the drone took the camera away
 * @property {(talk: CTalk) => void} onClosing
 * @property {(talk: CTalk) => void} onDisconnected
 * @property {(number: string) => void} onOrphanDisconnect the drone stopped after the conversation had been hung up
 * @property {(talk: CTalk, fps: number) => void} onFrameRateUpdate once a second
 *
 * What a conversation needs of the module.
 * @typedef {object} TalkParent
 * @property {(talk: CTalk, sendToParty: boolean) => void} hungUp
 * @property {(talk: CTalk) => void} statusChanged
 * @property {(error: unknown) => void} debugError
 */
/** A conversation about one camera. Made by `AndruavStream.joinStream()`. */
export declare class CTalk {
    #private;
    /** The drone: its client id at the server. */
    number: string;
    /** The camera: a track's id or label, in any case and with `_` for spaces; `default` is the drone's first. */
    targetVideoTrack: string;
    /** @type {TalkStatus} */ status: TalkStatus;
    /** When it was asked for, in milliseconds since 1970. */
    startedAt: number;
    /** The camera and the drone's sound, for `video.srcObject`; the same object for the conversation's whole life. */
    stream: MediaStream;
    /** Another one after each loss; shared by the conversations with one drone. @type {RTCPeerConnection | null} */
    pc: RTCPeerConnection | null;
    isClosed: boolean;
    hasReceivedSdp: boolean;
    dialed: boolean;
    offer: boolean;
    answer: boolean;
    /** The page's own, like the two below: kept here because it looks for them here. */
    videoRecording: boolean;
    /** @type {any} */ recorderObject: any;
    /** @type {number | undefined} */ VideoStreaming: number | undefined;
    /** Frames a second of the last reading. */
    m_actualFrameRate: number;
    /** Bytes of this camera so far, over all its connections. */
    m_bytesReceived: number;
    /** @type {TalkCallbacks["onError"]} */ onError: TalkCallbacks["onError"];
    /** @type {TalkCallbacks["onConnect"]} */ onConnect: TalkCallbacks["onConnect"];
    /** @type {TalkCallbacks["onDisplayVideo"]} */ onDisplayVideo: TalkCallbacks["onDisplayVideo"];
    /** @type {TalkCallbacks["onAddStream"]} */ onAddStream: TalkCallbacks["onAddStream"];
    /** @type {TalkCallbacks["onRemoveStream"]} */ onRemoveStream: TalkCallbacks["onRemoveStream"];
    /** @type {TalkCallbacks["onClosing"]} */ onClosing: TalkCallbacks["onClosing"];
    /** @type {TalkCallbacks["onDisconnected"]} */ onDisconnected: TalkCallbacks["onDisconnected"];
    /** @type {TalkCallbacks["onOrphanDisconnect"]} */ onOrphanDisconnect: TalkCallbacks["onOrphanDisconnect"];
    /** @type {TalkCallbacks["onFrameRateUpdate"]} */ onFrameRateUpdate: TalkCallbacks["onFrameRateUpdate"];
    /** @param {string} number @param {string} targetVideoTrack @param {TalkParent} parent */
    constructor(number: string, targetVideoTrack: string, parent: TalkParent);
    /** The older client's name for it. */
    get closed(): boolean;
    /** The publisher's id of the camera that is received; null while none is. */
    get trackId(): string | null;
    /** Whether it still waits for the first picture, and another join may take its place. */
    get isPending(): boolean;
    /**
     * Change the status; what cannot follow the present one is refused and told to `debugError`.
     * @param {TalkStatus} status
     */
    setStatus(status: TalkStatus): void;
    /**
     * End it. Idempotent.
     * @param {boolean} [sendToParty] accepted for the original's sake: the server is always told, and tells the drone
     *   when nobody else is watching
     */
    hangup(sendToParty?: boolean): void;
}
