// @ts-check
/** What the status page shows: gauges and lists of cards, each with its own series. */

import { graphPath } from "./graphs.js";
import { Series, bitrate, counted, duration } from "./status-series.js";
import { element, find, fromTemplate, setText } from "./ui.js";

/** For how long a button waits to be pressed again. */
const CONFIRM_MS = 4_000;
/** Bytes a second that are the full height of a plot at least: 500 kbit/s. */
const LEAST_RATE = 62_500;

/**
 * @typedef {import("./status-api.js").Server} Server
 * @typedef {[value: string, unit: string]} Figure
 * @typedef {object} GaugeKind
 * @property {string} name
 * @property {number} least what is the full height of its plot at least
 * @property {(series: Series, server: Server, before: Server | null) => void} take
 * @property {(value: number | null) => Figure} words
 */

const whole = /** @type {(value: number | null) => Figure} */ ((value) => [value === null ? "–" : value.toLocaleString("en"), ""]);

/** @type {GaugeKind[]} */
const GAUGES = [
  { name: "Viewers", least: 5, take: (series, server) => series.add(server.viewers), words: whole },
  { name: "Devices online", least: 5, take: (series, server) => series.add(server.devices), words: whole },
  { name: "From devices", least: LEAST_RATE, take: (series, server) => series.count(server.received.payload_bytes, server.now), words: bitrate },
  { name: "To viewers", least: LEAST_RATE, take: (series, server) => series.count(server.sent.payload_bytes, server.now), words: bitrate },
  { name: "Sent again", least: 2, take: (series, server, before) => series.add(resentPercent(server, before)), words: (value) => percent(value, 1) },
  { name: "CPU, of one core", least: 100, take: (series, server) => series.count(server.cpu_seconds * 100, server.now), words: (value) => percent(value, 0) },
  {
    name: "Event loop late by",
    least: 20,
    take: (series, server) => series.add(server.loop_lag_seconds * 1000),
    words: (value) => [value === null ? "–" : value < 1 ? "<1" : value.toFixed(0), "ms"],
  },
  { name: "Memory", least: 1e8, take: (series, server) => series.add(server.memory_bytes), words: (value) => [value === null ? "–" : (value / 1e6).toFixed(0), "MB"] },
];

/** @param {number | null} value @param {number} digits @returns {Figure} */
function percent(value, digits) {
  return [value === null ? "–" : value.toFixed(digits), "%"];
}

/** @param {Server} server @param {Server | null} before */
function resentPercent(server, before) {
  if (before === null) return null;
  const sent = server.sent.packets - before.sent.packets;
  const again = server.sent.packets_retransmitted - before.sent.packets_retransmitted;
  return sent > 0 && again >= 0 ? (100 * again) / sent : null;
}

/** @param {Element} place @param {Figure[]} figures */
function showFigures(place, figures) {
  const words = figures.map(([value, unit]) => `${value}|${unit}`).join("\n");
  if (/** @type {HTMLElement} */ (place).dataset.shown === words) return;
  /** @type {HTMLElement} */ (place).dataset.shown = words;
  place.replaceChildren(
    ...figures.map(([value, unit]) => element("span", {}, value, ...(unit ? [element("span", { className: "unit" }, `\u00a0${unit}`)] : []))),
  );
}

/** @param {Element} root @param {Series} series @param {number} least */
function draw(root, series, least) {
  find(".plot path", root).setAttribute("d", graphPath(series.readings, least));
}

/** The server's gauges and drops. */
export class ServerView {
  /** @type {Server | null} */ #before = null;
  #gauges = GAUGES.map((kind) => {
    const root = fromTemplate("gauge-template");
    setText(find(".gauge-name", root), kind.name);
    find("#gauges").append(root);
    return { kind, root, series: new Series() };
  });

  /** @param {Server} server */
  show(server) {
    setText(find("#server-words"), `aiosfu ${server.version}, up for ${duration(server.uptime_seconds)}`);
    for (const { kind, root, series } of this.#gauges) {
      kind.take(series, server, this.#before);
      showFigures(find(".gauge-value", root), [kind.words(series.latest)]);
      draw(root, series, kind.least);
    }
    this.#before = server;
    const drops = Object.entries(server.drops).filter(([, count]) => count > 0);
    find("#drops").hidden = drops.length === 0;
    find("#drop-list").replaceChildren(
      ...drops.map(([name, count]) => element("div", {}, element("dt", {}, name.replaceAll("_", " ")), element("dd", {}, count.toLocaleString("en")))),
    );
  }
}

/**
 * One thing that can be ended, with its rate over time.
 * @template Item
 * @typedef {object} CardKind
 * @property {string} template
 * @property {(item: Item) => string | number} key
 * @property {(item: Item) => string} title
 * @property {(item: Item) => string} words
 * @property {(item: Item) => number} bytes a counter
 * @property {(item: Item, rate: number | null) => Figure[]} figures
 * @property {[act: string, question: string]} end what the button says, and what it asks before it does it
 */

/**
 * A list of cards that follows a list of items.
 * @template Item
 */
export class CardList {
  /** @type {Map<string | number, {root: HTMLElement, series: Series, item: Item}>} */ #cards = new Map();
  #list;
  #kind;
  #end;

  /**
   * @param {HTMLElement} list
   * @param {CardKind<Item>} kind
   * @param {(item: Item) => void} end what to do when a button has been pressed twice
   */
  constructor(list, kind, end) {
    this.#list = list;
    this.#kind = kind;
    this.#end = end;
  }

