// @ts-check
/** The wire protocol: its events as types, its close codes, its secrets. */

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
export const FATAL_CLOSE_CODES = new Set([4400, 4401, 4403]);
/** The id is in use, or, after `welcome`, somebody else has taken it over. */
export const CLOSE_ID_IN_USE = 4409;
/** The server ends; most are started anew. */
export const CLOSE_GOING_AWAY = 1001;
/** Ours: we will not come back, so the server need not keep the session for us. */
export const CLOSE_GOODBYE = 4000;

/**
 * Copy a message's data for showing it to somebody.
 * @param {string} event
 * @param {any} data
 */
export function withoutSecrets(event, data) {
  if (typeof data.sdp === "string") return { ...data, sdp: data.sdp.replace(/^(a=ice-pwd:).*$/gm, "$1(hidden)") };
  if (event !== "welcome") return data;
  const servers = data.ice_servers?.map((/** @type {any} */ server) => ({ ...server, credential: "(hidden)" })) ?? [];
  return { ...data, resume: data.resume && "(hidden)", ice_servers: servers };
}
