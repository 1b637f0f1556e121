// @ts-check
/** Where tiles go: a grid in which all of them are as large as they can be, or one large and the others beside it. */

/** Between tiles; as `--wall-gap`. */
const GAP_PX = 10;
/** A tile narrower than this shows nothing any more: the page scrolls instead. */
const MIN_TILE_PX = 230;
/** Under this a window is a phone's: pictures in one column, from five on in two. */
const PHONE_PX = 640;
const PHONE_ONE_COLUMN_UP_TO = 4;
/** The column of small tiles beside the spotlight. */
const STRIP_PX = 220;
/** Small tiles below the spotlight share its width; narrower than this they go beside it. */
const MIN_STRIP_TILE_PX = 150;
const RATIO = 16 / 9;

/**
 * How to lay `count` tiles of one shape out.
 * @param {number} count
 * @param {number} width of the wall, px
 * @param {number} height of the window's part that the wall may fill without scrolling, px
 * @returns {{columns: number, tileWidth: number}} px
 */
export function gridFor(count, width, height) {
  if (width < PHONE_PX) {
    const columns = count <= PHONE_ONE_COLUMN_UP_TO ? 1 : 2;
    return { columns, tileWidth: columnWidth(columns, width) };
  }
  let best = { columns: 1, tileWidth: 0 };
  for (let columns = 1; columns <= count; columns += 1) {
    const rows = Math.ceil(count / columns);
    const rowHeight = (height - GAP_PX * (rows - 1)) / rows;
    const tileWidth = Math.floor(Math.min(columnWidth(columns, width), rowHeight * RATIO));
    if (tileWidth > best.tileWidth) best = { columns, tileWidth };
  }
  if (best.tileWidth >= MIN_TILE_PX || count === 0) return best;
  const columns = Math.max(1, Math.min(count, Math.floor((width + GAP_PX) / (MIN_TILE_PX + GAP_PX))));
  return { columns, tileWidth: columnWidth(columns, width) };
}

/**
 * How large the spotlight can be, and where that leaves the others.
 * @param {number} others how many tiles there are besides
 * @param {number} width of the wall, px
 * @param {number} height of the window's part that the wall may fill without scrolling, px
 * @returns {{side: "beside" | "below", width: number}} px
 */
export function spotlightFor(others, width, height) {
  if (width < PHONE_PX) return { side: "below", width };
  const beside = Math.floor(Math.min(others === 0 ? width : width - STRIP_PX - GAP_PX, height * RATIO));
  if (others === 0) return { side: "beside", width: beside };
  // One row of small tiles as wide as the spotlight: its height and theirs are the wall's.
  const gapsOfRow = GAP_PX * (others - 1);
  const fitting = ((height - GAP_PX) * RATIO + gapsOfRow / others) / (1 + 1 / others);
  const below = Math.floor(Math.min(width, fitting));
  const isBelow = below > beside && (below - gapsOfRow) / others >= MIN_STRIP_TILE_PX;
  return isBelow ? { side: "below", width: below } : { side: "beside", width: beside };
}

/** @param {number} columns @param {number} width */
function columnWidth(columns, width) {
  return Math.floor((width - GAP_PX * (columns - 1)) / columns);
}

/** "drone-2" before "drone-10". @type {(one: string, other: string) => number} */
export const byName = new Intl.Collator("en", { numeric: true }).compare;

/** @typedef {import("./tile.js").Tile} Tile */

/** The tiles in their order. Elements are never moved: a video that is moved in the document stops. */
export class Wall {
  /** @type {Tile[]} */ #tiles = [];
  /** @type {Tile | null} */ #spotlight = null;
  /** @type {Tile | null} what the keyboard works on when no tile has the focus */ #active = null;
  #width = 0;
  #windowHeight = innerHeight; // kept, because asking lays the page out
  #isArranging = false;
  #element;
  #observer = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      this.#tiles.find((tile) => tile.element === target)?.setInView(isIntersecting);
    }
  });

  /** @param {HTMLElement} element */
  constructor(element) {
    this.#element = element;
    // The parent's width: the wall's own follows from what we set.
    new ResizeObserver(([entry]) => {
      this.#width = entry.contentRect.width;
      this.#arrange();
    }).observe(/** @type {HTMLElement} */ (element.parentElement));
    addEventListener("resize", () => {
      this.#windowHeight = innerHeight;
      this.#arrange();
    });
    element.addEventListener("focusin", (event) => {
      this.#active = this.#tiles.find((tile) => tile.element.contains(/** @type {Node} */ (event.target))) ?? this.#active;
    });
  }

  get tiles() {
    return this.#tiles;
  }

  get spotlight() {
    return this.#spotlight;
  }

  /** The tile that a key is meant for. */
  get active() {
    return this.#active ?? this.#spotlight ?? this.#tiles[0] ?? null;
  }

  /** Put it in its place by name, so that a camera is where it was yesterday. @param {Tile} tile */
  add(tile) {
    const at = this.#tiles.findIndex((other) => byName(tile.name, other.name) < 0);
    const next = at < 0 ? null : this.#tiles[at];
    this.#tiles.splice(next ? at : this.#tiles.length, 0, tile);
    this.#element.insertBefore(tile.element, next?.element ?? null);
    this.#observer.observe(tile.element);
    this.#arrangeSoon();
  }

  /** @param {Tile} tile */
  remove(tile) {
    this.#observer.unobserve(tile.element);
    this.#tiles = this.#tiles.filter((other) => other !== tile);
    if (this.#active === tile) this.#active = null;
    if (this.#spotlight === tile) this.#spotlight = this.#tiles[0] ?? null;
    tile.remove();
    this.#arrangeSoon();
  }

  /** @param {Tile | null} tile null is the grid */
  setSpotlight(tile) {
    this.#spotlight = tile;
    this.#arrange();
    for (const other of this.#tiles) other.update();
  }

  /** Give the focus to the tile so many further on. @param {number} step */
  focus(step) {
    const at = this.#tiles.indexOf(/** @type {Tile} */ (this.active));
    this.#tiles[Math.max(0, Math.min(this.#tiles.length - 1, at + step))]?.element.focus();
  }

  /** How many tiles are in a row; for moving up and down. */
  get columns() {
    return this.#spotlight ? 1 : gridFor(this.#tiles.length, this.#width, this.#height).columns;
  }

  get #height() {
    // From the stylesheet: the header, the stage's padding, and a phone's toolbar, which scrolls nothing there.
    return this.#windowHeight - (this.#width < PHONE_PX ? 140 : 92);
  }

  /** Once for all tiles that come or go in one turn; before anything of it is painted. */
  #arrangeSoon() {
    if (this.#isArranging) return;
    this.#isArranging = true;
    queueMicrotask(() => {
      this.#isArranging = false;
      this.#arrange();
    });
  }

  #arrange() {
    const count = this.#tiles.length;
    const { style, dataset } = this.#element;
    dataset.count = String(count);
    dataset.layout = this.#spotlight ? "spotlight" : "grid";
    for (const tile of this.#tiles) tile.element.toggleAttribute("data-spotlight", tile === this.#spotlight);
    if (this.#width === 0) return;
    const { columns, tileWidth } = gridFor(count, this.#width, this.#height);
    style.setProperty("--columns", String(columns));
    style.setProperty("--tile-width", `${tileWidth}px`);
    const spotlight = spotlightFor(count - 1, this.#width, this.#height);
    dataset.strip = spotlight.side;
    style.setProperty("--spotlight-width", `${spotlight.width}px`);
    style.setProperty("--others", String(Math.max(1, count - 1)));
  }
}
