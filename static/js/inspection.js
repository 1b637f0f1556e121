// @ts-check
/** What happened on a connection and its peer connections, kept for looking at and for bug reports. No DOM. */

import { on } from "./events.js";
import { readStats } from "./stats.js";

/** Messages kept; a minute of a busy page. */
const MAX_EVENTS = 300;
/** Peer connections kept, closed ones included: a camera that reconnects makes a new one each time. */
const MAX_PEERS = 40;
/** State changes kept of each. */
const MAX_STATES = 100;
/** Longer strings in a message's data are cut for the report; the SDP is there in full elsewhere. */
const MAX_STRING = 120;

/** Lines of an SDP that let somebody else in, or tell who it is (RFC 8839, RFC 8122, RFC 4568). */
const SECRET_LINES = /^a=(ice-pwd|fingerprint|crypto|tls-id):.*$/gm;

/**
 * Hide what is secret in an SDP.
 * @param {string} sdp
 */
export function redactSdp(sdp) {
  return sdp.replace(SECRET_LINES, "a=$1:(hidden)");
}

/**
 * Copy a message's data without secrets and without line noise.
 * @param {any} data
 * @returns {any}
 */
export function redactData(data) {
  if (typeof data === "string") return data.length > MAX_STRING && !data.includes("\n") ? `${data.slice(0, MAX_STRING)}…` : redactSdp(data);
  if (Array.isArray(data)) return data.map(redactData);
  if (data === null || typeof data !== "object") return data;
  const hidden = new Set(["token", "credential", "resume"]);
  return Object.fromEntries(Object.entries(data).map(([key, value]) => [key, hidden.has(key) ? "(hidden)" : redactData(value)]));
}

/**
 * @typedef {{at: number, direction: "in" | "out", event: string, data: any}} EventRecord `at` as of `performance.now()`
 * @typedef {"connection" | "ICE" | "gathering" | "signalling" | "note"} StateKind
 * @typedef {{at: number, kind: StateKind, value: string}} StateRecord
 */

/** One peer connection's life. */
export class PeerRecord {
  /** @type {StateRecord[]} */
  states = [];
  #sdp = { remote: "", local: "" };
  /** @type {{path: Record<string, string>, codecs: string[]}} */
  #reading = { path: { "candidate pair": "not read before it was closed" }, codecs: [] };

  /** @param {import("./connection.js").PeerConnectionMade} made @param {number} number @param {() => void} changed */
  constructor({ pc, typ, device }, number, changed) {
    this.pc = pc;
    this.name = `${number}. ${typ === "sub" ? `from ${device ?? "a device"}` : "what we send"}`;
    const note = (/** @type {StateKind} */ kind, /** @type {() => string} */ value) => () => {
      this.states.push({ at: performance.now(), kind, value: value() });
      if (this.states.length > MAX_STATES) this.states.shift();
      if (kind !== "note") this.#keepSdp();
      changed();
    };
    pc.addEventListener("connectionstatechange", note("connection", () => pc.connectionState));
    pc.addEventListener("iceconnectionstatechange", note("ICE", () => pc.iceConnectionState));
    pc.addEventListener("icegatheringstatechange", note("gathering", () => pc.iceGatheringState));
    pc.addEventListener("signalingstatechange", note("signalling", () => pc.signalingState));
    pc.addEventListener("negotiationneeded", note("note", () => "negotiation needed"));
    pc.addEventListener("icecandidateerror", (event) => {
      const { errorCode, errorText, url } = /** @type {RTCPeerConnectionIceErrorEvent} */ (event);
      note("note", () => `candidate error ${errorCode} ${errorText} ${url}`)();
    });
    pc.addEventListener("track", ({ track }) => note("note", () => `track ${track.kind} ${track.id}`)());
    note("note", () => "made")();
  }

  /** @returns {Record<string, string>} */
  get now() {
    const { connectionState, iceConnectionState, iceGatheringState, signalingState } = this.pc;
    return { connection: connectionState, ICE: iceConnectionState, gathering: iceGatheringState, signalling: signalingState };
  }

  /** Both descriptions, without secrets; empty before there are any. */
  get sdp() {
    this.#keepSdp();
    return this.#sdp;
  }

  /** Firefox has no descriptions of a closed connection, so the last ones are kept. */
  #keepSdp() {
    const { pc } = this;
    if (pc.signalingState === "closed") return;
    this.#sdp = { remote: redactSdp(pc.remoteDescription?.sdp ?? ""), local: redactSdp(pc.localDescription?.sdp ?? "") };
  }

  /**
   * Read which way the media takes and how it is coded.
   * @returns {Promise<{path: Record<string, string>, codecs: string[]}>}
   */
  async read() {
    /** @type {any[]} */ const all = [];
    try {
      (await readStats(this.pc)).forEach((report) => all.push(report));
    } catch (error) {
      if (this.pc.connectionState !== "closed") throw error;
      return this.#reading; // Firefox has no statistics of closed connections
    }
    const byId = new Map(all.map((report) => [report.id, report]));
    this.#reading = { path: pathOf(all, byId), codecs: codecsOf(all, byId) };
    return this.#reading;
  }
}

/** Records everything from its making on. `change` is dispatched when there is something new. */
export class Inspection extends EventTarget {
  /** @type {EventRecord[]} */
  events = [];
  /** @type {PeerRecord[]} the newest last */
  peers = [];
  #count = 0;

