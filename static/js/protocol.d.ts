/** The wire protocol: its events as types, its close codes, its secrets. */
export type Role = "WEB" | "DEVICE";
export type Kind = "audio" | "video";
export type TrackInfo = {
    id: string;
    kind: Kind;
    codec: string;
    label: string;
};
export type DeviceState = "available" | "invited" | "streaming";
export type DeviceInfo = {
    device: string;
    state: DeviceState;
    feed?: number | null;
    tracks?: TrackInfo[] | null;
};
export type Welcome = {
    client_id: string;
    role: Role;
    resume: string | null;
    ice_servers: RTCIceServer[];
    protocol: number;
    server: string;
};
export type StartListening = {
    feed: number;
    room_id?: number;
    device?: string;
    tracks?: TrackInfo[];
};
export type StopListening = {
    feed: number;
    room_id?: number;
    device?: string;
    reason?: string;
};
export type Invited = {
    room_id: number;
    invited: string[];
    attached: string[];
    unavailable: string[];
};
export type Resumed = {
    rooms: {
        room_id: number;
        feeds: number[];
    }[];
    publication?: number | null;
    subscriptions: number[];
    received?: number;
};
export type ServerEvents = {
    /**
     * a feed's media flows
     */
    start_listening: StartListening;
    /**
     * it has other tracks now
     */
    tracks_changed: {
        feed: number;
        room_id: number;
        device: string;
        tracks: TrackInfo[];
    };
    /**
     * it ended
     */
    stop_listening: StopListening;
    /**
     * a device is invited
     */
    start_streaming: {
        room_id: number;
        inviter: string;
    };
    /**
     * an operator has ended a room that this viewer was in
     */
    room_closed: {
        room_id: number;
        reason: string;
    };
    /**
     * nobody is left who watches this device
     */
    stop_streaming: {
        room_id: number;
        reason: string;
    };
    /**
     * a feed's tracks changed, or an offer that no request claims
     */
    offer_to_subscriber: {
        sdp: string;
        feed: number;
    };
    /**
     * a media connection died while the socket lives
     */
    connection_lost: {
        typ: "pub" | "sub";
        feed: number;
    };
    /**
     * the ids of our tracks that somebody receives
     */
    tracks_wanted: {
        feed: number;
        tracks: string[];
    };
    device_online: {
        device: string;
    };
    device_offline: {
        device: string;
    };
    /**
     * the server ends within so many seconds; we come back by ourselves
     */
    server_draining: {
        seconds: number;
    };
    /**
     * devices that were invited have not come
     */
    devices_unavailable: {
        room_id: number;
        devices: string[];
    };
    receiving_changed: {
        feed: number;
        paused: Kind[];
    };
};
/**
 * @typedef {"WEB" | "DEVICE"} Role
 * @typedef {"audio" | "video"} Kind
 *
 * @typedef {{id: string, kind: Kind, codec: string, label: string}} TrackInfo one track as its publisher describes it
 * @typedef {"available" | "invited" | "streaming"} DeviceState
 * @typedef {{device: string, state: DeviceState, feed?: number | null, tracks?: TrackInfo[] | null}} DeviceInfo
 *
 * @typedef {{client_id: string, role: Role, resume: string | null, ice_servers: RTCIceServer[], protocol: number,
 *   server: string}} Welcome
 * @typedef {{feed: number, room_id?: number, device?: string, tracks?: TrackInfo[]}} StartListening
 * @typedef {{feed: number, room_id?: number, device?: string, reason?: string}} StopListening
 * @typedef {{room_id: number, invited: string[], attached: string[], unavailable: string[]}} Invited
 * @typedef {{rooms: {room_id: number, feeds: number[]}[], publication?: number | null, subscriptions: number[],
 *   received?: number}} Resumed a new socket took the session over; `received` counts our messages that the server had
 */
/**
 * What the server sends unasked, by event name. Replies to requests come back from `Connection.request()` instead.
 * @typedef {object} ServerEvents
 * @property {StartListening} start_listening a feed's media flows
 * @property {{feed: number, room_id: number, device: string, tracks: TrackInfo[]}} tracks_changed it has other tracks now
 * @property {StopListening} stop_listening it ended
 * @property {{room_id: number, inviter: string}} start_streaming a device is invited
 * @property {{room_id: number, reason: string}} room_closed an operator has ended a room that this viewer was in
 * @property {{room_id: number, reason: string}} stop_streaming nobody is left who watches this device
 * @property {{sdp: string, feed: number}} offer_to_subscriber a feed's tracks changed, or an offer that no request claims
 * @property {{typ: "pub" | "sub", feed: number}} connection_lost a media connection died while the socket lives
 * @property {{feed: number, tracks: string[]}} tracks_wanted the ids of our tracks that somebody receives
 * @property {{device: string}} device_online
 * @property {{device: string}} device_offline
 * @property {{seconds: number}} server_draining the server ends within so many seconds; we come back by ourselves
 * @property {{room_id: number, devices: string[]}} devices_unavailable devices that were invited have not come
 * @property {{feed: number, paused: Kind[]}} receiving_changed
 */
/** Close codes of the protocol (section 1) after which trying again cannot help. */
export declare const FATAL_CLOSE_CODES: Set<number>;
/** The id is in use, or, after `welcome`, somebody else has taken it over. */
export declare const CLOSE_ID_IN_USE = 4409;
/** The server ends; most are started anew. */
export declare const CLOSE_GOING_AWAY = 1001;
/** Ours: we will not come back, so the server need not keep the session for us. */
export declare const CLOSE_GOODBYE = 4000;
/**
 * Copy a message's data for showing it to somebody.
 * @param {string} event
 * @param {any} data
 */
export declare function withoutSecrets(event: string, data: any): any;
