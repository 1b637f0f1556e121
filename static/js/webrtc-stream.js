// @ts-check
/**
 * The drone web client's stream module (`js_webrtcstream`) over this server: the same names, another import.
 *
 *     import { js_webrtcstream } from "https://sfu.example/static/js/webrtc-stream.js";
 *     const onDisplayVideo = (talk) => { video.srcObject = talk.stream; };
 *     js_webrtcstream.joinStream({ number: "drone-1", targetVideoTrack: "front", onDisplayVideo });
 *
 * No DOM. The server is the one that the module came from, unless `configure()` names another.
 */

import { isClosed } from "./errors.js";
import { emit, Emitter, on } from "./events.js";
import { Party } from "./party.js";
import { CTalk, DEFAULT_TRACK } from "./talk.js";
import { Viewer } from "./viewer.js";

export { CTalk } from "./talk.js";

/** How often the numbers are read and told, as the original does. */
const STATISTICS_INTERVAL_MS = 1_000;
/** Far above what a page can show; a page that joins in a loop is stopped here. */
const MAX_CONVERSATIONS = 64;
/** Drones whose hung-up conversations may still hear that they stopped; the oldest is forgotten first. */
const MAX_ORPHANS = 64;

const STATISTICS = "EE_onWebRTC_Video_Statistics";

/**
 * @typedef {import("./talk.js").TalkCallbacks} TalkCallbacks
 * @typedef {import("./feed.js").Feed} Feed
 *
 * @typedef {object} JoinTarget
 * @property {string | number} number the drone's party id: its client id at the server
 * @property {string} [targetVideoTrack] its camera's track id or name; its first one when left out
 * @property {any} [v_andruavClient] the page's client: its `EVT_andruavSignalling` becomes ours, and its
 *   `m_andruavUnitList` names the units in events
 * @property {TalkCallbacks["onRemoveStream"]} [onRemovestream] the original's spelling
 * @typedef {JoinTarget & Partial<TalkCallbacks>} JoinConfig
 *
 * @typedef {object} StreamSettings
 * @property {string} [server] `wss://host:port`; where this module came from when left out
 * @property {string} [clientId] who we are there; a random id when left out
 * @property {import("./connection.js").Token} [token]
 * @property {{fn_dispatch: (event: any, data: any) => void}} [eventEmitter] the page's `js_eventEmitter`
 * @property {Record<string, any>} [events] the page's `EVENTS`, where its emitter does not know events by their names
 * @property {(number: string) => any} [unit] the page's object for a drone, where `v_andruavClient` does not have it
 *
 * @typedef {{unit: any, fps: number, rx: number, track_id: string}} VideoStatistics
 * @typedef {object} StreamEvents
 * @property {VideoStatistics} EE_onWebRTC_Video_Statistics once a second for each conversation; `rx` in bytes so far
 * @property {{andruavUnit: any, talk: CTalk}} EE_videoStreamStarted
 * @property {{andruavUnit: any, talk: CTalk}} EE_videoStreamStopped
 * @property {{talk: CTalk, status: import("./talk.js").TalkStatus}} EE_Video_State_Change
 * @property {{error: unknown}} debugerror what `debugError` was told
 * @property {{message: unknown}} debugcallback what `debugCallback` was told
 */

/**
 * All conversations of a page, over one connection to the server. There is one: `getInstance()`.
 * @extends {Emitter<StreamEvents>}
 */
export class AndruavStream extends Emitter {
  /** @type {AndruavStream | null} */ static instance = null;

  /** Open ones by `number/track`, for two drones may have cameras of one name. @type {Record<string, CTalk>} */
  conversations = {};
  /** `iceServers` here are used instead of the server's; the rest is the library's business. */
  rtcConfig = { iceServers: /** @type {RTCIceServer[] | null} */ (null) };
  IceCandidate = globalThis.RTCIceCandidate;
  SessionDescription = globalThis.RTCSessionDescription;
  /** Offers, answers and candidates that came by the drone client's own signalling, where nothing is negotiated now. */
  ignoredSignals = 0;

  /** @type {Map<string, Party>} */ #parties = new Map();
  /** @type {Map<string, TalkCallbacks["onOrphanDisconnect"]>} by the drone's number */ #orphans = new Map();
  /** @type {Viewer | null} while there are conversations */ #viewer = null;
  /** @type {any} */ #timer = null;
  /** @type {StreamSettings} */ #settings = {};
  /** @type {any} */ #client = null;

