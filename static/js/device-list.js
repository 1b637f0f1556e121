// @ts-check
/** The list of devices: who is online, what they do, and one click to watch. */

import { element, find, setText } from "./ui.js";

/** Rows shown at once; more are found by name. A list of thousands would be slow and nobody reads it. */
const MAX_ROWS = 100;
/** From this many on there is a field to find one by name. */
const FILTER_FROM = 8;

/**
 * What a row says: `watched` is the page's own business, the rest is the server's.
 * @typedef {"available" | "busy" | "starting" | "live" | "paused" | "trouble" | "offline"} RowState
 * @typedef {{device: string, state: RowState, words: string, isWatched: boolean}} Row
 */

/** Keeps rows in place while their words change, so that focus and a finger on its way down are not lost. */
export class DeviceListView {
  /** @type {Map<string, HTMLElement>} by device */ #items = new Map();
  /** @type {Row[]} */ #rows = [];
  #isKnown = false;
  #list = find("#camera-list");
  #filter = find("#camera-filter");
  #toggled;

  /** @param {(device: string) => void} toggled a row was clicked */
  constructor(toggled) {
    this.#toggled = toggled;
    this.#filter.addEventListener("input", () => this.#render());
  }

  /** @param {Row[]} rows by name @param {boolean} isKnown whether the server has told who is online */
  show(rows, isKnown) {
    this.#rows = rows;
    this.#isKnown = isKnown;
    this.#render();
  }

  #render() {
    const online = this.#rows.filter((row) => row.state !== "offline").length;
    setText(find("#camera-count"), online === 0 ? "" : `${online} online`);
    this.#filter.hidden = this.#rows.length < FILTER_FROM;
    const wanted = this.#filter.hidden ? "" : this.#filter.value.trim().toLowerCase();
    const found = this.#rows.filter(({ device }) => device.toLowerCase().includes(wanted));
    const shown = found.slice(0, MAX_ROWS);
    this.#place(shown);
    const none = find("#camera-none");
    const hidden = found.length - shown.length;
    none.hidden = shown.length > 0 && hidden === 0;
    setText(none, hidden > 0 ? `and ${hidden} more: find them by name` : this.#emptyText(wanted));
  }

  /** @param {string} wanted */
  #emptyText(wanted) {
    if (wanted) return "None by that name.";
    return this.#isKnown ? "No camera is online." : "Listed once the server answers.";
  }

  /** @param {Row[]} rows */
  #place(rows) {
    const names = new Set(rows.map(({ device }) => device));
    for (const [device, item] of this.#items) {
      if (names.has(device)) continue;
      item.remove();
      this.#items.delete(device);
    }
    /** @type {Element | null} */ let before = this.#list.firstElementChild;
    for (const row of rows) {
      const item = this.#items.get(row.device) ?? this.#make(row.device);
      if (item === before) before = before.nextElementSibling;
      else this.#list.insertBefore(item, before);
      this.#fill(item, row);
    }
  }

  /** @param {string} device */
  #make(device) {
    const name = element("span", { className: "camera-name" }, device);
    const words = element("span", { className: "camera-state" });
    const button = element("button", { type: "button", className: "camera-row" }, element("span", { className: "camera-dot" }), name, words);
    button.dataset.device = device;
    button.addEventListener("click", () => this.#toggled(device));
    const item = element("li", {}, button);
    this.#items.set(device, item);
    return item;
  }

  /** @param {HTMLElement} item @param {Row} row */
  #fill(item, row) {
    const button = find("button", item);
    if (button.dataset.state !== row.state) button.dataset.state = row.state;
    button.setAttribute("aria-pressed", String(row.isWatched));
    button.title = row.isWatched ? `Stop watching ${row.device}` : `Watch ${row.device}`;
    setText(find(".camera-state", item), row.words);
  }
}
