// @ts-check
/** How tracks are encoded: codec, limits, and whether at all. */

/**
 * What an encoder may do at most; what is left out is the browser's choice.
 * @typedef {object} Limits
 * @property {number} [kbps] kbit/s of each video track
 * @property {number} [fps]
 * @property {number} [height] pixels; the width follows
 */

/**
 * Give the order of video codecs that puts one first.
 * @param {string | undefined} codec such as `VP9`
 * @returns {RTCRtpCodec[]} empty for the browser's own order; throws where the browser cannot send `codec`
 */
export function codecOrder(codec) {
  if (!codec) return [];
  const all = RTCRtpSender.getCapabilities("video")?.codecs ?? [];
  const isWanted = (/** @type {RTCRtpCodec} */ c) => c.mimeType.toLowerCase() === `video/${codec}`.toLowerCase();
  if (!all.some(isWanted)) throw new Error(`This browser cannot send ${codec}.`);
  return [...all.filter(isWanted), ...all.filter((c) => !isWanted(c))];
}

/**
 * Prefer codecs in this order in every video transceiver that sends.
 * @param {RTCPeerConnection} pc
 * @param {RTCRtpCodec[]} order
 */
export function preferCodecs(pc, order) {
  for (const transceiver of pc.getTransceivers()) {
    if (transceiver.sender.track?.kind === "video") transceiver.setCodecPreferences(order);
  }
}

/**
 * Set one sender's encodings. Without any, as before the first negotiation in some browsers, there is nothing to set.
 * @param {RTCRtpSender} sender
 * @param {boolean} isWanted whether to send at all
 * @param {Limits} limits of video
 */
export async function shapeEncodings(sender, isWanted, limits) {
  const parameters = sender.getParameters();
  if (!parameters.encodings?.length) return;
  const isVideo = sender.track?.kind === "video";
  const captured = sender.track?.getSettings().height;
  for (const encoding of parameters.encodings) {
    encoding.active = isWanted;
    if (!isVideo) continue;
    set(encoding, "maxBitrate", limits.kbps && limits.kbps * 1000);
    set(encoding, "maxFramerate", limits.fps);
    if (limits.height && captured) encoding.scaleResolutionDownBy = Math.max(1, captured / limits.height);
    else if (encoding.scaleResolutionDownBy && parameters.encodings.length === 1) encoding.scaleResolutionDownBy = 1;
  }
  await sender.setParameters(parameters).catch((error) => {
    // Negotiated anew meanwhile: the end of that calls here again.
    if (error.name !== "InvalidStateError" && error.name !== "InvalidModificationError") throw error;
  });
}

/** @param {RTCRtpEncodingParameters} encoding @param {"maxBitrate" | "maxFramerate"} name @param {number | undefined} value */
function set(encoding, name, value) {
  if (value) encoding[name] = value;
  else delete encoding[name];
}
