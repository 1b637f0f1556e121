// @ts-check
/** `RTCPeerConnection.getStats()` reduced to plain numbers. */

/** Between two readings closer than this a rate would be noise: the earlier rates are given again. */
const SHORTEST_INTERVAL_MS = 200;

/**
 * What a person or a test wants to know of a connection. `null` is "not known (yet)", never a guess.
 * @typedef {object} MediaStats
 * @property {number | null} width pixels of the largest picture received (or sent)
 * @property {number | null} height
 * @property {number | null} fps frames a second decoded (or encoded)
 * @property {number | null} kbps kbit/s of media, audio and video together
 * @property {number | null} roundTripMs to the server, by ICE
 * @property {number | null} lossPercent packets lost since the last reading, in both kinds together
 * @property {number | null} jitterMs of video, or of audio where there is no video
 * @property {number} frames decoded (or encoded) so far
 * @property {number} freezes counted so far
 * @property {number | null} audioLevel 0 to 1
 * @property {number} audioEnergy so far, in the units of `totalAudioEnergy`
 * @property {string | null} videoCodec MIME type, such as `video/VP9`
 * @property {string | null} audioCodec
 */

/** @typedef {{at: number, bytes: number, frames: number, packets: number, lost: number}} Totals */

/** Reduce successive reports of one connection; rates are over the time since the previous one. */
export class StatsMeter {
  /** @type {Totals | null} */ #previous = null;
  /** @type {{fps: number | null, kbps: number | null, lossPercent: number | null}} */
  #rates = { fps: null, kbps: null, lossPercent: null };

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
    this.#measure(totals(streams, videos, remote));
    return {
      width: video?.frameWidth ?? null,
      height: video?.frameHeight ?? null,
      fps: video?.framesPerSecond ?? this.#rates.fps,
      kbps: this.#rates.kbps,
      roundTripMs: milliseconds(selectedPair(all)?.currentRoundTripTime),
      lossPercent: this.#rates.lossPercent,
      jitterMs: milliseconds((video ?? audios[0])?.jitter ?? remote[0]?.jitter),
      frames: this.#previous?.frames ?? 0,
      freezes: sum(videos, "freezeCount"),
      audioLevel: audios[0]?.audioLevel ?? source?.audioLevel ?? null,
      audioEnergy: sum(audios, "totalAudioEnergy") || (source?.totalAudioEnergy ?? 0),
      videoCodec: codecName(report, video),
      audioCodec: codecName(report, audios[0]),
    };
  }

  /** @param {Totals} now */
  #measure(now) {
    const before = this.#previous;
    if (!before || now.bytes < before.bytes) {
      this.#previous = now; // the first reading, or the counters of a new connection
      return;
    }
    const interval = now.at - before.at;
    if (interval < SHORTEST_INTERVAL_MS) return;
    const lost = Math.max(0, now.lost - before.lost);
    const packets = Math.max(0, now.packets - before.packets);
    this.#rates = {
      fps: ((now.frames - before.frames) * 1000) / interval,
      kbps: ((now.bytes - before.bytes) * 8) / interval,
      lossPercent: lost + packets > 0 ? (lost * 100) / (lost + packets) : 0,
    };
    this.#previous = now;
  }
}

/**
 * @param {any[]} streams @param {any[]} videos @param {any[]} remote
 * @returns {Totals}
 */
function totals(streams, videos, remote) {
  const reportedLost = sum(remote, "packetsLost");
  return {
    at: Math.max(0, ...streams.map((s) => s.timestamp)),
    bytes: sum(streams, "bytesReceived") + sum(streams, "bytesSent"),
    frames: sum(videos, "framesDecoded") + sum(videos, "framesEncoded"),
    // A sender learns its losses from the receiver's reports.
    packets: sum(streams, "packetsReceived") + Math.max(0, sum(streams, "packetsSent") - reportedLost),
    lost: sum(streams, "packetsLost") + reportedLost,
  };
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
