// @ts-check
/** The admin API as the status page uses it. `/api/v1/openapi.json` describes it. */

const PREFIX = "/api/v1";
/** A server that takes longer has other troubles than this page. */
const TIMEOUT_MS = 8_000;

/**
 * @typedef {{packets: number, payload_bytes: number, packets_lost: number, packets_retransmitted: number, keyframe_requests: number}} Sums
 * @typedef {object} Server
 * @property {string} version
 * @property {number} now seconds since 1970
 * @property {number} uptime_seconds
 * @property {boolean} ready
 * @property {number} rooms
 * @property {number} webs
 * @property {number} devices
 * @property {number} absent
 * @property {number} feeds
 * @property {number} viewers
 * @property {Sums} received
 * @property {Sums} sent
 * @property {Record<string, number>} drops
 * @property {number} cpu_seconds
 * @property {number} memory_bytes
 * @property {number} loop_lag_seconds
 *
 * @typedef {{state: string, protocol: string | null, remote_address: string | null}} Peer
 * @typedef {object} InboundTrack
 * @property {"audio" | "video"} kind
 * @property {string} codec
 * @property {string} label
 * @property {number} packets
 * @property {number} payload_bytes
 * @property {number} packets_lost
 * @property {number | null} width
 * @property {number | null} height
 * @typedef {object} Feed
 * @property {number} feed
 * @property {string} client_id
 * @property {string} role
 * @property {string} state
 * @property {number} age_seconds
 * @property {number[]} rooms
 * @property {number} viewers
 * @property {Peer | null} peer
 * @property {InboundTrack[]} tracks
 *
 * @typedef {object} OutboundTrack
 * @property {"audio" | "video"} kind
 * @property {number} packets
 * @property {number} payload_bytes
 * @property {number} packets_lost
 * @property {number} fraction_lost
 * @property {number | null} round_trip_seconds
 * @typedef {object} Subscription
 * @property {number} subscription
 * @property {number} room_id
 * @property {string} client_id
 * @property {string} state
 * @property {number} age_seconds
 * @property {Peer | null} peer
 * @property {OutboundTrack[]} tracks
 *
 * @typedef {object} Room
 * @property {number} room_id
 * @property {string} creator
 * @property {number} age_seconds
 * @property {number} webs
 * @property {number} devices
 * @property {number[]} feeds
 * @property {number} subscriptions
 * @property {number} sent_payload_bytes
 */

/** A request that was refused; `status` is HTTP's, 0 where the server was not reached. */
export class ApiError extends Error {
  /** @param {number} status @param {string} message */
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export class AdminApi {
  /** @type {string | null} shown with every request; null without one */ token = null;

  /** @returns {Promise<Server>} */
  server() {
    return this.#ask("GET", "/server");
  }

  /** @param {number} limit @returns {Promise<{rooms: Room[]}>} */
  rooms(limit) {
    return this.#ask("GET", `/rooms?limit=${limit}`);
  }

  /** @param {number} limit @returns {Promise<{feeds: Feed[]}>} */
  feeds(limit) {
    return this.#ask("GET", `/feeds?limit=${limit}`);
  }

  /** @param {number} feed @param {number} limit @returns {Promise<{subscriptions: Subscription[]}>} */
  subscriptions(feed, limit) {
    return this.#ask("GET", `/feeds/${feed}/subscriptions?limit=${limit}`);
  }

  /** @param {number} room */
  closeRoom(room) {
    return this.#ask("DELETE", `/rooms/${room}`);
  }

  /** @param {number} feed */
  stopPublication(feed) {
    return this.#ask("DELETE", `/feeds/${feed}`);
  }

  /** @param {string} role @param {string} clientId */
  disconnect(role, clientId) {
    return this.#ask("DELETE", `/participants/${role}/${encodeURIComponent(clientId)}`);
  }

  /**
   * @param {string} method
   * @param {string} path
   * @returns {Promise<any>} what is answered; rejects with `ApiError`
   */
  async #ask(method, path) {
    const headers = this.token === null ? undefined : { Authorization: `Bearer ${this.token}` };
    let response, body;
    try {
      response = await fetch(PREFIX + path, { method, headers, signal: AbortSignal.timeout(TIMEOUT_MS) });
      body = response.status === 204 ? null : await response.json();
    } catch {
      throw new ApiError(0, "The server did not answer.");
    }
    if (!response.ok) throw new ApiError(response.status, body?.error?.message ?? `The server answered ${response.status}.`);
    return body;
  }
}