  /** @param {import("./connection.js").Connection} connection */
  constructor(connection) {
    super();
    this.connection = connection;
    on(connection, "traffic", ({ direction, event, data }) => {
      this.#keep(this.events, { at: performance.now(), direction, event, data: redactData(data) }, MAX_EVENTS);
    });
    on(connection, "peerconnection", (made) => {
      this.#keep(this.peers, new PeerRecord(made, ++this.#count, () => this.#changed()), MAX_PEERS);
    });
    on(connection, "state", () => this.#changed());
  }

  /**
   * Write a report fit for a bug: everything that is shown, as text.
   * @returns {Promise<string>}
   */
  async report() {
    const { connection } = this;
    const server = connection.welcome?.server ?? "not connected";
    const lines = [
      "# aiosfu report",
      "",
      `- when: ${new Date().toISOString()}`,
      `- page: ${location.origin}${location.pathname}`,
      `- browser: ${navigator.userAgent}`,
      `- server: ${server}, protocol ${connection.welcome?.protocol ?? "?"}`,
      `- signalling: ${connection.state}, client id ${connection.clientId}`,
    ];
    for (const peer of this.peers) lines.push("", ...(await reportOf(peer)));
    lines.push("", "## Events", "", "```");
    for (const { at, direction, event, data } of this.events) {
      lines.push(`${timeText(at)} ${direction === "in" ? "<" : ">"} ${event} ${JSON.stringify(short(data))}`);
    }
    lines.push("```", "");
    return lines.join("\n");
  }

  /** @template Entry @param {Entry[]} entries @param {Entry} entry @param {number} limit */
  #keep(entries, entry, limit) {
    entries.push(entry);
    if (entries.length > limit) entries.shift();
    this.#changed();
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}

/** @param {PeerRecord} peer */
async function reportOf(peer) {
  const { path, codecs } = await peer.read();
  const pairs = (/** @type {Record<string, string>} */ values) => Object.entries(values).map(([key, value]) => `- ${key}: ${value}`);
  return [
    `## Connection ${peer.name}`,
    "",
    ...pairs(peer.now),
    ...pairs(path),
    ...codecs.map((codec) => `- codec: ${codec}`),
    "",
    "```",
    ...peer.states.map(({ at, kind, value }) => `${timeText(at)} ${kind}: ${value}`),
    "```",
    "",
    "Remote description:",
    "```",
    peer.sdp.remote.trimEnd(),
    "```",
    "Local description:",
    "```",
    peer.sdp.local.trimEnd(),
    "```",
  ];
}

/** The SDP is in the report once already. @param {any} data */
function short(data) {
  return typeof data?.sdp === "string" ? { ...data, sdp: `(${data.sdp.length} characters)` } : data;
}

/** @param {number} at as of `performance.now()` @returns {string} the time of day */
export function timeText(at) {
  return new Date(performance.timeOrigin + at).toISOString().slice(11, 23);
}

/** @param {any[]} all @param {Map<string, any>} byId @returns {Record<string, string>} */
function pathOf(all, byId) {
  const transport = all.find(({ type }) => type === "transport");
  const pairs = all.filter(({ type }) => type === "candidate-pair");
  // Firefox has no transport statistics; it marks the pair itself.
  const pair = byId.get(transport?.selectedCandidatePairId) ?? pairs.find((entry) => entry.selected || entry.nominated);
  if (!pair) return { "candidate pair": "none selected" };
  const name = (/** @type {any} */ candidate) =>
    candidate ? `${candidate.candidateType} ${candidate.protocol} ${candidate.address ?? "(hidden by the browser)"}:${candidate.port}` : "?";
  const roundTrip = pair.currentRoundTripTime === undefined ? "not measured" : `${(pair.currentRoundTripTime * 1000).toFixed(1)} ms`;
  return {
    "local candidate": name(byId.get(pair.localCandidateId)),
    "remote candidate": name(byId.get(pair.remoteCandidateId)),
    "pair state": `${pair.state}${pair.nominated ? ", nominated" : ""}`,
    "round trip": roundTrip,
    traffic: `${bytesText(pair.bytesReceived)} received, ${bytesText(pair.bytesSent)} sent`,
    ...(transport && { DTLS: `${transport.dtlsState ?? "?"} ${transport.tlsVersion ?? ""} ${transport.srtpCipher ?? ""}`.trim() }),
  };
}

/** @param {number} [bytes] */
function bytesText(bytes = 0) {
  return bytes < 1_000_000 ? `${(bytes / 1_000).toFixed(0)} kB` : `${(bytes / 1_000_000).toFixed(1)} MB`;
}

/** @param {any[]} all @param {Map<string, any>} byId @returns {string[]} */
function codecsOf(all, byId) {
  const streams = all.filter(({ type }) => type === "inbound-rtp" || type === "outbound-rtp");
  return streams.map((stream) => {
    const codec = byId.get(stream.codecId);
    const size = stream.frameWidth ? `, ${stream.frameWidth}×${stream.frameHeight}` : "";
    const decoder = stream.decoderImplementation ?? stream.encoderImplementation;
    const name = codec ? `${codec.mimeType} (${codec.payloadType}) ${codec.sdpFmtpLine ?? ""}`.trim() : "no packets yet";
    return `${stream.kind} ${stream.mid ?? ""}: ${name}${size}${decoder ? `, by ${decoder}` : ""}`;
  });
}
