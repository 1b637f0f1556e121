// @ts-check
/** One drone of the drone client's module: its feed, and the conversations about its cameras. */

import { on } from "./events.js";
import { DEFAULT_TRACK } from "./talk.js";

/**
 * @typedef {import("./talk.js").CTalk} CTalk
 * @typedef {import("./feed.js").Feed} Feed
 * @typedef {import("./protocol.js").TrackInfo} TrackInfo
 */

/** Receive of one drone what its conversations want, over one connection. */
export class Party {
  /** @type {Set<CTalk>} */ #talks = new Set();
  /** @type {Feed | null} */ #feed = null;
  /** @type {AbortController | null} our listeners on the feed */ #listening = null;
  #selection = ""; // what the feed was last asked for
  #isTold = false; // that it is not there
  /** @type {WeakSet<Error>} the feed's, which the viewer tells of too */ #errors = new WeakSet();

  /** @param {string} number */
  constructor(number) {
    this.number = number;
  }

  get talks() {
    return [...this.#talks];
  }

  get hasFeed() {
    return this.#feed !== null;
  }

  /** @param {CTalk} talk */
  add(talk) {
    this.#talks.add(talk);
    this.#isTold = false;
    this.#select();
    this.#handOut(talk);
    this.#follow();
  }

  /** @param {CTalk} talk */
  remove(talk) {
    if (this.#talks.delete(talk)) this.#select();
  }

  /** Receive by this feed from now on. @param {Feed} feed */
  attach(feed) {
    if (feed === this.#feed) return;
    this.#listening?.abort();
    this.#listening = new AbortController();
    const { signal } = this.#listening;
    this.#feed = feed;
    this.#selection = "";
    this.#isTold = false;
    on(feed, "tracks", () => this.#select(), signal);
    on(feed, "state", () => this.#follow(), signal);
    on(feed, "error", (error) => this.failed(error), signal);
    on(feed, "track", ({ id, track }) => this.#added(id, track), signal);
    on(feed, "trackremoved", ({ track }) => this.talks.forEach((talk) => talk.removeTrack(track)), signal);
    for (const talk of this.#talks) talk.dialed = true;
    this.#select();
    this.#follow();
  }

  /** Let go of the feed: it ended, or nobody asks for it any more. @returns {CTalk[]} the conversations it leaves */
  detach() {
    this.#listening?.abort();
    this.#feed = null;
    return this.talks;
  }

  /** Tell that it does not come for now, once for each time that somebody asks. @param {string} what */
  absent(what) {
    if (this.#isTold || this.#feed) return;
    this.#isTold = true;
    this.failed(new Error(`Drone ${this.number} ${what}`));
  }

  /** Whether this is an error of this drone's feed. @param {Error} error */
  knows(error) {
    return this.#errors.has(error);
  }

  /** @param {Error} error */
  failed(error) {
    this.#errors.add(error);
    for (const talk of this.talks) talk.failed(error);
  }

  /** Ask for the cameras that are wanted and the sound, or for nothing. */
  #select() {
    const feed = this.#feed;
    if (!feed) return;
    const wanted = new Set();
    for (const talk of this.talks) {
      const camera = findCamera(feed.tracks, talk.targetVideoTrack);
      if (camera) wanted.add(camera.id);
      else if (feed.tracks.length > 0) this.#missing(talk, feed.tracks);
    }
    const sounds = feed.tracks.filter(({ kind }) => kind === "audio").map(({ id }) => id);
    // Servers that follow only the published document name no tracks: everything is received then.
    const isUntold = feed.tracks.length === 0 && this.#talks.size > 0;
    const tracks = wanted.size > 0 ? [...wanted, ...sounds].sort() : [];
    const selection = isUntold ? "*" : JSON.stringify(tracks);
    if (selection === this.#selection) return;
    this.#selection = selection;
    // Rejects only when it stops first, which its state tells.
    if (isUntold) feed.receive().catch(() => {});
    else if (tracks.length > 0) feed.receive({ tracks }).catch(() => {});
    else feed.stop();
  }

  /** @param {CTalk} talk @param {TrackInfo[]} tracks */
  #missing(talk, tracks) {
    const cameras = tracks.filter(({ kind }) => kind === "video");
    const names = cameras.map(({ id, label }) => (label && label !== id ? `${id} (${label})` : id)).join(", ");
    talk.cameraRemoved();
    const name = `Drone ${this.number} has no camera "${talk.targetVideoTrack}" now`;
    talk.failed(new Error(`${name}; its cameras: ${names || "none"}. It is shown once it is there.`));
  }

  /** @param {string} id @param {MediaStreamTrack} track */
  #added(id, track) {
    for (const talk of this.talks) if (this.#concerns(talk, id, track)) talk.addTrack(id, track);
    this.#follow();
  }

  /** Give a conversation what is received already. @param {CTalk} talk */
  #handOut(talk) {
    for (const { id, track } of this.#feed?.received ?? []) {
      if (this.#concerns(talk, id, track)) talk.addTrack(id, track);
    }
  }

  /** @param {CTalk} talk @param {string} id @param {MediaStreamTrack} track */
  #concerns(talk, id, track) {
    if (track.kind === "audio") return true;
    const tracks = this.#feed?.tracks ?? [];
    if (tracks.length > 0) return findCamera(tracks, talk.targetVideoTrack)?.id === id;
    return talk.targetVideoTrack === DEFAULT_TRACK || normalised(talk.targetVideoTrack) === normalised(id);
  }

  #follow() {
    const feed = this.#feed;
    for (const talk of this.talks) talk.follow(feed?.state ?? null, feed?.peerConnection ?? null);
  }
}

/**
 * Find the camera that a page means.
 * @param {TrackInfo[]} tracks
 * @param {string} target
 * @returns {TrackInfo | undefined}
 */
function findCamera(tracks, target) {
  const cameras = tracks.filter(({ kind }) => kind === "video");
  const name = normalised(target);
  return (
    cameras.find(({ id }) => id === target) ??
    cameras.find(({ id }) => normalised(id) === name) ??
    cameras.find(({ label }) => normalised(label) === name) ??
    (target === DEFAULT_TRACK ? cameras[0] : undefined)
  );
}

/** As the drone's side makes a track's id of a camera's name. @param {string | undefined} name */
function normalised(name) {
  return name?.replaceAll(" ", "_").toLowerCase();
}
