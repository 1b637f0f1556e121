// @ts-check
/** What the device page says about its state, and who is watching. Pure. */

/** @typedef {{tone: "idle" | "busy" | "good" | "live" | "bad", status: string, title: string, text: string}} Words */

/** @type {Record<import("./publisher.js").PublisherState, Words>} */
const WORDS = {
  offline: {
    tone: "idle",
    status: "Offline",
    title: "Offline",
    text: "Press “Go online” and viewers can ask for this camera.",
  },
  connecting: {
    tone: "busy",
    status: "Connecting",
    title: "Connecting",
    text: "Looking for the server. It is tried again by itself until it answers.",
  },
  waiting: {
    tone: "good",
    status: "Online",
    title: "Online, nobody is watching",
    text: "Nothing is sent. It starts by itself as soon as somebody watches.",
  },
  joining: {
    tone: "busy",
    status: "Starting",
    title: "Somebody wants to watch",
    text: "Starting to send.",
  },
  live: { tone: "live", status: "Live", title: "You are live", text: "" },
  reconnecting: {
    tone: "busy",
    status: "Reconnecting",
    title: "Reconnecting",
    text: "The connection to the server was lost. Viewers may still see and hear you.",
  },
  failed: {
    tone: "bad",
    status: "Refused",
    title: "The server refused",
    text: "The reason is above. Change what is needed and try again.",
  },
};

/** @type {Words} instead of `joining`, where it was live before */
const INTERRUPTED = {
  tone: "busy",
  status: "Interrupted",
  title: "Interrupted",
  text: "Picture and sound do not reach the server. Another way there is tried by itself.",
};

/**
 * @typedef {object} Showing
 * @property {boolean} isMediaLost whether media was on its way and is not now
 * @property {boolean} hasPicture
 * @property {boolean} hasSound
 * @property {boolean} wantsPicture whether the picture is switched on
 * @property {boolean} wantsMic
 * @property {Set<string> | null} receivedKinds what viewers take now; null before the server has said
 */

/**
 * Say what is going on.
 * @param {import("./publisher.js").PublisherState} state
 * @param {Showing} showing
 * @returns {Words}
 */
export function wordsOf(state, showing) {
  if (state === "live") return { ...WORDS.live, text: liveText(showing) };
  return state === "joining" && showing.isMediaLost ? INTERRUPTED : WORDS[state];
}

/** @param {Showing} showing */
function liveText({ hasPicture, hasSound, wantsPicture, wantsMic, receivedKinds }) {
  if (receivedKinds?.size === 0) return "A viewer is there but has paused: nothing is sent until it goes on.";
  const pictureOff = hiddenBecause("picture", hasPicture, wantsPicture, receivedKinds?.has("video") ?? true);
  const soundOff = hiddenBecause("microphone", hasSound, wantsMic, receivedKinds?.has("audio") ?? true);
  if (!pictureOff && !soundOff) return "Somebody is watching this picture and hearing this sound now.";
  if (!pictureOff) return `Somebody is watching this picture. ${soundOff}`;
  if (!soundOff) return `Somebody is hearing this sound. ${pictureOff}`;
  return `Somebody is there, but sees and hears nothing. ${pictureOff} ${soundOff}`;
}

/** @param {"picture" | "microphone"} what @param {boolean} exists @param {boolean} isOn @param {boolean} isReceived */
function hiddenBecause(what, exists, isOn, isReceived) {
  if (!exists) return what === "picture" ? "There is no picture." : "There is no sound.";
  if (!isOn) return `The ${what} is off.`;
  return isReceived ? "" : `No viewer takes the ${what === "picture" ? "picture" : "sound"} now.`;
}

/**
 * Say who asked, and when; the protocol does not tell how many watch.
 * @param {{inviter: string | null, at: Date} | null} invitation
 */
export function askedText(invitation) {
  if (!invitation) return "";
  const time = invitation.at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  return invitation.inviter ? `Asked for at ${time} by viewer ${invitation.inviter}.` : `Asked for at ${time}.`;
}

/**
 * Say why the preview is covered.
 * @param {boolean} isOpen @param {boolean} hasPicture
 */
export function previewText(isOpen, hasPicture) {
  if (!isOpen) return "The preview appears here. Nothing is sent before somebody watches.";
  return hasPicture ? "The picture is off. Viewers see black." : "There is no picture: only sound is sent.";
}
