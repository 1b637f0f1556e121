// @ts-check
/** What we send: one connection to the server, negotiated anew whenever tracks or the network change. */

import { Backoff } from "./backoff.js";
import { isClosed, isRefusal } from "./errors.js";
import { emit, Emitter, on } from "./events.js";
import { mediaLines } from "./sdp.js";
import { codecOrder, preferCodecs, shapeEncodings } from "./sending.js";
import { readStats, StatsMeter } from "./stats.js";

/** A link that WebRTC calls disconnected often comes back by itself within a second or two; after this we act. */
const DISCONNECTED_PATIENCE_MS = 3_000;
/** From a new offer to media; after this the next attempt is made. */
const CONNECT_PATIENCE_MS = 8_000;

/**
 * `idle` before `start()` and after `suspend()`; `connecting`; `live` while media flows to the server; `lost` while the
 * link is down and being repaired; `ended` after `stop()`.
 * @typedef {"idle" | "connecting" | "live" | "lost" | "ended"} PublicationState
 * @typedef {import("./protocol.js").Kind} Kind
 * @typedef {import("./sending.js").Limits} Limits
 *
 * @typedef {object} MediaOptions
 * @property {RTCIceServer[]} [iceServers] instead of those that the server gives
 * @property {string} [codec] preferred video codec, such as `VP9`; the browser's own order when left out
 * @property {Limits} [limits]
 *
 * @typedef {object} PublicationEvents
 * @property {{state: PublicationState}} state
 * @property {{tracks: string[], kinds: Kind[]}} wanted the ids and kinds of our tracks that somebody receives; the others
 *   are not sent. The ids are those that were offered: a replaced track goes under its predecessor's
 * @property {Error} error this attempt failed; another follows
 */

/**
 * Send a stream's tracks, and go on doing so until `stop()`.
 * @extends {Emitter<PublicationEvents>}
 */
export class Publication extends Emitter {
  /** @type {PublicationState} */ #state = "idle";
  /** @type {RTCPeerConnection | null} while not idle and not ended */ #pc = null;
  /** @type {Promise<void>} offers, one after the other */ #queue = Promise.resolve();
  /** @type {Set<string>} ids of tracks that nobody receives now */ #unwanted = new Set();
  /** @type {AbortController} */ #listening = new AbortController();
  /** @type {any} patience with a broken link, or with an attempt to repair it */ #timer = null;
  #backoff = new Backoff();
  #meter = new StatsMeter();
  #offersWaiting = 0;
  #isOffering = false; // from an offer to its answer
  #connection;
  #stream;
  #options;
  #codecs;
  #limits;

