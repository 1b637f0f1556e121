// @ts-check
/** What we need to know of a session description (RFC 8866): which m-line carries which track. */

/**
 * @typedef {object} MediaLine
 * @property {string} mid
 * @property {string} kind `audio`, `video` or `application`
 * @property {boolean} isRejected
 * @property {boolean} sends whether the author of the description sends on it
 * @property {string | null} codec the first one's name, such as `VP8`
 * @property {string | null} stream the stream's id by `a=msid` (RFC 8830)
 * @property {string | null} track the track's id; the sender's own, which browsers do not always keep on the other side
 */

/**
 * Read the m-lines of a description.
 * @param {string} sdp
 * @returns {MediaLine[]}
 */
export function mediaLines(sdp) {
  return sdp
    .split(/^m=/m)
    .slice(1)
    .map((section) => {
      const [, kind, port] = /^(\S+) (\d+)/.exec(section) ?? [];
      const [, codec = null] = /^a=rtpmap:\d+ ([^/\s]+)/m.exec(section) ?? [];
      const [, stream = null, track = null] = /^a=msid:(\S+)(?: (\S+))?/m.exec(section) ?? [];
      // Port 0 is a rejected line, unless it is only bundled (RFC 9143 section 6).
      const isRejected = port === "0" && !/^a=bundle-only/m.test(section);
      const sends = !isRejected && !/^a=(recvonly|inactive)/m.test(section);
      return { mid: /^a=mid:(\S+)/m.exec(section)?.[1] ?? "", kind, isRejected, sends, codec, stream, track };
    });
}
