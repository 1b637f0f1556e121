// @ts-check
/** What a person wants to watch, and the tiles that follow from it. */

import { Viewer } from "./aiosfu.js";
import { chooseTracks } from "./camera-choice.js";
import { Tile } from "./tile.js";

/** A tile stays this long after somebody stopped the camera, so that its end is seen. */
const STOPPED_TILE_MS = 4_000;
/** A tile stays this long after a loss, so that the camera finds its place again. */
const LOST_TILE_MS = 12_000;
/** Tiles that wait for devices that were asked as "all"; a fleet of thousands does not get a tile each before it answers. */
const MAX_WAITING_TILES = 25;
/** Reasons after which nobody expects the camera back at once. */
const STOPPED_REASONS = new Set(["unpublished", "left", "shutdown"]);

/** @typedef {import("./feed.js").Feed} Feed */

/** Wishes by device name, one viewer, and a tile for each device that is wanted. */
export class Watching {
  /** @type {Set<string>} wanted by name */ #wanted = new Set();
  /** @type {Set<string>} not wanted although all are */ #dismissed = new Set();
  /** @type {Map<string, {tile: Tile, timer: any}>} by device, so that one that comes back keeps its place */ #tiles = new Map();
  /** @type {Set<string>} did not take up their invitation */ #unanswered = new Set();
  /** Devices that were asked and have not started. @type {Set<string>} */ asked = new Set();
  #isAll = false;
  #isRoom;
  #link;
  #wall;
  #host;
  #changed;

