// @ts-check
/** The keyboard, and the sheet that says what it does. */

import { ACTIONS, runAction } from "./tile-actions.js";
import { keyName } from "./tile-menu.js";
import { element, find } from "./ui.js";

/** Where letters are letters. */
const TYPING = "input, select, textarea, [contenteditable]";
/** Where the space bar presses what has the focus. */
const PRESSABLE = "button, a, summary";

/**
 * @typedef {object} PageKey
 * @property {string} key
 * @property {string} help
 * @property {() => void} run
 */

/**
 * Listen to the keyboard and fill the help sheet.
 * @param {import("./wall.js").Wall} wall
 * @param {PageKey[]} pageKeys what the page does besides the tiles' actions
 */
export function enableShortcuts(wall, pageKeys) {
  const sheet = /** @type {HTMLDialogElement} */ (find("#help"));
  const openHelp = () => sheet.open || sheet.showModal();
  const all = [...pageKeys, { key: "?", help: "This help", run: openHelp }];
  fillSheet(all);
  find("#open-help").addEventListener("click", openHelp);
  find("#close-help").addEventListener("click", () => sheet.close());
  // A click beside the sheet closes it.
  sheet.addEventListener("click", (event) => event.target === sheet && sheet.close());
  addEventListener("keydown", (event) => {
    if (isMeantForElse(event)) return;
    if (handleKey(event.key.toLowerCase(), wall, all)) event.preventDefault();
  });
}

/** @param {KeyboardEvent} event */
function isMeantForElse(event) {
  const target = /** @type {Element} */ (event.target);
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return true;
  if (target.closest("dialog, [popover]") || target.closest(TYPING)) return true;
  return (event.key === " " || event.key === "Enter") && target.closest(PRESSABLE) !== null;
}

/**
 * @param {string} key
 * @param {import("./wall.js").Wall} wall
 * @param {PageKey[]} pageKeys
 * @returns {boolean} whether it means something
 */
function handleKey(key, wall, pageKeys) {
  const pageKey = pageKeys.find((candidate) => candidate.key.toLowerCase() === key);
  if (pageKey) {
    pageKey.run();
    return true;
  }
  const step = { arrowright: 1, arrowleft: -1, arrowdown: wall.columns, arrowup: -wall.columns }[key];
  if (step && wall.tiles.length > 1) {
    wall.focus(step);
    return true;
  }
  const numbered = /^[1-9]$/.test(key) ? wall.tiles[Number(key) - 1] : undefined;
  if (numbered) {
    numbered.host.spotlight(numbered);
    numbered.element.focus();
    return true;
  }
  const action = ACTIONS.find((candidate) => candidate.key === (key === "enter" ? "s" : key));
  if (!action || !wall.active) return false;
  runAction(action.id, wall.active);
  return true;
}

/** @param {PageKey[]} pageKeys */
function fillSheet(pageKeys) {
  const line = (/** @type {string[]} */ keys, /** @type {string} */ help) =>
    element(
      "div",
      {},
      element("dt", {}, ...keys.flatMap((key) => [element("kbd", {}, keyName(key)), " "])),
      element("dd", {}, help),
    );
  find("#help-tile").replaceChildren(...ACTIONS.map(({ key, help }) => line([key], help)));
  find("#help-page").replaceChildren(
    line(["Arrows"], "Go from camera to camera"),
    line(["1–9"], "Spotlight the first camera, and so on to the ninth"),
    ...pageKeys.map(({ key, help }) => line([key === "Escape" ? "Esc" : key], help)),
  );
}
