// @ts-check
/** One device's media as a viewer receives it. Made by `Viewer`. */

import { abortable, until } from "./abort.js";
import { Backoff } from "./backoff.js";
import { CodecError, isClosed, isGone, isRefusal } from "./errors.js";
import { emit, Emitter } from "./events.js";
import { Pauses } from "./pauses.js";
import { Playability } from "./playability.js";
import { Receiver } from "./receiver.js";

/** A link that WebRTC calls disconnected often comes back by itself within a second or two; after this we start over. */
const DISCONNECTED_PATIENCE_MS = 4_000;

/**
 * @typedef {import("./feed-types.js").FeedState} FeedState
 * @typedef {import("./feed-types.js").ReceivedTrack} ReceivedTrack
 * @typedef {import("./protocol.js").Kind} Kind
 * @typedef {import("./protocol.js").StartListening} StartListening
 */

/**
 * A feed and the media received from it. It outlives reconnections and restarts of the server or the device: the object,
 * and the `stream` that a video element shows, stay the same.
 * @extends {Emitter<import("./feed-types.js").FeedEvents>}
 */
export class Feed extends Emitter {
  /** @type {FeedState} */ #state = "idle";
  /** @type {Receiver | null} the present attempt; null before the first and after the end */ #receiver = null;
  /** @type {Receiver | null} an earlier one, whose last picture is shown until the next is there */ #retired = null;
  #hasTracks = false; // whether the present attempt has brought any
  /** @type {Map<string, ReceivedTrack>} in `stream` now, by the publisher's track id */ #received = new Map();
  #pauses = new Pauses();
  #playability = new Playability();
  /** @type {string[] | null} track ids; null is all */ #selected = null;
  /** @type {Promise<void>} offers are answered one after the other */ #answering = Promise.resolve();
  /** @type {any} the pause before another attempt, or the patience with a broken link */ #timer = null;
  #backoff = new Backoff();
  #wanted = false;
  #isAsking = false; // from asking for an offer to having answered it
  #turn = 0; // counts attempts, so that what belongs to an earlier one is recognised
  #askedAt = 0;
  #link;

  /** @param {StartListening} announced @param {import("./feed-types.js").FeedLink} link */
  constructor(announced, link) {
    super();
    this.#link = link;
    /** The server's number for it. Another one after the server or the device has started anew. */
    this.id = announced.feed;
    /** Who publishes it; servers that follow only the published document do not say. */
    this.device = announced.device ?? null;
    /** What is published, whether or not it has arrived yet. */
    this.tracks = announced.tracks ?? [];
    /** All tracks received; fit for `video.srcObject`, and kept for the feed's whole life. */
    this.stream = new MediaStream();
    /** Why it is lost or ended: a reason of the protocol's `stop_listening`, `reconnected`, `stopped` or `unplayable`. */
    this.reason = /** @type {string | null} */ (null);
  }

  get state() {
    return this.#state;
  }

  /** The kinds that are paused now. */
  get paused() {
    return this.#pauses.now;
  }

  /** The tracks that were asked for, by id; null is all there are. */
  get selected() {
    return this.#selected;
  }

