// @ts-check
/** What both pages need of the DOM: finding, filling, notices, copying, numbers in words. */

/** Notices shown at once; the oldest goes first. */
const MAX_NOTICES = 3;
/** How long "copied" is shown. */
const COPIED_FEEDBACK_MS = 1_600;
/** A browser has begun to read a download's blob by then. */
const DOWNLOAD_START_MS = 60_000;
const SVG = "http://www.w3.org/2000/svg";
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
 * Make an element.
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Partial<HTMLElementTagNameMap[Tag]>} [properties]
 * @param {...(Node | string)} children
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

/**
 * Make one of the icons of `icons.svg`.
 * @param {string} name
 * @param {string} [className]
 */
export function icon(name, className = "icon") {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", className);
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `/static/icons.svg#${name}`);
  svg.append(use);
  return svg;
}

/**
 * Save a file where the browser saves files.
 * @param {Blob} blob
 * @param {string} name
 */
export function download(blob, name) {
  const url = URL.createObjectURL(blob);
  element("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), DOWNLOAD_START_MS);
}

/**
 * Put text on the clipboard.
 * @param {string} text
 * @returns {Promise<boolean>} false where the browser has no clipboard for this page, as on plain http
 */
export async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false;
  }
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
 * @param {"error" | "advice"} [kind]
 */
export function showNotice({ title, text }, kind = "error") {
  const notices = find("#notices");
  const key = `${title}\n${text}`;
  for (const other of [...notices.children]) {
    if (other.dataset.key === key) return;
  }
  while (notices.children.length >= MAX_NOTICES) notices.firstElementChild.remove();
  const notice = fromTemplate("notice-template");
  notice.dataset.key = key;
  notice.classList.toggle("notice-advice", kind === "advice");
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
  if (!(await copyText(source.textContent))) {
    // Plain http has no clipboard: select the text, so that one key press copies it.
    getSelection()?.selectAllChildren(source);
    return;
  }
  const use = find("use", button);
  use.setAttribute("href", "/static/icons.svg#check");
  setTimeout(() => use.setAttribute("href", "/static/icons.svg#copy"), COPIED_FEEDBACK_MS);
}

/** @param {number} milliseconds @returns {string} such as `1:05` */
export function clockText(milliseconds) {
  const seconds = Math.floor(milliseconds / 1_000);
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
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