  constructor() {
    super();
    if (AndruavStream.instance) return AndruavStream.instance;
    AndruavStream.instance = this;
  }

  /** @returns {AndruavStream} the only one */
  static getInstance() {
    return AndruavStream.instance ?? new AndruavStream();
  }

  /**
   * Called with a drone's number when it stops and no conversation about it is open; the page sets its own.
   * @type {(number: string) => void}
   */
  onOrphanDisconnect = () => {};

  /**
   * Say where the server is and who we are; only where the defaults do not fit. Holds from the next connection on.
   * @param {StreamSettings} settings those left out stay as they are
   */
  configure(settings) {
    this.#settings = { ...this.#settings, ...settings };
  }

  /**
   * Watch a camera, from as soon as its drone is there until `hangup()` or until the drone stops.
   * @param {JoinConfig} config
   * @returns {CTalk} `connecting`; where this camera is watched already, the one there is, with the new callbacks
   */
  joinStream(config) {
    const number = partyId(config?.number);
    const track = config.targetVideoTrack ?? DEFAULT_TRACK;
    this.#adoptClient(config.v_andruavClient);
    const before = this.conversations[keyOf(number, track)];
    if (before && !before.isPending) {
      before.adopt(config);
      queueMicrotask(() => before.displayAgain()); // after the page has what we return
      return before;
    }
    if (before) this.#cancel(before);
    const talk = this.getConversation(number, track);
    talk.adopt(config);
    this.transmit(number, track, { joinme: true });
    return talk;
  }

  /**
   * Find a conversation, or make one that waits for its `joinStream()`.
   * @param {string | number} number
   * @param {string} [track]
   * @returns {CTalk}
   */
  getConversation(number, track = DEFAULT_TRACK) {
    const key = keyOf(partyId(number), track);
    const known = this.conversations[key];
    if (known) return known;
    if (Object.keys(this.conversations).length >= MAX_CONVERSATIONS) {
      throw new RangeError(`There are ${MAX_CONVERSATIONS} conversations already: hang one up before joining ${key}.`);
    }
    const talk = new CTalk(partyId(number), track, {
      hungUp: (ended) => this.#hungUp(ended),
      statusChanged: (changed) => this.#statusChanged(changed),
      debugError: (error) => this.debugError(error),
    });
    this.conversations[key] = talk;
    talk.setStatus("connecting");
    return talk;
  }

  /**
   * Hang up.
   * @param {string} track a camera's name, or `number/track`
   * @param {string | number} [number] the drone, where several have a camera of this name
   */
  closeConversation(track, number) {
    const exact = this.conversations[number === undefined ? track : keyOf(partyId(number), track)];
    const open = number === undefined ? Object.values(this.conversations) : [];
    const talks = exact ? [exact] : open.filter((talk) => talk.targetVideoTrack === track);
    if (talks.length > 1) {
      const drones = talks.map((talk) => talk.number).join(", ");
      const what = `The drones ${drones} have a camera "${track}" each: use closeConversation(track, number).`;
      this.debugError(new Error(what));
      return;
    }
    talks[0]?.hangup(true);
  }

  /** The older client's name for `closeConversation`. @param {string} key */
  hangup(key) {
    this.closeConversation(key);
  }

  /**
   * Put a track into a conversation and show it, for pages that bring tracks of their own.
   * @param {CTalk} talk
   * @param {RTCTrackEvent} event
   */
  onAddTrack(talk, event) {
    talk.addTrack(event.track.id, event.track);
    talk.display();
  }

  /**
   * Send what the original sent to a drone: `{joinme: true}` and `{hangup: true}` have an effect, the rest has none.
   * @param {string | number} phone the drone
   * @param {string} channel its camera
   * @param {any} packet
   */
  transmit(phone, channel, packet) {
    if (!packet) return;
    this.debugCallback(packet);
    const talk = this.conversations[keyOf(partyId(phone), channel ?? DEFAULT_TRACK)];
    if (packet.hangup) talk?.hangup(false);
    else if (packet.joinme && talk) this.#dial(talk);
    else this.ignoredSignals += 1;
  }

