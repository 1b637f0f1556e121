// @ts-check
/** What a screen reader is told while nobody has moved the focus; many things at once become one sentence. */

import { setText } from "./ui.js";

/** News of this long are told together: twenty cameras that start would otherwise be twenty interruptions. */
const GATHER_MS = 700;
/** More than this many are only counted. */
const MAX_NAMED = 3;

/** Fills one live region. */
export class Announcer {
  /** @type {Map<string, string>} what is new, by whom; the last word on each counts */ #news = new Map();
  /** @type {any} */ #timer = null;
  #region;

  /** @param {HTMLElement} region has `aria-live` */
  constructor(region) {
    this.#region = region;
  }

  /** @param {string} who @param {string} what */
  say(who, what) {
    this.#news.set(who, what);
    this.#timer ??= setTimeout(() => this.#tell(), GATHER_MS);
  }

  #tell() {
    this.#timer = null;
    const news = [...this.#news];
    this.#news.clear();
    setText(this.#region, `${sentences(news)}.`);
  }
}

/** @param {[string, string][]} news */
function sentences(news) {
  if (news.length <= MAX_NAMED) return news.map(([who, what]) => `${who} ${what}`).join(". ");
  /** @type {Map<string, number>} */ const counts = new Map();
  for (const [, what] of news) counts.set(what, (counts.get(what) ?? 0) + 1);
  return [...counts].map(([what, count]) => `${count === 1 ? "1 camera" : `${count} cameras`}: ${what}`).join(". ");
}