  /**
   * @param {Item[]} items
   * @param {number} at seconds
   */
  show(items, at) {
    const kind = this.#kind;
    const shown = new Set(items.map(kind.key));
    for (const [key, { root }] of this.#cards) {
      if (shown.has(key)) continue;
      root.remove();
      this.#cards.delete(key);
    }
    for (const item of items) {
      const card = this.#cards.get(kind.key(item)) ?? this.#make(item);
      card.item = item;
      card.series.count(kind.bytes(item), at);
      setText(find(".card-words", card.root), kind.words(item));
      showFigures(find(".card-figures", card.root), kind.figures(item, card.series.latest));
      draw(card.root, card.series, LEAST_RATE);
    }
  }

  /** @param {Item} item @returns {HTMLElement | undefined} */
  cardOf(item) {
    return this.#cards.get(this.#kind.key(item))?.root;
  }

  /** @param {Item} item */
  #make(item) {
    const root = fromTemplate(this.#kind.template);
    const card = { root, series: new Series(), item };
    setText(find("h3, h4", root), this.#kind.title(item));
    const [act, question] = this.#kind.end;
    confirmed(find("[data-act=end]", root), act, question, this.#kind.title(item), () => this.#end(card.item));
    this.#cards.set(this.#kind.key(item), card);
    this.#list.append(root);
    return card;
  }
}

/**
 * Have a button ask before it acts: the second press within some seconds is the answer.
 * @param {HTMLButtonElement} button
 * @param {string} act
 * @param {string} question
 * @param {string} what of whom it is the button, for those who do not see beside what it stands
 * @param {() => void} then
 */
function confirmed(button, act, question, what, then) {
  /** @type {any} */ let timer = null;
  const rest = () => {
    clearTimeout(timer);
    timer = null;
    setText(button, act);
    button.setAttribute("aria-label", `${act} ${what}`);
    button.classList.remove("button-strong");
  };
  button.addEventListener("click", () => {
    if (timer !== null) {
      rest();
      then();
      return;
    }
    setText(button, question);
    button.setAttribute("aria-label", `${question} ${what}`);
    button.classList.add("button-strong");
    timer = setTimeout(rest, CONFIRM_MS);
  });
  button.addEventListener("blur", rest);
  rest();
}

/** @type {CardKind<import("./status-api.js").Room>} */
export const ROOM = {
  template: "room-template",
  key: (room) => room.room_id,
  title: (room) => `Room ${room.room_id}`,
  words: (room) => `Opened by ${room.creator}, ${duration(room.age_seconds)} ago`,
  bytes: (room) => room.sent_payload_bytes,
  figures: (room, rate) => [
    bitrate(rate),
    [String(room.webs), room.webs === 1 ? "web client" : "web clients"],
    [String(room.devices), room.devices === 1 ? "device" : "devices"],
    [String(room.subscriptions), room.subscriptions === 1 ? "subscription" : "subscriptions"],
  ],
  end: ["Close", "Close it?"],
};

/** @type {CardKind<import("./status-api.js").Feed>} */
export const FEED = {
  template: "feed-template",
  key: (feed) => feed.feed,
  title: (feed) => feed.client_id,
  words: (feed) => `Feed ${feed.feed}, ${feed.state === "flowing" ? `for ${duration(feed.age_seconds)}` : "no media yet"}; ${tracks(feed)}`,
  bytes: (feed) => feed.tracks.reduce((sum, track) => sum + track.payload_bytes, 0),
  figures: (feed, rate) => [bitrate(rate), lost(feed.tracks), path(feed.peer)],
  end: ["Stop", "Stop it?"],
};

/** @type {CardKind<import("./status-api.js").Subscription>} */
export const WATCHER = {
  template: "watcher-template",
  key: (subscription) => subscription.subscription,
  title: (subscription) => subscription.client_id,
  words: (subscription) => `In room ${subscription.room_id} for ${duration(subscription.age_seconds)}`,
  bytes: (subscription) => subscription.tracks.reduce((sum, track) => sum + track.payload_bytes, 0),
  figures: (subscription, rate) => [bitrate(rate), lost(subscription.tracks), roundTrip(subscription), path(subscription.peer)],
  end: ["Disconnect", "Disconnect?"],
};

/** @param {import("./status-api.js").Feed} feed */
function tracks(feed) {
  return feed.tracks.map(({ codec, width, height }) => (width && height ? `${codec} ${width}×${height}` : codec)).join(", ") || "no tracks";
}

/** @param {{packets: number, packets_lost: number}[]} all @returns {Figure} */
function lost(all) {
  const missing = Math.max(0, all.reduce((sum, track) => sum + track.packets_lost, 0));
  const came = all.reduce((sum, track) => sum + track.packets, 0);
  const share = came + missing === 0 ? 0 : (100 * missing) / (came + missing);
  return [share === 0 ? "0" : share.toFixed(2), "% lost"];
}

/** @param {import("./status-api.js").Subscription} subscription @returns {Figure} */
function roundTrip({ tracks: all }) {
  const known = all.flatMap((track) => track.round_trip_seconds ?? []);
  if (known.length === 0) return ["–", "ms round trip"];
  const milliseconds = 1000 * Math.max(...known);
  return [milliseconds < 1 ? "<1" : milliseconds.toFixed(0), "ms round trip"];
}

/** @param {import("./status-api.js").Peer | null} peer @returns {Figure} */
function path(peer) {
  return [peer?.protocol?.toUpperCase() ?? "not connected", peer?.remote_address ? `from ${peer.remote_address.replace(" ", " port ")}` : ""];
}

/** @param {number} shown @param {number} all */
export function shownOf(shown, all) {
  return shown < all ? `the first ${shown} of ${all.toLocaleString("en")}` : counted(all, "in all", "in all");
}
