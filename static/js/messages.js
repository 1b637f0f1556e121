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

/** @type {Record<string, Message>} by the names of what getUserMedia and getDisplayMedia throw */
const BY_MEDIA_ERROR = {
  NotAllowedError: {
    title: "The browser was not allowed to use the camera or microphone",
    text: "Press the camera or lock symbol beside the address, allow both for this page, then try again. If it was the system that refused, allow the browser in its privacy settings.",
  },
  NotFoundError: {
    title: "No camera or microphone was found",
    text: "Plug one in and try again, or share your screen instead.",
  },
  NotReadableError: {
    title: "The camera or microphone is busy",
    text: "Another program is using it. Close that program and try again, or choose another one.",
  },
  OverconstrainedError: {
    title: "The chosen camera or microphone is gone",
    text: "It was unplugged. Choose another one.",
  },
};

/** What a refused screen means: usually only that the person thought better of it. */
const SCREEN_REFUSED = {
  title: "No screen was shared",
  text: "Press “Screen” again and choose a window, a tab or the whole screen.",
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

/**
 * Say in words why there is no camera, microphone or screen.
 * @param {any} error
 * @param {"camera" | "screen"} source
 * @returns {Message}
 */
export function mediaMessageOf(error, source) {
  if (source === "screen" && error?.name === "NotAllowedError") return SCREEN_REFUSED;
  return BY_MEDIA_ERROR[error?.name] ?? { title: "The camera could not be opened", text: error?.message ?? String(error) };
}

/**
 * Say why the browser offers no camera at all, or null where it does.
 * @param {Location} location
 * @returns {Message | null}
 */
export function insecureContextMessage(location) {
  if (globalThis.isSecureContext && navigator.mediaDevices) return null;
  const port = location.port ? `:${location.port}` : "";
  return {
    title: "Cameras need https or localhost",
    text: `Browsers give the camera only to safe addresses, and ${location.origin} is not one. Open https://${location.host}${location.pathname} if this server has a certificate, or http://localhost${port}${location.pathname} on the machine that it runs on.`,
  };
}

/** Why a feed ended, in words, by the protocol's `stop_listening` reasons and the client library's own.
 * @type {Record<string, Message>} */
const ENDED = {
  unpublished: { title: "The camera stopped", text: "It was switched off over there." },
  left: { title: "The camera stopped", text: "It went offline." },
  disconnected: { title: "Lost", text: "Waiting for the camera to come back." },
  replaced: { title: "One moment", text: "The camera is starting again." },
  reconnected: { title: "One moment", text: "Asking the camera again." },
  shutdown: { title: "Lost", text: "The server is shutting down." },
};

/**
 * Say why a feed ended.
 * @param {string | null} reason
 * @returns {Message}
 */
export function endedMessageOf(reason) {
  return ENDED[reason ?? ""] ?? ENDED.disconnected;
}
