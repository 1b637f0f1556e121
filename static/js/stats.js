// @ts-check
/** `RTCPeerConnection.getStats()` reduced to plain numbers. */

/** Between two readings closer than this a rate would be noise: the earlier rates are given again. */
const SHORTEST_INTERVAL_MS = 200;
/** Statistics take milliseconds. */
const STATS_TIMEOUT_MS = 2_000;

/**
 * The numbers of one track. `null` is "not known (yet)", never a guess.
 * @typedef {object} TrackStats
 * @property {string} id the browser's name for the track, as in `MediaStreamTrack.id`
 * @property {"audio" | "video"} kind
 * @property {number | null} width pixels of the picture received (or sent); of the largest layer where there are several
 * @property {number | null} height
 * @property {number | null} fps frames a second decoded (or encoded)
 * @property {number | null} kbps kbit/s of media
 * @property {number | null} lossPercent packets lost since the last reading
 * @property {number | null} jitterMs
 * @property {string | null} codec MIME type, such as `video/VP9`
 *
 * What a person or a test wants to know of a connection.
 * @typedef {object} MediaStats
 * @property {number | null} width pixels of the largest picture received (or sent)
 * @property {number | null} height
 * @property {number | null} fps frames a second decoded (or encoded)
 * @property {number | null} kbps kbit/s of media, audio and video together
 * @property {number | null} roundTripMs to the server, by ICE
 * @property {number | null} lossPercent packets lost since the last reading, in both kinds together
 * @property {number | null} jitterMs of video, or of audio where there is no video
 * @property {number} frames decoded (or encoded) so far
 * @property {number} framesDropped decoded too late to be shown, so far
 * @property {number} packetsLost so far, in both kinds together
 * @property {number} freezes counted so far
 * @property {number} frozenMs how long the picture stood still in them, so far
 * @property {number | null} firstFrameMs from asking for the feed to its first picture; only of a `Feed`
 * @property {number | null} availableKbps what the browser believes the way out can carry; only of a sender
 * @property {string | null} limitedBy what holds a sender's quality down: `none`, `cpu`, `bandwidth` or `other`
 * @property {boolean | null} isRelayed whether it goes through a TURN server
 * @property {string | null} transport `udp` or `tcp`
 * @property {number | null} audioLevel 0 to 1
 * @property {number} audioEnergy so far, in the units of `totalAudioEnergy`
 * @property {string | null} videoCodec MIME type, such as `video/VP9`
 * @property {string | null} audioCodec
 * @property {TrackStats[]} tracks the same for each track
 */

/**
 * @typedef {{at: number, bytes: number, frames: number, packets: number, lost: number}} Totals
 * @typedef {{fps: number | null, kbps: number | null, lossPercent: number | null}} Rates
 */

/** Reduce successive reports of one connection; rates are over the time since the previous one. */
export class StatsMeter {
  #whole = new RateMeter();
  /** @type {Map<string, RateMeter>} by the browser's track id */ #byTrack = new Map();

  /**
   * Take a report and return its numbers.
   * @param {RTCStatsReport} report
   * @returns {MediaStats}
   */
  update(report) {
    const all = [...report.values()];
    const inbound = all.filter((s) => s.type === "inbound-rtp");
    const outbound = all.filter((s) => s.type === "outbound-rtp");
    const streams = inbound.length > 0 ? inbound : outbound;
    const remote = all.filter((s) => s.type === "remote-inbound-rtp");
    const videos = streams.filter((s) => s.kind === "video");
    const audios = streams.filter((s) => s.kind === "audio");
    const video = largest(videos);
    const source = all.find((s) => s.type === "media-source" && s.kind === "audio");
    const sums = totals(streams, remote);
    const rates = this.#whole.update(sums);
    return {
      width: video?.frameWidth ?? null,
      height: video?.frameHeight ?? null,
      fps: video?.framesPerSecond ?? rates.fps,
      kbps: rates.kbps,
      lossPercent: rates.lossPercent,
      jitterMs: milliseconds((video ?? audios[0])?.jitter ?? remote[0]?.jitter),
      frames: sums.frames,
      framesDropped: sum(videos, "framesDropped"),
      packetsLost: sums.lost,
      freezes: sum(videos, "freezeCount"),
      frozenMs: sum(videos, "totalFreezesDuration") * 1000,
      firstFrameMs: null,
      limitedBy: video?.qualityLimitationReason ?? null,
      audioLevel: audios[0]?.audioLevel ?? source?.audioLevel ?? null,
      audioEnergy: sum(audios, "totalAudioEnergy") || (source?.totalAudioEnergy ?? 0),
      videoCodec: codecName(report, video),
      audioCodec: codecName(report, audios[0]),
      ...pathStats(all),
      tracks: this.#tracks(report, streams, remote),
    };
  }

