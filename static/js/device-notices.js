// @ts-check
/** The device page's notice for what the browser refused: words, steps, and a button that tries again. */

import { permissionFor } from "./capture.js";
import { refusalOf } from "./device-refusals.js";
import { find, fromTemplate, setText } from "./ui.js";

/** @typedef {import("./device-refusals.js").Refusal} Refusal */
/** @typedef {import("./device-refusals.js").Guide} Guide */

/**
 * Explain why something could not be opened; it takes the place of an earlier explanation.
 * @param {unknown} error
 * @param {import("./device-refusals.js").Wanted} wanted
 * @param {() => void} tryAgain
 */
export async function explainRefusal(error, wanted, tryAgain) {
  const kind = wanted === "microphone" ? "audio" : "video";
  const permission = wanted === "screen" ? null : await permissionOf(wanted, kind);
  const { userAgent, maxTouchPoints: touchPoints } = navigator;
  showRefusal(refusalOf(error, wanted, { permission, userAgent, touchPoints }), tryAgain);
}

/**
 * Show a refusal's words and, where there is something to try, its button.
 * @param {Refusal} refusal
 * @param {(() => void) | null} tryAgain
 */
export function showRefusal({ title, text, guide, others }, tryAgain) {
  clearRefusal();
  const notice = fromTemplate("refusal-template");
  setText(find(".notice-title", notice), title);
  setText(find(".notice-text", notice), text);
  fillGuide(find(".guide", notice), guide);
  const more = find(".guide-others", notice);
  more.hidden = !others;
  for (const other of others ?? []) {
    const heading = Object.assign(document.createElement("h3"), { textContent: other.name });
    const list = document.createElement("ol");
    fillGuide(list, other);
    more.append(heading, list);
  }
  const again = find(".notice-again", notice);
  again.hidden = !tryAgain;
  again.addEventListener("click", () => tryAgain?.());
  find(".button-icon", notice).addEventListener("click", () => notice.remove());
  find("#notices").prepend(notice);
}

/** Take the explanation away, because what was refused is there. */
export function clearRefusal() {
  for (const notice of document.querySelectorAll(".notice-refusal")) notice.remove();
}

/** Take away what the server or the connection had to say; what the browser refused still holds. */
export function clearServerNotices() {
  for (const notice of document.querySelectorAll(".notice:not(.notice-refusal)")) notice.remove();
}

/** Of both, the one that is refused says more. @param {string} wanted @param {import("./capture.js").Kind} kind */
async function permissionOf(wanted, kind) {
  if (wanted !== "both") return permissionFor(kind);
  const both = await Promise.all([permissionFor("video"), permissionFor("audio")]);
  return both.find((state) => state === "denied") ?? both.find((state) => state === "prompt") ?? both[0];
}

/** @param {HTMLElement} list @param {Guide | undefined} guide */
function fillGuide(list, guide) {
  list.hidden = !guide;
  list.append(...(guide?.steps ?? []).map((text) => Object.assign(document.createElement("li"), { textContent: text })));
}
