// @ts-check
/** An inspection as a person reads it: on the inspector's own page and in the viewer page's panel. */

import { timeText } from "./inspection.js";
import { copyText, download, element, icon, setText } from "./ui.js";

/** How often the numbers are read while it is shown. */
const REFRESH_MS = 1_000;
/** How long "Copied" is shown. */
const COPIED_MS = 1_600;
/** Events drawn; the report has all that are kept. */
const MAX_DRAWN_EVENTS = 80;

/** @typedef {import("./inspection.js").PeerRecord} PeerRecord */

/** Shows one inspection inside one element. */
export class InspectionView {
  /** @type {PeerRecord | null} chosen by hand; null is the newest */ #chosen = null;
  /** @type {any} */ #timer = null;
  #isDirty = true;
  #inspection;
  #signalling = element("p", { className: "inspect-signalling" });
  #peers = element("select", { className: "select" });
  #states = element("dl", { className: "facts" });
  #timeline = element("ol", { className: "timeline" });
  #path = element("dl", { className: "facts" });
  #codecs = element("ul", { className: "facts-list" });
  #remote = sdpBox("Remote description");
  #local = sdpBox("Local description");
  #events = element("ol", { className: "events" });
  /** What there is only with a media connection. */ #ofPeer;
  #copy = element("button", { type: "button", className: "button button-primary", id: "copy-report" });

  /** @param {HTMLElement} root @param {import("./inspection.js").Inspection} inspection */
  constructor(root, inspection) {
    this.#inspection = inspection;
    this.#copy.append(icon("copy"), element("span", { className: "label" }, "Copy report"));
    this.#copy.addEventListener("click", () => this.#copyReport());
    this.#peers.setAttribute("aria-label", "Connection to inspect");
    this.#peers.addEventListener("change", () => {
      this.#chosen = this.#inspection.peers.find(({ name }) => name === this.#peers.value) ?? null;
      this.#render();
    });
    this.#ofPeer = [
      section("States", this.#states, this.#timeline),
      section("Path", this.#path),
      section("Codecs", this.#codecs),
      section("Descriptions", this.#remote.box, this.#local.box),
    ];
    const head = element("div", { className: "inspect-head" }, this.#signalling, this.#copy);
    root.append(head, this.#peers, ...this.#ofPeer, section("Events", this.#events));
    inspection.addEventListener("change", () => {
      this.#isDirty = true;
    });
  }

  /** Draw and read only while somebody looks. @param {boolean} isShown */
  setShown(isShown) {
    clearInterval(this.#timer);
    this.#timer = isShown ? setInterval(() => document.hidden || this.#render(), REFRESH_MS) : null;
    if (isShown) this.#render();
  }

  get #peer() {
    const { peers } = this.#inspection;
    return this.#chosen && peers.includes(this.#chosen) ? this.#chosen : (peers.at(-1) ?? null);
  }

  async #render() {
    const { connection } = this.#inspection;
    setText(this.#signalling, `Signalling: ${connection.state}, as ${connection.clientId}`);
    const peer = this.#peer;
    this.#renderPeers(peer);
    if (this.#isDirty) this.#renderEvents();
    this.#isDirty = false;
    for (const each of this.#ofPeer) each.hidden = peer === null;
    if (!peer) return;
    fillFacts(this.#states, peer.now);
    fillList(this.#timeline, peer.states, ({ at, kind, value }) => [timeText(at), `${kind}: ${value}`]);
    setText(this.#remote.text, peer.sdp.remote || "None yet.");
    setText(this.#local.text, peer.sdp.local || "None yet.");
    const { path, codecs } = await peer.read();
    if (peer !== this.#peer) return;
    fillFacts(this.#path, path);
    if ([...this.#codecs.children].map((item) => item.textContent).join("\n") === codecs.join("\n")) return;
    this.#codecs.replaceChildren(...codecs.map((codec) => element("li", {}, codec)));
  }

  /** @param {PeerRecord | null} peer */
  #renderPeers(peer) {
    const { peers } = this.#inspection;
    const names = peers.map(({ name, pc }) => `${name} · ${pc.connectionState}`);
    const drawn = [...this.#peers.options].map((option) => option.text);
    if (names.join("\n") !== drawn.join("\n") || names.length === 0) {
      const none = new Option("No media connection yet: watch a camera", "");
      this.#peers.replaceChildren(...(names.length === 0 ? [none] : peers.map(({ name }, at) => new Option(names[at], name))));
    }
    this.#peers.disabled = peers.length === 0;
    this.#peers.value = peer?.name ?? "";
  }

  #renderEvents() {
    const events = this.#inspection.events.slice(-MAX_DRAWN_EVENTS).reverse();
    fillList(this.#events, events, ({ at, direction, event, data }) => [
      timeText(at),
      `${direction === "in" ? "received" : "sent"} ${event}`,
      JSON.stringify(data),
    ]);
  }

  async #copyReport() {
    const report = await this.#inspection.report();
    const label = /** @type {HTMLElement} */ (this.#copy.querySelector(".label"));
    const isCopied = await copyText(report);
    // Plain http has no clipboard: a file is as good for a bug.
    if (!isCopied) download(new Blob([report], { type: "text/markdown" }), "aiosfu-report.md");
    setText(label, isCopied ? "Copied" : "Saved");
    setTimeout(() => setText(label, "Copy report"), COPIED_MS);
  }
}

/** @param {string} title @param {...HTMLElement} children */
function section(title, ...children) {
  return element("section", { className: "inspect-section" }, element("h3", {}, title), ...children);
}

/** @param {string} title */
function sdpBox(title) {
  const text = element("pre", { tabIndex: 0 });
  text.setAttribute("aria-label", title);
  text.setAttribute("role", "region");
  return { box: element("details", {}, element("summary", {}, title), text), text };
}

/** @param {HTMLElement} list @param {Record<string, string>} facts */
function fillFacts(list, facts) {
  const names = Object.keys(facts);
  if ([...list.querySelectorAll("dt")].map((name) => name.textContent).join() !== names.join()) {
    list.replaceChildren(...names.map((name) => element("div", {}, element("dt", {}, name), element("dd"))));
  }
  list.querySelectorAll("dd").forEach((value, at) => setText(value, facts[names[at]]));
}

/**
 * @template Entry
 * @param {HTMLElement} list
 * @param {Entry[]} entries
 * @param {(entry: Entry) => [string, string, string?]} describe time, what, and more of it
 */
function fillList(list, entries, describe) {
  const key = entries.map((entry) => describe(entry).slice(0, 2).join()).join("\n");
  if (list.dataset.key === key) return;
  list.dataset.key = key;
  list.replaceChildren(
    ...entries.map((entry) => {
      const [time, what, more] = describe(entry);
      const head = [element("time", {}, time), " ", element("span", { className: "what" }, what)];
      if (!more || more === "{}") return element("li", {}, ...head);
      return element("li", {}, element("details", {}, element("summary", {}, ...head), element("code", {}, more)));
    }),
  );
}