  /** @param {RTCStatsReport} report @param {any[]} streams @param {any[]} remote @returns {TrackStats[]} */
  #tracks(report, streams, remote) {
    /** @type {Map<string, any[]>} */ const groups = new Map();
    for (const stream of streams) {
      const source = /** @type {any} */ (report).get(stream.mediaSourceId);
      const id = stream.trackIdentifier ?? source?.trackIdentifier;
      if (id) groups.set(id, [...(groups.get(id) ?? []), stream]);
    }
    for (const id of [...this.#byTrack.keys()].filter((known) => !groups.has(known))) this.#byTrack.delete(id);
    return [...groups].map(([id, own]) => {
      const meter = this.#byTrack.get(id) ?? new RateMeter();
      this.#byTrack.set(id, meter);
      const ssrcs = new Set(own.map((s) => s.ssrc));
      const reported = remote.filter((s) => ssrcs.has(s.ssrc));
      const best = largest(own);
      const rates = meter.update(totals(own, reported));
      return {
        id,
        kind: best.kind,
        width: best.frameWidth ?? null,
        height: best.frameHeight ?? null,
        ...rates,
        fps: best.kind === "video" ? (best.framesPerSecond ?? rates.fps) : null,
        jitterMs: milliseconds(best.jitter ?? reported[0]?.jitter),
        codec: codecName(report, best),
      };
    });
  }
}

/** Rates of counters that only grow, until a new connection starts them anew. */
class RateMeter {
  /** @type {Totals | null} */ #previous = null;
  /** @type {Rates} */ #rates = { fps: null, kbps: null, lossPercent: null };

  /** @param {Totals} now @returns {Rates} */
  update(now) {
    const before = this.#previous;
    const interval = before ? now.at - before.at : 0;
    if (before && now.bytes >= before.bytes && interval < SHORTEST_INTERVAL_MS) return this.#rates;
    this.#previous = now;
    if (!before || now.bytes < before.bytes) return this.#rates;
    const lost = Math.max(0, now.lost - before.lost);
    const packets = Math.max(0, now.packets - before.packets);
    this.#rates = {
      fps: ((now.frames - before.frames) * 1000) / interval,
      kbps: ((now.bytes - before.bytes) * 8) / interval,
      lossPercent: lost + packets > 0 ? (lost * 100) / (lost + packets) : 0,
    };
    return this.#rates;
  }
}

/**
 * What is known of the way to the server.
 * @param {any[]} all
 * @returns {{roundTripMs: number | null, availableKbps: number | null, isRelayed: boolean | null, transport: string | null}}
 */
function pathStats(all) {
  const pair = selectedPair(all);
  const local = all.find((s) => s.id === pair?.localCandidateId);
  const available = pair?.availableOutgoingBitrate;
  return {
    roundTripMs: milliseconds(pair?.currentRoundTripTime),
    availableKbps: available === undefined ? null : available / 1000,
    isRelayed: local ? local.candidateType === "relay" : null,
    transport: local?.protocol ?? null,
  };
}

/**
 * @param {any[]} streams @param {any[]} remote
 * @returns {Totals}
 */
function totals(streams, remote) {
  const reportedLost = sum(remote, "packetsLost");
  return {
    at: Math.max(0, ...streams.map((s) => s.timestamp)),
    bytes: sum(streams, "bytesReceived") + sum(streams, "bytesSent"),
    frames: sum(streams, "framesDecoded") + sum(streams, "framesEncoded"),
    // A sender learns its losses from the receiver's reports.
    packets: sum(streams, "packetsReceived") + Math.max(0, sum(streams, "packetsSent") - reportedLost),
    lost: sum(streams, "packetsLost") + reportedLost,
  };
}

/**
 * Read a connection's statistics, or reject: Firefox never answers for a connection that is closed meanwhile.
 * @param {RTCPeerConnection} pc
 * @returns {Promise<RTCStatsReport>}
 */
export async function readStats(pc) {
  let timer = 0;
  /** @type {Promise<never>} */
  const late = new Promise((_resolve, reject) => {
    const error = new DOMException(`no statistics within ${STATS_TIMEOUT_MS} ms`, "TimeoutError");
    timer = setTimeout(() => reject(error), STATS_TIMEOUT_MS);
  });
  try {
    return await Promise.race([pc.getStats(), late]);
  } finally {
    clearTimeout(timer);
  }
}

/** @param {any[]} entries @param {string} field */
function sum(entries, field) {
  return entries.reduce((total, entry) => total + (entry[field] ?? 0), 0);
}

/** @param {any[]} videos */
function largest(videos) {
  return videos.reduce((best, s) => (!best || (s.frameWidth ?? 0) > (best.frameWidth ?? 0) ? s : best), undefined);
}

/** @param {any[]} all */
function selectedPair(all) {
  const transport = all.find((s) => s.type === "transport" && s.selectedCandidatePairId);
  const pairs = all.filter((s) => s.type === "candidate-pair");
  // Firefox has no transport statistics; it marks the pair itself.
  return pairs.find((s) => s.id === transport?.selectedCandidatePairId) ?? pairs.find((s) => s.selected || s.nominated);
}

/** @param {number | undefined} seconds */
function milliseconds(seconds) {
  return seconds === undefined ? null : seconds * 1000;
}

/** @param {RTCStatsReport} report @param {any} stream */
function codecName(report, stream) {
  return /** @type {any} */ (report).get(stream?.codecId)?.mimeType ?? null;
}
