// @ts-check
/** Why there is no camera, microphone or screen, in a person's words, and how to get it. Pure. */

/**
 * @typedef {"camera" | "microphone" | "both" | "screen"} Wanted
 * @typedef {"chrome" | "firefox" | "safari" | "androidChrome" | "androidFirefox" | "ios"} BrowserKind
 * @typedef {{name: string, steps: string[]}} Guide
 * @typedef {{title: string, text: string, guide?: Guide, others?: Guide[]}} Refusal
 */

/** @type {Record<Wanted, string>} */
const NAMES = { camera: "camera", microphone: "microphone", both: "camera and microphone", screen: "screen" };

/** @type {Record<BrowserKind, Guide>} how a site's permission is given back */
const GUIDES = {
  chrome: {
    name: "Chrome, Edge or another Chromium",
    steps: [
      "Press the symbol at the left end of the address (two sliders or a lock).",
      "Switch Camera and Microphone on, or choose “Allow”.",
      "Come back to this page; reload it if the browser says so.",
    ],
  },
  firefox: {
    name: "Firefox",
    steps: [
      "Press the crossed-out camera or microphone at the left end of the address.",
      "Press the cross beside “Blocked” for the camera and for the microphone.",
      "Press “Try again” here and choose “Allow”.",
    ],
  },
  safari: {
    name: "Safari on a Mac",
    steps: [
      "Open the Safari menu and choose “Settings for” this website.",
      "Set Camera and Microphone to “Allow”.",
      "Press “Try again” here.",
    ],
  },
  androidChrome: {
    name: "Chrome on Android",
    steps: [
      "Press the symbol at the left end of the address, then “Permissions”.",
      "Switch Camera and Microphone on.",
      "If they are not listed: in Android’s Settings, open Apps, Chrome, Permissions, and allow both.",
    ],
  },
  androidFirefox: {
    name: "Firefox on Android",
    steps: [
      "Press the lock at the left end of the address.",
      "Press “Blocked” beside Camera and Microphone, so that it says “Allowed”.",
      "If they are not listed: in Android’s Settings, open Apps, Firefox, Permissions, and allow both.",
    ],
  },
  ios: {
    name: "iPhone and iPad",
    steps: [
      "In Safari, press the symbol at the left end of the address, then “Website Settings”, and set Camera and Microphone to “Allow”.",
      "In another browser, open the Settings app, choose that browser, and switch Camera and Microphone on.",
      "Come back and press “Try again”.",
    ],
  },
};

/** Where the system, not the browser, says no: by a part of the user agent's text. @type {[RegExp, string][]} */
const SYSTEM_SETTINGS = [
  [/Windows/, "Open Windows’ Settings, Privacy & security, and let desktop apps use the camera and the microphone."],
  [/Android/, "Open Android’s Settings, Apps, this browser, Permissions, and allow the camera and the microphone."],
  [/iPhone|iPad/, "Open the Settings app, choose this browser, and switch Camera and Microphone on."],
  [/Mac OS/, "Open System Settings, Privacy & Security, switch this browser on for the camera, the microphone and screen recording, then restart the browser."],
  [/./, "Allow this browser to use the camera and the microphone in the system’s privacy settings."],
];

/**
 * Tell which browser a user agent's text is of; what we do not know is taken for a Chromium, which most are.
 * @param {string} userAgent
 * @param {number} [touchPoints] an iPad calls itself a Mac, but no Mac has a touch screen
 * @returns {BrowserKind}
 */
export function browserKind(userAgent, touchPoints = 0) {
  if (/iPhone|iPad/.test(userAgent) || (/Macintosh/.test(userAgent) && touchPoints > 1)) return "ios";
  const isFirefox = /Firefox\//.test(userAgent);
  if (/Android/.test(userAgent)) return isFirefox ? "androidFirefox" : "androidChrome";
  if (isFirefox) return "firefox";
  return /Safari\//.test(userAgent) && !/Chrom(e|ium)\//.test(userAgent) ? "safari" : "chrome";
}

/**
 * Say why something could not be opened, and what to do.
 * @param {any} error what getUserMedia or getDisplayMedia threw
 * @param {Wanted} wanted
 * @param {{permission: PermissionState | null, userAgent: string, touchPoints?: number}} circumstances `permission` is
 *   the browser's answer after the refusal; null where it does not tell
 * @returns {Refusal}
 */
export function refusalOf(error, wanted, circumstances) {
  const what = NAMES[wanted];
  switch (error?.name) {
    case "NotAllowedError":
    case "SecurityError":
      return wanted === "screen" ? screenRefused(circumstances.userAgent) : deviceRefused(what, circumstances);
    case "NotFoundError":
      return {
        title: wanted === "both" ? "No camera or microphone was found" : `No ${what} was found`,
        text: wanted === "microphone" ? "Plug one in; it is noticed by itself." : "Plug one in and try again, or share your screen instead.",
      };
    case "NotReadableError":
    case "AbortError":
      return {
        title: `The ${what} is busy`,
        text: `Another program or tab is using it, or the system holds it back. Close that program and try again, or choose another ${wanted === "both" ? "one" : what}.`,
      };
    case "OverconstrainedError":
      return { title: `The chosen ${what} is gone`, text: "It was unplugged, or cannot do what was asked. Choose another one." };
    case "InvalidStateError":
      return { title: "One click is missing", text: "Browsers share a screen only after a click on the page. Try again." };
    default:
      return { title: `The ${what} could not be opened`, text: error?.message || "The browser did not say why." };
  }
}

/** @param {string} userAgent @returns {Refusal} */
function screenRefused(userAgent) {
  const settings = /Mac OS/.test(userAgent) ? ` If there was nothing to choose from: ${systemSettings(userAgent)}` : "";
  return { title: "No screen was shared", text: `Press “Screen” again and choose a window, a tab or the whole screen.${settings}` };
}

/**
 * @param {string} what
 * @param {{permission: PermissionState | null, userAgent: string, touchPoints?: number}} circumstances
 * @returns {Refusal}
 */
function deviceRefused(what, { permission, userAgent, touchPoints }) {
  if (permission === "granted") {
    return { title: `The system does not let the browser use the ${what}`, text: systemSettings(userAgent) };
  }
  if (permission === "prompt") {
    return {
      title: `The question about the ${what} was closed`,
      text: "The browser asks again when you press “Try again”: choose “Allow”. Nothing is sent before somebody watches.",
    };
  }
  const kind = browserKind(userAgent, touchPoints);
  const others = Object.entries(GUIDES).filter(([name]) => name !== kind);
  return {
    title: `The browser is not allowed to use the ${what}`,
    text: "It has been told to refuse this page, now or on an earlier visit, and does not ask again. You can allow it:",
    guide: GUIDES[kind],
    others: others.map(([, guide]) => guide),
  };
}

/** @param {string} userAgent */
function systemSettings(userAgent) {
  return SYSTEM_SETTINGS.find(([pattern]) => pattern.test(userAgent))?.[1] ?? "";
}

/**
 * Say why the browser offers no camera at all, or null where it does.
 * @param {Location} location
 * @returns {Refusal | null}
 */
export function insecureContextMessage(location) {
  if (globalThis.isSecureContext && navigator.mediaDevices) return null;
  const port = location.port ? `:${location.port}` : "";
  return {
    title: "Cameras need https or localhost",
    text: `Browsers give the camera only to safe addresses, and ${location.origin} is not one. Open https://${location.host}${location.pathname} if this server has a certificate, or http://localhost${port}${location.pathname} on the machine that it runs on.`,
  };
}
