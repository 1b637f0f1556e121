// @ts-check
/** What can go wrong between this client and the server. Each has a `code` to tell it by. */

/** What the server refused or could not do: `code` is one of the protocol's section 7. */
export class ServerError extends Error {
  /** @param {{code: string, message: string, event?: string, id?: string | number}} data */
  constructor(data) {
    super(data.message);
    this.name = "ServerError";
    this.code = String(data.code);
    /** The event that failed, where the server could tell. */
    this.event = data.event ?? null;
    this.id = data.id ?? null;
  }
}

/** The connection is not open, or closed before the reply came. */
export class ConnectionClosedError extends Error {
  /** @param {string} message */
  constructor(message) {
    super(message);
    this.name = "ConnectionClosedError";
    this.code = "connection_closed";
  }
}

/** No reply came in time. */
export class RequestTimeoutError extends Error {
  /** @param {string} event @param {number} milliseconds */
  constructor(event, milliseconds) {
    super(`The server did not answer ${event} within ${milliseconds / 1000} s.`);
    this.name = "RequestTimeoutError";
    this.code = "timeout";
  }
}

/** @typedef {{id: string | null, kind: "audio" | "video", codec: string | null}} UnplayableTrack `codec` such as `H264` */

/** The browser has no decoder for some of what a device sends; the rest, if there is any, is received. */
export class CodecError extends Error {
  /** @param {UnplayableTrack[]} tracks */
  constructor(tracks) {
    const codecs = [...new Set(tracks.map(({ codec }) => codec ?? "an unknown codec"))].join(" and ");
    super(`${tracks.length === 1 ? `The ${tracks[0].kind}` : "What the device sends"} is ${codecs}, which this browser cannot play.`);
    this.name = "CodecError";
    this.code = "no_common_codec";
    this.tracks = tracks;
  }
}

/**
 * Whether `error` is the server's refusal with this code.
 * @param {unknown} error
 * @param {...string} codes
 * @returns {error is ServerError}
 */
export function isRefusal(error, ...codes) {
  return error instanceof ServerError && codes.includes(error.code);
}

/**
 * Whether `error` only says that the connection went away, which its `state` has told already.
 * @param {any} error
 */
export function isClosed(error) {
  return error?.code === "connection_closed";
}

/**
 * Whether `error` refuses a subscription that another attempt cannot cure: the feed or our place in the room is gone.
 * @param {unknown} error
 */
export function isGone(error) {
  return isRefusal(error, "feed_not_found", "room_not_found", "not_in_room");
}