  /** The tracks that are received now. */
  get received() {
    return [...this.#received.values()];
  }

  /** What the device sends of the selected tracks and this browser has no decoder for. */
  get unplayable() {
    return this.#playability.unplayable;
  }

  /** The connection underneath, to look at; null while there is none. Another one after each loss. */
  get peerConnection() {
    return this.#receiver?.pc ?? null;
  }

  /**
   * Receive it, until `stop()` or its end.
   * @param {{tracks?: string[] | null, signal?: AbortSignal}} [options] `tracks`: some of its tracks, by id; null or left
   *   out is all. The signal gives up waiting and stops.
   * @returns {Promise<void>} resolves when it is live; rejects when it ends or is stopped first, and with a
   *   `CodecError` when this browser can play none of it; that is tried again when the device sends something else
   */
  async receive({ tracks = null, signal } = {}) {
    signal?.throwIfAborted();
    if (this.#state === "ended") throw new Error(`Feed ${this.id} has ended.`);
    const isOther = sorted(tracks) !== sorted(this.#selected);
    this.#selected = tracks;
    if (!this.#wanted || isOther) {
      const isChange = this.#wanted;
      this.reason = null;
      this.#playability.forget();
      this.#wanted = true;
      this.#setState("connecting");
      if (isChange) this.#startOver();
      else this.#subscribe();
    }
    try {
      const isLive = until(this, "state", () => this.#isLive());
      await abortable(isLive, signal);
    } catch (error) {
      if (signal?.aborted) this.stop();
      throw error;
    }
  }

  /** Stop receiving; the feed stays, and `receive()` starts it again. Idempotent. */
  stop() {
    if (!this.#wanted) return;
    this.#wanted = false;
    this.#closeReceivers();
    for (const received of this.received) this.#dropTrack(received);
    this.#askToStop();
    this.#pauses.forget();
    if (this.#state !== "ended") this.#setState("idle");
  }

  /**
   * Pause without negotiating anew: nothing of these kinds is sent to us until `resume()`.
   * @param {...Kind} kinds both when left out
   * @returns {Promise<Kind[]>} what is paused now
   */
  pause(...kinds) {
    this.#pauses.want(kinds, true);
    return this.#applyPause();
  }

  /**
   * Go on after `pause()`.
   * @param {...Kind} kinds both when left out
   * @returns {Promise<Kind[]>} what is paused now
   */
  resume(...kinds) {
    this.#pauses.want(kinds, false);
    return this.#applyPause();
  }

  /**
   * Make a stream of one track, for devices that have several cameras.
   * @param {string} id the publisher's track id, as in `tracks`
   * @returns {MediaStream | null} null while it is not received
   */
  streamOf(id) {
    const received = this.#received.get(id);
    return received ? new MediaStream([received.track]) : null;
  }

  /**
   * Read the numbers of this moment; about once a second is a good rhythm.
   * @returns {Promise<import("./stats.js").MediaStats | null>} null while there is no connection
   */
  async stats() {
    const receiver = this.#receiver;
    if (!receiver) return null;
    const stats = await receiver.stats();
    const at = receiver.firstFrameAt;
    return { ...stats, firstFrameMs: at === null ? null : Math.round(at - this.#askedAt) };
  }

  /** @returns {number | null} how loud it is now, muted or not: 0 to 1; null where the sender does not say (RFC 6464) */
  audioLevel() {
    return this.#receiver?.audioLevel() ?? null;
  }

  // --- for Viewer ------------------------------------------------------------------------------------------------

  /**
   * Take an announcement: the first was the constructor's, a further one is the same device's next feed or a change of tracks.
   * @internal
   * @param {StartListening} announced
   */
  announced(announced) {
    const isOther = announced.feed !== this.id;
    this.id = announced.feed;
    this.tracks = announced.tracks ?? [];
    this.reason = null;
    emit(this, "tracks", this.tracks);
    const couldNotPlay = this.#playability.forget();
    if (!isOther && this.#state !== "lost") {
      if (couldNotPlay && this.#wanted) this.#startOver(); // it may send another codec now
      return;
    }
    this.#pauses.forget();
    // A device that starts anew may have given its tracks new ids.
    if (this.#selected && !this.#selected.some((id) => this.tracks.some((track) => track.id === id))) this.#selected = null;
    if (this.#wanted) this.#subscribe();
    else this.#setState("idle");
  }

  /**
   * Answer an offer that came unasked: the tracks changed, or a reply whose request is forgotten.
   * @internal
   * @param {string} sdp
   */
  offered(sdp) {
    if (!this.#wanted || this.#state === "ended") return;
    const turn = this.#turn;
    this.#answer(sdp, this.#receiver, turn).catch((error) => this.#failed(error, turn));
  }

  /** Start over: the server says that our connection is dead. @internal */
  connectionLost() {
    if (this.#wanted && this.#state !== "ended") this.#startOver();
  }

  /**
   * Wait for the device or the server to come back. What still moves goes on moving.
   * @internal
   * @param {string} reason
   */
  park(reason) {
    this.#turn += 1;
    this.#isAsking = false;
    clearTimeout(this.#timer);
    this.reason = reason;
    this.#setState("lost", reason);
  }

  /**
   * Go on after the session was resumed.
   * @internal
   * @param {boolean} isSubscribed whether the server still has our subscription
   */
  sessionResumed(isSubscribed) {
    if (!this.#wanted || this.#isAsking) return; // what we asked is answered on the new socket
    const state = this.#receiver?.pc.connectionState ?? "closed";
    if (!isSubscribed || ["disconnected", "failed", "closed"].includes(state)) this.#startOver();
    else this.#guard(this.#applyPause());
  }

  /** End for good. Idempotent. @internal @param {string} reason */
  end(reason) {
    if (this.#state === "ended") return;
    this.#wanted = false;
    this.#closeReceivers(); // its tracks stay in `stream`, so that the last picture stays
    this.reason = reason;
    this.#setState("ended", reason);
  }

  // --- subscribing -----------------------------------------------------------------------------------------------

  get #canAsk() {
    return this.#wanted && this.#link.room() !== null && this.#link.connection.state === "open";
  }

  async #subscribe() {
    if (!this.#canAsk) return; // the viewer calls again once it is in a room
    clearTimeout(this.#timer);
    const turn = ++this.#turn;
    const tracks = this.#playability.choose(this.#selected, this.tracks);
    this.#askedAt = performance.now();
    if (this.#state !== "lost") this.#setState("connecting");
    this.#isAsking = true;
    try {
      const data = { room_id: this.#link.room(), feed: this.id, ...(tracks && { tracks }) };
      const offer = await this.#link.connection.request("join_as_subscriber", data);
      if (turn === this.#turn) await this.#answer(offer.sdp, null, turn);
    } catch (error) {
      this.#failed(error, turn);
    } finally {
      if (turn === this.#turn) this.#isAsking = false;
    }
  }

  /** @param {any} error @param {number} turn */
  #failed(error, turn) {
    if (turn !== this.#turn || !this.#canAsk || isClosed(error)) return;
    if (isGone(error)) {
      this.#link.gone(this);
      return;
    }
    // "Already subscribed" is only the server not having noticed yet that our side of the media is gone.
    if (!isRefusal(error, "already_subscribed")) emit(this, "error", error);
    this.#startOver();
  }

  /** Drop the subscription and ask for another, after a pause that grows from none. */
  #startOver() {
    clearTimeout(this.#timer);
    this.#isAsking = false;
    const turn = ++this.#turn;
    const isFirst = this.#backoff.attempts === 0;
    const pause = this.#backoff.next();
    if (this.#state === "live") this.#setState("lost");
    this.#timer = setTimeout(async () => {
      await this.#askToStop();
      if (turn === this.#turn) this.#subscribe();
    }, isFirst ? 0 : pause);
  }

  /** Ask the server to forget the subscription. Refused where there is none, which is as good. */
  async #askToStop() {
    this.#pauses.forget();
    const { connection } = this.#link;
    if (connection.state === "open") await connection.request("stop_receiving", { feed: this.id }).catch(() => {});
  }

  /**
   * Answer an offer on `receiver`, or on a new one where that is null or cannot take it.
   * @param {string} sdp
   * @param {Receiver | null} receiver
   * @param {number} turn
   */
  #answer(sdp, receiver, turn) {
    const answering = this.#answering.then(async () => {
      if (turn !== this.#turn) return;
      let answer;
      // Fails for an offer of another connection than the present: a resumed session may repeat a reply.
      if (receiver) answer = await receiver.answer(sdp).catch(() => null);
      answer ??= await this.#newReceiver().answer(sdp);
      if (turn !== this.#turn) return;
      const { unplayable, isEmpty } = /** @type {Receiver} */ (this.#receiver);
      if (this.#playability.learn(unplayable) || isEmpty) return this.#goOnWithout(isEmpty);
      this.#link.connection.send("start_receiving", { sdp: answer, feed: this.id });
      this.#guard(this.#applyPause());
    });
    this.#answering = answering.catch(() => {});
    return answering;
  }

  /** Ask for what can be played alone: Firefox starts no connection whose first line it refuses. @param {boolean} isAll */
  #goOnWithout(isAll) {
    if (isAll) {
      this.#askToStop();
      this.park("unplayable");
    } else {
      this.#startOver();
    }
    emit(this, "error", new CodecError(this.unplayable));
  }

  /** @returns {Receiver} the present one from now on; the one before is kept until this one has tracks */
  #newReceiver() {
    if (this.#hasTracks) {
      this.#retired?.close();
      this.#retired = this.#receiver;
    } else {
      this.#receiver?.close();
    }
    this.#hasTracks = false;
    const receiver = new Receiver(this.#link.iceServers(), {
      added: (id, track) => receiver === this.#receiver && this.#added(id, track),
      removed: (id) => receiver === this.#receiver && this.#dropTrack(this.#received.get(id)),
      state: (state) => receiver === this.#receiver && this.#linkChanged(state),
      candidate: (candidate) => this.#canAsk && this.#link.connection.send("ice", { ...candidate?.toJSON(), typ: "sub" }),
      firstFrame: () =>
        emit(this, "firstframe", { milliseconds: Math.round(/** @type {number} */ (receiver.firstFrameAt) - this.#askedAt) }),
    });
    this.#receiver = receiver;
    emit(this.#link.connection, "peerconnection", { pc: receiver.pc, typ: "sub", device: this.device });
    return receiver;
  }

  /** @param {string} id @param {MediaStreamTrack} track */
  #added(id, track) {
    const stale = this.#hasTracks ? [] : this.received;
    this.#hasTracks = true;
    const received = { id, kind: /** @type {Kind} */ (track.kind), track };
    // Browsers refuse a second track of one id; otherwise the stale go last, for a stream without tracks ends the picture.
    this.#dropTrack(stale.find((old) => old.track.id === track.id));
    this.stream.addTrack(track);
    for (const old of stale) this.#dropTrack(old);
    this.#received.set(id, received);
    this.#retired?.close();
    this.#retired = null;
    emit(this, "track", received);
  }

  /** @param {ReceivedTrack} [received] */
  #dropTrack(received) {
    if (!received || this.#received.get(received.id) !== received) return;
    this.#received.delete(received.id);
    this.stream.removeTrack(received.track);
    emit(this, "trackremoved", received);
  }

  /** @param {RTCPeerConnectionState} state */
  #linkChanged(state) {
    if (state === "connected") {
      clearTimeout(this.#timer);
      this.#backoff.reset();
      this.#setState("live");
    } else if (state === "disconnected") {
      this.#setState("lost");
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => this.#canAsk && this.#startOver(), DISCONNECTED_PATIENCE_MS);
    } else if (state === "failed") {
      this.#setState("lost");
      if (this.#canAsk) this.#startOver();
    }
  }

  /** @returns {Promise<Kind[]>} */
  async #applyPause() {
    for (const [event, kinds] of this.#pauses.requests()) {
      if (this.#receiver === null || !this.#canAsk) break; // made up for once it is received
      const { paused } = await this.#link.connection.request(event, { feed: this.id, kinds });
      this.#pauses.set(paused);
      emit(this, "paused", { paused: this.paused });
    }
    return this.paused;
  }

  #closeReceivers() {
    this.#turn += 1;
    clearTimeout(this.#timer);
    this.#retired?.close();
    this.#receiver?.close();
    this.#retired = this.#receiver = null;
    this.#hasTracks = false;
  }

  #isLive() {
    if (!this.#wanted) throw new Error(`Feed ${this.id} stopped before it was live.`);
    if (this.reason === "unplayable") throw new CodecError(this.unplayable);
    return this.#state === "live";
  }

  /** @param {Promise<unknown>} task whose failure is to be told */
  #guard(task) {
    task.catch((error) => isClosed(error) || emit(this, "error", error));
  }

  /** @param {FeedState} state @param {string | null} [reason] */
  #setState(state, reason = null) {
    if (this.#state === "ended" || (this.#state === state && reason === null)) return;
    this.#state = state;
    emit(this, "state", { state, reason });
  }
}

/** @param {string[] | null} ids */
function sorted(ids) {
  return ids && [...ids].sort().join(" ");
}