  /**
   * Take a message of the drone client's own signalling. Only a hangup means something: media comes by our server.
   * @param {any} unit the page's object for the drone, or its party id
   * @param {any} signal
   */
  async EVT_andruavSignalling(unit, signal) {
    this.debugCallback(signal);
    const { packet, channel } = signal ?? {};
    const number = String(unit?.partyID ?? unit?.getPartyID?.() ?? unit ?? signal?.number);
    if (!packet?.hangup) {
      this.ignoredSignals += 1;
      return;
    }
    const talk = this.conversations[keyOf(number, channel ?? DEFAULT_TRACK)];
    if (talk) talk.hangup(false);
    else this.#orphaned(number);
  }

  /** Ignored, and counted: the library negotiates, and again when the drone's cameras change. @param {any} signal */
  async addSdpOffer(signal) {
    await this.EVT_andruavSignalling(signal?.number, { ...signal, packet: { sdp: true } });
  }

  /** Nothing is left to do: the library answers. @param {RTCPeerConnection | null} _pc @param {CTalk} _talk */
  async createAnswer(_pc, _talk) {
    this.ignoredSignals += 1;
  }

  /** Ignored, and counted, like `addSdpOffer`. @param {any} signal */
  async addIceRoute(signal) {
    await this.EVT_andruavSignalling(signal?.number, { ...signal, packet: { candidate: true } });
  }

  /** Told of everything that goes wrong; quiet unless overridden or listened to. @param {unknown} error */
  debugError(error) {
    emit(this, "debugerror", { error });
  }

  /** Told of the original's packets; quiet unless overridden or listened to. @param {unknown} message */
  debugCallback(message) {
    emit(this, "debugcallback", { message });
  }

  // --- conversations and drones ----------------------------------------------------------------------------------

