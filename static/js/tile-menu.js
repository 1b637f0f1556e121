// @ts-check
/** The one menu that all tiles share, over everything else of the page. */

import { ACTIONS } from "./tile-actions.js";
import { element, icon } from "./ui.js";

/** From the button to the menu. */
const GAP_PX = 6;
/** From the window's edge. */
const MARGIN_PX = 8;

/** Shows what can be done with a tile. */
export class TileMenu {
  /** @type {HTMLElement} */ #root;
  /** @type {HTMLElement | null} what opened it */ #opener = null;

  /** @param {HTMLElement} root an element with the `popover` attribute */
  constructor(root) {
    this.#root = root;
    root.addEventListener("toggle", (event) => {
      const isOpen = /** @type {ToggleEvent} */ (event).newState === "open";
      this.#opener?.setAttribute("aria-expanded", String(isOpen));
    });
    root.addEventListener("keydown", (event) => this.#move(event));
  }

  /**
   * Open it for a tile, beside the button that asked.
   * @param {import("./tile.js").Tile} tile
   * @param {HTMLElement} opener
   */
  open(tile, opener) {
    this.#opener = opener;
    this.#root.setAttribute("aria-label", `${tile.name}: what to do`);
    this.#root.replaceChildren(...ACTIONS.map((action) => this.#item(action, tile)));
    this.#root.showPopover();
    this.#place(opener.getBoundingClientRect());
    /** @type {HTMLElement | null} */ (this.#root.querySelector("button:enabled"))?.focus();
  }

  /** @param {import("./tile-actions.js").Action} action @param {import("./tile.js").Tile} tile */
  #item(action, tile) {
    const label = element("span", { className: "label" }, action.label(tile));
    const key = element("kbd", {}, keyName(action.key));
    const item = element("button", { type: "button", className: "menu-item" }, icon(action.icon), label, key);
    item.setAttribute("role", "menuitem");
    item.dataset.action = action.id;
    item.disabled = !action.canRun(tile);
    item.addEventListener("click", () => {
      this.#root.hidePopover();
      action.run(tile);
      this.#opener?.focus();
    });
    return item;
  }

  /** @param {DOMRect} button */
  #place(button) {
    const { offsetWidth: width, offsetHeight: height } = this.#root;
    const left = Math.max(MARGIN_PX, Math.min(button.right - width, innerWidth - width - MARGIN_PX));
    const above = button.top - GAP_PX - height;
    const below = Math.min(button.bottom + GAP_PX, innerHeight - height - MARGIN_PX);
    this.#root.style.left = `${left}px`;
    this.#root.style.top = `${Math.max(MARGIN_PX, above >= MARGIN_PX ? above : below)}px`;
  }

  /** @param {KeyboardEvent} event */
  #move(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    event.stopPropagation();
    const items = /** @type {HTMLButtonElement[]} */ ([...this.#root.querySelectorAll("button:enabled")]);
    const at = items.indexOf(/** @type {any} */ (document.activeElement));
    items[(at + step + items.length) % items.length]?.focus();
  }
}

/** @param {string} key */
export function keyName(key) {
  return key === " " ? "Space" : key.length === 1 ? key.toUpperCase() : key;
}
