// @ts-check
/** What both pages need of the DOM: finding, filling, notices, copying, numbers in words. */

/** Notices shown at once; the oldest goes first. */
const MAX_NOTICES = 3;
/** How long "copied" is shown. */
const COPIED_FEEDBACK_MS = 1_600;
/** Above this a bitrate reads better in Mbit/s. */
const MEGABIT_FROM_KBPS = 10_000;

/**
 * Find an element that the page's markup promises.
 * @param {string} selector
 * @param {ParentNode} [root]
 * @returns {any} any, because the caller knows which element it is
 */
export function find(selector, root = document) {
  const element = root.querySelector(selector);
  if (!element) throw new Error(`The page has no ${selector}.`);
  return element;
}

/**
 * Make the first element of a template.
 * @param {string} id
 * @returns {HTMLElement}
 */
export function fromTemplate(id) {
  return find(`#${id}`).content.firstElementChild.cloneNode(true);
}

/**
 * Set an element's text, only when it changes: a screen reader repeats what is set anew.
 * @param {Element} element
 * @param {string} text
 */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/**
 * Show the state of the page in its header.
 * @param {"idle" | "busy" | "good" | "live" | "bad"} tone
 * @param {string} text
 */
export function showStatus(tone, text) {
  const status = find("#status");
  status.dataset.tone = tone;
  setText(status, text);
}

/**
 * Tell a person what went wrong. The same notice is not shown twice.
 * @param {import("./messages.js").Message} message
 */
export function showNotice({ title, text }) {
  const notices = find("#notices");
  const key = `${title}\n${text}`;
  for (const other of [...notices.children]) {
    if (other.dataset.key === key) return;
  }
  while (notices.children.length >= MAX_NOTICES) notices.firstElementChild.remove();
  const notice = fromTemplate("notice-template");
  notice.dataset.key = key;
  setText(find(".notice-title", notice), title);
  setText(find(".notice-text", notice), text);
  find("button", notice).addEventListener("click", () => notice.remove());
  notices.append(notice);
}

/** Take all notices away, because the person has started something anew. */
export function clearNotices() {
  find("#notices").replaceChildren();
}

/** Make every button with `data-copy` copy the text of the element that it names. */
export function enableCopying() {
  for (const button of document.querySelectorAll("button[data-copy]")) {
    button.addEventListener("click", () => copy(/** @type {HTMLButtonElement} */ (button)));
  }
}

/** @param {HTMLButtonElement} button */
async function copy(button) {
  const source = find(`#${button.dataset.copy}`);
  try {
    await navigator.clipboard.writeText(source.textContent);
  } catch {
    // Plain http has no clipboard: select the text, so that one key press copies it.
    getSelection()?.selectAllChildren(source);
    return;
  }
  const use = find("use", button);
  use.setAttribute("href", "/static/icons.svg#check");
  setTimeout(() => use.setAttribute("href", "/static/icons.svg#copy"), COPIED_FEEDBACK_MS);
}

/**
 * Show statistics in a `.numbers` list; an unknown number is a dash. The codecs are its tooltip.
 * @param {HTMLElement} list
 * @param {import("./stats.js").MediaStats | null} stats
 */
export function showNumbers(list, stats) {
  const texts = numberTexts(stats);
  const codecs = [stats?.videoCodec, stats?.audioCodec].flatMap((mimeType) => mimeType?.split("/")[1] ?? []);
  list.title = codecs.join(", ");
  for (const cell of list.querySelectorAll("dd[data-number]")) {
    const [value, unit] = texts[/** @type {string} */ (/** @type {HTMLElement} */ (cell).dataset.number)] ?? ["–", ""];
    if (cell.textContent === `${value}${unit}`) continue;
    cell.replaceChildren(value);
    if (!unit) continue;
    const small = document.createElement("span");
    small.className = "unit";
    small.textContent = unit;
    cell.append(small);
  }
}

/**
 * @param {import("./stats.js").MediaStats | null} stats
 * @returns {Record<string, [string, string] | null>} value and unit by name; null where unknown
 */
function numberTexts(stats) {
  if (!stats) return {};
  const { width, height, fps, kbps, roundTripMs, lossPercent } = stats;
  return {
    picture: width && height ? [`${width}×${height}`, ""] : null,
    fps: fps === null ? null : [String(Math.round(fps)), "\u00a0fps"],
    kbps: kbps === null ? null : bitrateText(kbps),
    roundTrip: roundTripMs === null ? null : [roundTripMs < 1 ? "<1" : roundTripMs.toFixed(0), "\u00a0ms"],
    loss: lossPercent === null ? null : [lossPercent === 0 ? "0" : lossPercent.toFixed(1), "\u00a0%"],
  };
}

/**
 * @param {number} kbps
 * @returns {[string, string]}
 */
function bitrateText(kbps) {
  return kbps >= MEGABIT_FROM_KBPS ? [(kbps / 1000).toFixed(1), "\u00a0Mbit/s"] : [kbps.toFixed(0), "\u00a0kbit/s"];
}