  /** @param {any} client */
  #adoptClient(client) {
    if (!client) return;
    this.#client = client;
    client.EVT_andruavSignalling = this.EVT_andruavSignalling.bind(this);
  }

  /** @param {CTalk} talk */
  #dial(talk) {
    const viewer = this.#openViewer();
    let party = this.#parties.get(talk.number);
    if (!party) {
      party = new Party(talk.number);
      this.#parties.set(talk.number, party);
      const feed = viewer.feeds.find(({ device }) => device === talk.number);
      if (feed) party.attach(feed);
    }
    party.add(talk);
    talk.dialed = true;
    if (!party.hasFeed) viewer.invite([talk.number]).catch((error) => isClosed(error) || talk.failed(error));
  }

  /** @param {CTalk} talk */
  #cancel(talk) {
    delete this.conversations[keyOf(talk.number, talk.targetVideoTrack)];
    this.#parties.get(talk.number)?.remove(talk);
    talk.cancel();
  }

  /** @param {CTalk} talk */
  #hungUp(talk) {
    delete this.conversations[keyOf(talk.number, talk.targetVideoTrack)];
    const party = this.#parties.get(talk.number);
    party?.remove(talk);
    if (party?.talks.length === 0) {
      party.detach();
      this.#parties.delete(talk.number);
      this.#viewer?.uninvite([talk.number]);
      this.#orphans.delete(talk.number); // to the end of the line
      this.#orphans.set(talk.number, talk.onOrphanDisconnect);
      const [oldest] = this.#orphans.keys();
      if (this.#orphans.size > MAX_ORPHANS && oldest !== undefined) this.#orphans.delete(oldest);
    }
    if (this.#parties.size === 0) this.#closeViewer();
  }

  /** @param {CTalk} talk */
  #statusChanged(talk) {
    emit(this, "EE_Video_State_Change", { talk, status: talk.status });
    const detail = { andruavUnit: this.#unit(talk.number), talk };
    if (talk.status === "connected") emit(this, "EE_videoStreamStarted", detail);
    if (talk.status === "closed") emit(this, "EE_videoStreamStopped", detail);
  }

  /** @param {string} number */
  #orphaned(number) {
    const own = this.#orphans.get(number);
    this.#orphans.delete(number);
    for (const callback of [this.onOrphanDisconnect, own]) {
      try {
        callback?.(number);
      } catch (error) {
        reportError(error); // the page's own
      }
    }
  }

  // --- the server ------------------------------------------------------------------------------------------------

  #openViewer() {
    if (this.#viewer) return this.#viewer;
    const { server, clientId, token } = this.#settings;
    const iceServers = this.rtcConfig.iceServers ?? undefined;
    const viewer = new Viewer({ server, clientId, token, iceServers, devices: [], choose: () => false });
    this.#viewer = viewer;
    const known = (/** @type {string | null} */ number) => (number === null ? undefined : this.#parties.get(number));
    on(viewer, "feed", (feed) => known(feed.device)?.attach(feed));
    on(viewer, "feedended", (feed) => viewer === this.#viewer && this.#feedEnded(feed));
    on(viewer, "invited", ({ unavailable }) => {
      for (const number of unavailable) known(number)?.absent("is not online. It is shown once it is there.");
    });
    on(viewer, "uninvited", ({ devices }) => {
      for (const number of devices) known(number)?.absent("was asked and has sent nothing. It may still come.");
    });
    on(viewer, "error", (error) => this.#failed(error));
    const closed = "The room was closed by whoever runs the server.";
    on(viewer, "roomclosed", () => viewer === this.#viewer && this.#stateChanged("failed", new Error(closed)));
    on(viewer, "state", ({ state, error }) => this.#stateChanged(state, error));
    viewer.watch().catch(() => {}); // told by its state
    this.#timer = setInterval(() => this.#measure(), STATISTICS_INTERVAL_MS);
    return viewer;
  }

  #closeViewer() {
    const viewer = this.#viewer;
    this.#viewer = null;
    clearInterval(this.#timer);
    viewer?.stop();
  }

  /** @param {Feed} feed */
  #feedEnded(feed) {
    const number = feed.device;
    if (number === null) return;
    const party = this.#parties.get(number);
    if (!party) this.#orphaned(number);
    else for (const talk of party.detach()) talk.hangup(false);
  }

  /** @param {import("./viewer.js").ViewerState} state @param {Error | null} error */
  #stateChanged(state, error) {
    if (error) this.#failed(error);
    // After they have been told.
    if (state !== "failed") return;
    queueMicrotask(() => Object.values(this.conversations).forEach((talk) => talk.hangup(false)));
  }

  /** Tell everybody, unless it concerns one drone, which has its turn right after us. @param {Error} error */
  #failed(error) {
    queueMicrotask(() => {
      const parties = [...this.#parties.values()];
      if (parties.some((party) => party.knows(error))) return;
      for (const party of parties) party.failed(error);
    });
  }

  // --- statistics ------------------------------------------------------------------------------------------------

  async #measure() {
    const measuring = Object.values(this.conversations).map((talk) => this.#measureOne(talk));
    await Promise.all(measuring).catch((error) => this.debugError(error));
  }

  /** @param {CTalk} talk */
  async #measureOne(talk) {
    const grown = await talk.measure();
    if (grown === null) return;
    const unit = this.#unit(talk.number);
    if (typeof unit?.m_Video?.m_total_transfer_bytes === "number") unit.m_Video.m_total_transfer_bytes += grown;
    const statistics = { unit, fps: talk.m_actualFrameRate, rx: talk.m_bytesReceived, track_id: talk.trackId ?? "" };
    emit(this, STATISTICS, statistics);
    talk.call(() => this.#pageEmitter?.fn_dispatch(this.#settings.events?.[STATISTICS] ?? STATISTICS, statistics));
    talk.call(() => talk.onFrameRateUpdate(talk, talk.m_actualFrameRate));
  }

  get #pageEmitter() {
    return this.#settings.eventEmitter ?? /** @type {any} */ (globalThis).AndruavLibs?.EventEmitter;
  }

  /** The page's object for a drone; its number where the page has none. @param {string} number */
  #unit(number) {
    return this.#settings.unit?.(number) ?? this.#client?.m_andruavUnitList?.fn_getUnit?.(number) ?? number;
  }
}

/** @param {string} number @param {string} track */
function keyOf(number, track) {
  return `${number}/${track}`;
}

/** @param {unknown} number @returns {string} */
function partyId(number) {
  if ((typeof number === "string" && number !== "") || typeof number === "number") return String(number);
  const found = number === "" ? "empty" : typeof number;
  throw new TypeError(`"number" must be the drone's party id, a string or a number; it is ${found}.`);
}

export const js_webrtcstream = AndruavStream.getInstance();

// Pages of the older client look for it there.
const libraries = /** @type {any} */ (globalThis).AndruavLibs;
if (libraries) libraries.AndruavStream = js_webrtcstream;