  /**
   * @param {import("./connection.js").Connection} connection
   * @param {MediaStream} stream what to send; its tracks at the time of `start()`
   * @param {MediaOptions} [options] throws where the browser cannot send the codec
   */
  constructor(connection, stream, options = {}) {
    super();
    this.#connection = connection;
    this.#stream = stream;
    this.#options = options;
    this.#codecs = codecOrder(options.codec);
    this.#limits = options.limits ?? {};
    const { signal } = this.#listening;
    on(connection, "connection_lost", ({ typ }) => typ === "pub" && this.#repair(true), signal);
    on(connection, "tracks_wanted", ({ tracks }) => this.#tracksWanted(tracks), signal);
    on(connection, "resumed", ({ publication }) => this.#sessionResumed(publication != null), signal);
  }

  get state() {
    return this.#state;
  }

  get stream() {
    return this.#stream;
  }

  /** The connection underneath, to look at; null while there is none. Another one after some losses. */
  get peerConnection() {
    return this.#pc;
  }

  /**
   * Offer our media; we must be in a room.
   * @returns {Promise<void>} resolves when the server has answered; rejects with what it refused
   */
  start() {
    if (this.#state === "ended") return Promise.reject(new Error("This publication has ended: make another."));
    if (this.#pc) return this.#queue;
    return this.#enqueue(() => this.#connect());
  }

  /** Close the connection but stay, for another `start()`; the server has forgotten us, or asks us to stop. */
  suspend() {
    if (this.#state === "ended") return;
    this.#close();
    this.#setState("idle");
  }

  /** End for good, here and on the server. The stream's tracks are the caller's and go on. Idempotent. */
  stop() {
    if (this.#state === "ended") return;
    this.#listening.abort();
    const pc = this.#letGo();
    this.#setState("ended");
    if (!pc) return;
    // First the word, then the deed: a connection that closes without a word looks lost to viewers.
    const said = this.#connection.state === "open" ? this.#connection.request("unpublish") : Promise.resolve();
    said.catch(() => {}).finally(() => pc.close());
  }

  /**
   * Send a further track; viewers are offered it.
   * @param {MediaStreamTrack} track
   * @returns {Promise<void>}
   */
  async addTrack(track) {
    if (this.#stream.getTracks().includes(track)) return;
    this.#stream.addTrack(track);
    if (!this.#pc) return;
    this.#pc.addTrack(track, this.#stream);
    this.#preferCodecs(this.#pc);
    await this.#offerSoon();
  }

  /**
   * Send a track no longer; viewers lose it. Its capture goes on: that is the caller's.
   * @param {MediaStreamTrack} track
   * @returns {Promise<void>}
   */
  async removeTrack(track) {
    this.#stream.removeTrack(track);
    const sender = this.#pc?.getSenders().find((candidate) => candidate.track === track);
    if (!this.#pc || !sender) return;
    this.#pc.removeTrack(sender);
    await this.#offerSoon();
  }

  /**
   * Send `track` instead of another, without interrupting viewers where there was one before.
   * @param {Kind | MediaStreamTrack} old a track, or the kind of which there is one
   * @param {MediaStreamTrack | null} track null sends nothing in its place
   * @returns {Promise<void>}
   */
  async replaceTrack(old, track) {
    const isOld = (/** @type {MediaStreamTrack | null} */ t) => (typeof old === "string" ? t?.kind === old : t === old);
    for (const before of this.#stream.getTracks().filter(isOld)) {
      if (before !== track) this.#stream.removeTrack(before);
    }
    if (track) this.#stream.addTrack(track);
    const transceivers = this.#pc?.getTransceivers() ?? [];
    const transceiver =
      transceivers.find(({ sender }) => sender.track && isOld(sender.track)) ??
      // Nothing is sent in its place at present, but it was offered: no need to offer again.
      transceivers.find((t) => !t.sender.track && t.receiver.track.kind === (track?.kind ?? old) && sends(t));
    if (transceiver) {
      await transceiver.sender.replaceTrack(track);
      await this.#shape(); // a limit of height is a share of what is captured
    } else if (track && this.#pc) {
      this.#pc.addTrack(track, this.#stream);
      this.#preferCodecs(this.#pc);
      await this.#offerSoon();
    }
  }

  /**
   * Limit what is sent, from now on.
   * @param {Limits} limits in place of those before
   */
  async limit(limits) {
    this.#limits = limits;
    await this.#shape();
  }

  /**
   * Prefer a video codec, from now on.
   * @param {string | undefined} codec such as `VP9`; the browser's own order when undefined
   */
  async setCodec(codec) {
    this.#codecs = codecOrder(codec);
    if (!this.#pc) return;
    preferCodecs(this.#pc, this.#codecs);
    await this.#offerSoon();
  }

  /** Repair the link now if it is broken, instead of when the browser gives it up. */
  check() {
    const state = this.#pc?.connectionState;
    if (state === "disconnected" || state === "failed") this.#repair(false);
  }

  /**
   * Read the numbers of this moment; about once a second is a good rhythm.
   * @returns {Promise<import("./stats.js").MediaStats | null>} null while nothing is sent
   */
  async stats() {
    return this.#pc ? this.#meter.update(await readStats(this.#pc)) : null;
  }

  // --- negotiating -----------------------------------------------------------------------------------------------

  /**
   * @param {() => Promise<void>} task
   * @returns {Promise<void>}
   */
  #enqueue(task) {
    const done = this.#queue.then(task);
    this.#queue = done.catch(() => {});
    return done;
  }

  async #connect() {
    const before = this.#letGo();
    const pc = this.#createPeerConnection();
    this.#pc = pc;
    this.#setState(this.#state === "lost" ? "lost" : "connecting");
    try {
      // The former is closed once the server knows that there is another, which takes the feed over.
      await this.#offer(pc).finally(() => before?.close());
    } catch (error) {
      if (!isRefusal(error, "already_publishing")) {
        if (pc === this.#pc && !isClosed(error)) this.suspend();
        throw error;
      }
      // A server that cannot replace a live publication, or has not noticed that the former one is dead.
      await this.#connection.request("unpublish").catch(() => {});
      await this.#offer(pc);
    }
  }

  /** Offer the present connection again; changes that come meanwhile share one offer. */
  async #offerSoon() {
    if (this.#offersWaiting > 0) return this.#queue;
    this.#offersWaiting += 1;
    await this.#enqueue(async () => {
      this.#offersWaiting -= 1;
      const pc = this.#pc;
      if (!pc || this.#connection.state !== "open") return; // offered with the next connection, or once resumed
      try {
        await this.#offer(pc);
      } catch (error) {
        if (!isRefusal(error, "already_publishing")) throw error;
        await this.#connect();
      }
    });
  }

  /** @param {RTCPeerConnection} pc */
  async #offer(pc) {
    if (pc.signalingState === "have-local-offer") await pc.setLocalDescription({ type: "rollback" });
    await pc.setLocalDescription();
    this.#isOffering = true;
    const asking = this.#connection.request("offer_from_device", { sdp: pc.localDescription?.sdp });
    const answer = await asking.finally(() => (this.#isOffering = false));
    if (pc !== this.#pc) return;
    await pc.setRemoteDescription({ type: "answer", sdp: answer.sdp });
    await this.#shape();
  }

  #createPeerConnection() {
    const iceServers = this.#options.iceServers ?? this.#connection.welcome?.ice_servers ?? [];
    const pc = new RTCPeerConnection({ iceServers, bundlePolicy: "max-bundle", rtcpMuxPolicy: "require" });
    for (const track of this.#stream.getTracks()) pc.addTrack(track, this.#stream);
    this.#preferCodecs(pc);
    pc.onicecandidate = ({ candidate }) => {
      if (pc !== this.#pc || this.#connection.state !== "open") return;
      this.#connection.send("ice", { ...candidate?.toJSON(), typ: "pub" });
    };
    pc.onconnectionstatechange = () => pc === this.#pc && this.#linkChanged(pc.connectionState);
    emit(this.#connection, "peerconnection", { pc, typ: "pub", device: this.#connection.clientId });
    return pc;
  }

  /** @param {RTCPeerConnection} pc */
  #preferCodecs(pc) {
    if (this.#codecs.length > 0) preferCodecs(pc, this.#codecs);
  }

  /** @param {RTCPeerConnectionState} state */
  #linkChanged(state) {
    clearTimeout(this.#timer);
    if (state === "connected") {
      this.#backoff.reset();
      this.#setState("live");
    } else if (state === "disconnected") {
      this.#setState("lost");
      this.#timer = setTimeout(() => this.#repair(false), DISCONNECTED_PATIENCE_MS);
    } else if (state === "failed") {
      this.#setState("lost");
      this.#repair(false);
    }
  }

  /**
   * Get media flowing again: by an ICE restart first, which keeps everything; by a new connection where that fails.
   * @param {boolean} anew whether the server has closed the present connection
   */
  #repair(anew) {
    if (!this.#pc) return;
    clearTimeout(this.#timer);
    this.#setState("lost");
    if (this.#connection.state !== "open") return; // tried once it is resumed; without a session it is over
    const attempt = this.#backoff.attempts;
    const pause = this.#backoff.next();
    this.#timer = setTimeout(() => this.#repair(true), pause + CONNECT_PATIENCE_MS);
    const pc = this.#pc;
    const task = async () => {
      if (attempt > 0) await new Promise((resolve) => setTimeout(resolve, pause));
      if (pc !== this.#pc) return; // closed meanwhile, or another attempt is under way
      if (anew) return this.#connect();
      pc.restartIce();
      return this.#offer(pc);
    };
    this.#enqueue(task).catch((error) => {
      if (this.#state === "lost" && isRefusal(error, "already_publishing")) this.#repair(true);
      else if (!isClosed(error)) emit(this, "error", error);
    });
  }

  /** @param {boolean} isKnown whether the server still has our publication */
  #sessionResumed(isKnown) {
    const pc = this.#pc;
    if (!pc || this.#isOffering) return; // its answer comes on the new socket
    const isUnheard = pc.connectionState === "new" || pc.signalingState !== "stable";
    if (isUnheard) this.#offerSoon().catch((error) => emit(this, "error", error));
    else if (!isKnown) this.#repair(true);
    else if (pc.connectionState !== "connected") this.#repair(false);
  }

  // --- what is sent ----------------------------------------------------------------------------------------------

  /** @param {string[]} ids */
  #tracksWanted(ids) {
    const wanted = new Set(ids);
    this.#unwanted = new Set([...this.#sentTracks().values()].filter((id) => !wanted.has(id)));
    this.#shape().catch((error) => emit(this, "error", error));
    const lines = mediaLines(this.#pc?.localDescription?.sdp ?? "");
    const kinds = lines.filter(({ track }) => track && wanted.has(track)).map(({ kind }) => /** @type {Kind} */ (kind));
    emit(this, "wanted", { tracks: ids, kinds: [...new Set(kinds)] });
  }

  /** @returns {Map<string, string>} the ids by which the server knows our tracks, by mid */
  #sentTracks() {
    const lines = mediaLines(this.#pc?.localDescription?.sdp ?? "");
    return new Map(lines.flatMap((line) => (line.sends && line.track ? [[line.mid, line.track]] : [])));
  }

  /** Bring the encoders in line with what is wanted and with the limits. */
  async #shape() {
    const ids = this.#sentTracks();
    const transceivers = this.#pc?.getTransceivers() ?? [];
    await Promise.all(
      transceivers.map(({ mid, sender }) => {
        const isWanted = !this.#unwanted.has(ids.get(mid ?? "") ?? "");
        return sender.track ? shapeEncodings(sender, isWanted, this.#limits) : null;
      }),
    );
  }

  #close() {
    this.#letGo()?.close();
  }

  /** @returns {RTCPeerConnection | null} the connection that was ours, for closing it */
  #letGo() {
    clearTimeout(this.#timer);
    const pc = this.#pc;
    this.#pc = null;
    this.#meter = new StatsMeter();
    return pc;
  }

  /** @param {PublicationState} state */
  #setState(state) {
    if (this.#state === state || this.#state === "ended") return;
    this.#state = state;
    emit(this, "state", { state });
  }
}

/** @param {RTCRtpTransceiver} transceiver */
function sends(transceiver) {
  return transceiver.direction === "sendonly" || transceiver.direction === "sendrecv";
}
