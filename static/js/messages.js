// @ts-check
/** Errors in a person's words: what happened, and what can be done. */

/** @typedef {{title: string, text: string}} Message */

/** @type {Record<string, Message>} by the protocol's error codes and those of the client library */
const BY_CODE = {
  unauthorized: {
    title: "The server does not let you in",
    text: "The link is missing its token or the token has expired. Ask whoever runs the server for a new link.",
  },
  forbidden: { title: "Not allowed", text: "Your token does not allow this. Ask whoever runs the server." },
  client_id_in_use: {
    title: "This name is taken",
    text: "Another camera is online under this name. Choose a different name, or take the other one offline.",
  },
  bad_client_id: {
    title: "This name cannot be used",
    text: "A name has 1 to 64 letters (a to z), digits, dots, dashes, underscores or tildes.",
  },
  server_full: { title: "The server is full", text: "It has no room for another connection. It is tried again by itself." },
  no_common_codec: {
    title: "The picture’s format does not fit",
    text: "The camera sends a format that this browser cannot play. Another browser may.",
  },
  rate_limited: { title: "Too many messages", text: "The server asks to slow down. Wait a moment and try again." },
  timeout: { title: "The server does not answer", text: "It is reachable but slow. It is tried again by itself." },
};

/**
 * Say in words what a server or connection error means.
 * @param {any} error
 * @returns {Message}
 */
export function messageOf(error) {
  const known = BY_CODE[error?.code];
  if (known) return known;
  return { title: "Something went wrong", text: error?.message ?? "The browser did not say what." };
}

/** Why a feed ended, in words, by the protocol's `stop_listening` reasons and the client library's own.
 * @type {Record<string, Message>} */
const ENDED = {
  unpublished: { title: "The camera stopped", text: "It was switched off over there." },
  left: { title: "The camera stopped", text: "It went offline." },
  disconnected: { title: "Lost", text: "Waiting for the camera to come back." },
  replaced: { title: "One moment", text: "The camera is starting again." },
  reconnected: { title: "One moment", text: "Asking the camera again." },
  shutdown: { title: "Lost", text: "The server went away. Waiting for it to come back." },
};

/**
 * Say why a feed ended.
 * @param {string | null} reason
 * @returns {Message}
 */
export function endedMessageOf(reason) {
  return ENDED[reason ?? ""] ?? ENDED.disconnected;
}

/**
 * Say that this browser has no decoder for what a camera sends.
 * @param {string} codec such as `H264`
 * @returns {Message}
 */
function unplayableMessageOf(codec) {
  const text = `The camera sends ${codec}, which this browser cannot play. Another browser may, or choose VP8 on the camera.`;
  return { title: "No picture in this browser", text };
}

/** What lies over a tile's picture, by its state; states that are not here leave the picture free.
 * @type {Record<string, (name: string) => Message>} */
const COVERS = {
  asked: (name) => ({ title: "Starting", text: `${name} was asked to start. It may be waiting for a permission over there.` }),
  absent: (name) => ({ title: "Not online", text: `${name} appears here as soon as it is.` }),
  unanswered: (name) => ({
    title: "No answer",
    text: `${name} is online but sends nothing: it has not started, or its network lets no media through.`,
  }),
  idle: () => ({ title: "Connecting", text: "Waiting for the server." }),
  connecting: () => ({ title: "Connecting", text: "Setting up the link to the server." }),
  starting: () => ({ title: "Connected", text: "Waiting for the first picture." }),
  "sound-only": () => ({ title: "Sound only", text: "This device sends no picture." }),
};

/**
 * Say what lies over a tile's picture.
 * @param {string} state
 * @param {string} name
 * @param {Pick<import("./feed.js").Feed, "reason" | "unplayable"> | null} feed
 * @returns {Message | null} null where the picture speaks for itself
 */
export function coverOf(state, name, feed) {
  const codec = feed?.unplayable.find(({ kind }) => kind === "video")?.codec;
  if (codec && (state === "sound-only" || state === "unplayable")) return unplayableMessageOf(codec);
  const reason = feed?.reason ?? null;
  if (state === "ended") return endedMessageOf(reason);
  if (state === "lost") return reason ? endedMessageOf(reason) : { title: "Connection lost", text: "Trying to get it back." };
  return COVERS[state]?.(name) ?? null;
}

/** Below this the seconds of a freeze are not counted: it has only just been noticed. */
const FREEZE_COUNTED_FROM_MS = 4_000;

/**
 * Say in a word how a picture is.
 * @param {string} state
 * @param {number} stillMs how long it has stood still
 * @param {number | null} backAfterMs how long the interruption was that has just ended
 * @returns {{tone: "live" | "warn" | "good" | "calm", text: string} | null}
 */
export function badgeOf(state, stillMs, backAfterMs) {
  if (state === "paused") return { tone: "calm", text: "PAUSED" };
  if (state === "frozen") {
    const counted = stillMs < FREEZE_COUNTED_FROM_MS ? "" : ` ${Math.round(stillMs / 1_000)} s`;
    return { tone: "warn", text: `FROZEN${counted}` };
  }
  if (state !== "live") return null;
  if (backAfterMs !== null) return { tone: "good", text: `BACK AFTER ${Math.max(1, Math.round(backAfterMs / 1_000))} s` };
  return { tone: "live", text: "LIVE" };
}

/** What a screen reader is told, after the tile's name; states on the way to these are not worth the words.
 * @type {Record<string, string>} */
const SPOKEN = {
  live: "is live",
  frozen: "is frozen",
  paused: "is paused",
  unplayable: "cannot be played in this browser",
  lost: "is lost, waiting for it to come back",
  ended: "has stopped",
  unanswered: "does not answer",
  absent: "is not online",
};

/**
 * Say a tile's new state aloud.
 * @param {string} state
 * @param {number | null} backAfterMs how long the interruption was that has just ended
 * @returns {string | null}
 */
export function spokenOf(state, backAfterMs) {
  if (state !== "live" || backAfterMs === null) return SPOKEN[state] ?? null;
  const seconds = Math.max(1, Math.round(backAfterMs / 1_000));
  return `is back after ${seconds === 1 ? "1 second" : `${seconds} seconds`}`;
}