  /**
   * @param {import("./deep-link.js").DeepLink} link
   * @param {import("./wall.js").Wall} wall
   * @param {import("./tile.js").TileHost} host
   * @param {() => void} changed
   */
  constructor(link, wall, host, changed) {
    this.#link = link;
    this.#wall = wall;
    this.#host = host;
    this.#changed = changed;
    this.#isRoom = link.room !== null;
    const options = { token: link.token, devices: [], ...(link.room === null ? {} : { room: link.room }) };
    this.viewer = new Viewer({ ...options, choose: (feed) => this.#choose(feed) });
    this.viewer.addEventListener("feed", ({ detail }) => this.#addFeed(detail));
    this.viewer.addEventListener("feedended", ({ detail }) => this.#endFeed(detail));
    this.viewer.addEventListener("invited", ({ detail }) => this.#invited(detail.invited));
    this.viewer.addEventListener("uninvited", ({ detail }) => this.#uninvited(detail.devices));
    this.viewer.addEventListener("devices", () => this.#devicesChanged());
  }

  /** Whether anything is wanted. */
  get isWatching() {
    return this.#isAll || this.#isRoom || this.#wanted.size > 0;
  }

  get isAll() {
    return this.#isAll;
  }

  /** Wanted by name. */
  get wanted() {
    return this.#wanted;
  }

  /** @param {string} device */
  wants(device) {
    return this.#wanted.has(device) || ((this.#isAll || this.#isRoom) && !this.#dismissed.has(device));
  }

  /** @param {string} device @returns {Tile | null} */
  tileOf(device) {
    return this.#tiles.get(device)?.tile ?? null;
  }

  /** Do what the page's link says. @returns {Promise<void>} */
  async followLink() {
    if (this.#link.all) await this.watchAll();
    else await Promise.all(this.#link.devices.map((device) => this.watch(device)));
  }

  /** @returns {Promise<void>} */
  async watchAll() {
    this.#isAll = true;
    this.#dismissed.clear();
    for (const feed of this.viewer.feeds) this.#resume(feed);
    this.#changed();
    await this.viewer.invite(null);
  }

  /** @param {string} device @returns {Promise<void>} */
  async watch(device) {
    this.#wanted.add(device);
    this.#dismissed.delete(device);
    this.#unanswered.delete(device);
    const feed = this.viewer.feeds.find((candidate) => candidate.device === device);
    if (feed) this.#resume(feed);
    else this.#tileFor(device).expect(this.#expectation(device));
    this.#changed();
    if (!feed) await this.viewer.invite([device]);
  }

  /** @param {string} device */
  unwatch(device) {
    this.#wanted.delete(device);
    this.#dismissed.add(device);
    this.asked.delete(device);
    this.viewer.uninvite([device]);
    this.viewer.feeds.find((feed) => keyOf(feed) === device)?.stop();
    this.#removeTile(device);
    // The cameras that are left to us go on otherwise, although nobody looks at them.
    if (!this.#isAll && !this.#isRoom && this.#wanted.size === 0) this.stop();
  }

  /** @param {Tile} tile */
  close(tile) {
    const entry = [...this.#tiles].find(([, candidate]) => candidate.tile === tile);
    if (entry) this.unwatch(entry[0]);
  }

  /** Watch nothing any more: leave the room, which lets the cameras go, and be there for the next wish. */
  stop() {
    this.viewer.stop();
    this.#isAll = this.#isRoom = false;
    this.#wanted.clear();
    this.#dismissed.clear();
    this.asked.clear();
    for (const key of [...this.#tiles.keys()]) this.#removeTile(key);
    this.connect();
  }

  /** Be connected, to know who is online. */
  connect() {
    this.viewer.watch().catch(() => {}); // said by the `state` event
  }

  // --- feeds ----------------------------------------------------------------------------------------------------------

  /** @param {Feed} feed */
  #choose(feed) {
    if (!this.wants(keyOf(feed))) return false;
    return chooseTracks(feed.tracks, this.#cameraOf(keyOf(feed))) ?? true;
  }

  /** @param {Feed} feed */
  #resume(feed) {
    if (feed.state === "idle") {
      feed.receive({ tracks: chooseTracks(feed.tracks, this.#cameraOf(keyOf(feed))) }).catch(() => {}); // its state tells
    }
    this.#addFeed(feed);
  }

  /** @param {string} device */
  #cameraOf(device) {
    return this.tileOf(device)?.camera ?? this.#link.camera;
  }

  /** @param {Feed} feed */
  #addFeed(feed) {
    const key = keyOf(feed);
    if (!this.wants(key)) return;
    this.asked.delete(key);
    const tile = this.#tileFor(key, feed);
    if (tile.feed !== feed) tile.attach(feed);
    this.#changed();
  }

  /** @param {Feed} feed */
  #endFeed(feed) {
    const key = keyOf(feed);
    const entry = this.#tiles.get(key);
    if (!entry || entry.tile.feed !== feed || feed.reason === "stopped") return;
    // Switched off over there: nobody wants that undone by itself.
    if (feed.reason === "unpublished") this.#wanted.delete(key);
    const stay = STOPPED_REASONS.has(feed.reason ?? "") ? STOPPED_TILE_MS : LOST_TILE_MS;
    entry.timer = setTimeout(() => this.#afterEnd(key), stay);
    this.#changed();
  }

  /** @param {string} key */
  #afterEnd(key) {
    const tile = this.tileOf(key);
    if (this.#wanted.has(key)) tile?.expect(this.#expectation(key));
    else this.#removeTile(key);
    this.#changed();
  }

  // --- devices --------------------------------------------------------------------------------------------------------

  /** @param {string[]} devices */
  #invited(devices) {
    for (const device of devices) {
      if (!this.wants(device)) continue;
      this.#unanswered.delete(device);
      this.asked.add(device);
      if (this.#tiles.size < MAX_WAITING_TILES) this.#tileFor(device).expect("asked");
    }
    this.#changed();
  }

  /** @param {string[]} devices */
  #uninvited(devices) {
    for (const device of devices) {
      this.asked.delete(device);
      this.#unanswered.add(device);
      const tile = this.tileOf(device);
      if (tile && !tile.feed && !this.#wanted.has(device)) this.#removeTile(device);
      else tile?.expect("unanswered");
    }
    this.#changed();
  }

  #devicesChanged() {
    const online = new Set(this.viewer.devices.map(({ device }) => device));
    for (const device of this.#unanswered) if (!online.has(device)) this.#unanswered.delete(device);
    for (const device of this.asked) if (!online.has(device)) this.asked.delete(device);
    for (const [device, { tile }] of this.#tiles) {
      if (tile.feed) continue;
      if (this.wants(device) && (online.has(device) || this.#wanted.has(device))) tile.expect(this.#expectation(device));
      else this.#removeTile(device);
    }
    this.#changed();
  }

  /** @param {string} device @returns {"asked" | "absent" | "unanswered"} */
  #expectation(device) {
    if (this.#unanswered.has(device)) return "unanswered";
    return this.viewer.devices.some((info) => info.device === device) ? "asked" : "absent";
  }

  // --- tiles ----------------------------------------------------------------------------------------------------------

  /** @param {string} key @param {Feed} [feed] @returns {Tile} */
  #tileFor(key, feed) {
    const known = this.#tiles.get(key);
    if (known) {
      clearTimeout(known.timer);
      return known.tile;
    }
    const device = feed && feed.device === null ? null : key;
    const tile = new Tile(device ?? `Camera ${feed?.id}`, device, this.#host, this.#link.camera);
    this.#tiles.set(key, { tile, timer: null });
    this.#wall.add(tile);
    return tile;
  }

  /** @param {string} key */
  #removeTile(key) {
    const entry = this.#tiles.get(key);
    if (!entry) return;
    clearTimeout(entry.timer);
    this.#tiles.delete(key);
    this.#wall.remove(entry.tile);
    this.#changed();
  }
}

/** @param {Feed} feed */
function keyOf(feed) {
  return feed.device ?? `feed ${feed.id}`;
}
