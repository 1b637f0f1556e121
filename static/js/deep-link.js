// @ts-check
/** Links into the viewer page: `/#device=cam-1&camera=front&room=7`. Pure. */

/** Devices that one link may open; a link for more is a link for all. */
const MAX_LINKED_DEVICES = 25;

/**
 * @typedef {object} DeepLink
 * @property {number | null} room enter this room instead of one of our own, and watch what is in it
 * @property {string[]} devices watch these at once
 * @property {string | null} camera the id or label of the video track to show of a device that has several
 * @property {boolean} all watch everything that is online at once
 * @property {string | undefined} token for servers with auth on; never written into a link that we make
 */

/**
 * Read a link's fragment. Parts that make no sense are left out: the page then opens as without them.
 * @param {string} hash `location.hash`
 * @returns {DeepLink}
 */
export function readLink(hash) {
  const fields = new URLSearchParams(hash.replace(/^#/, ""));
  const room = Number(fields.get("room") || NaN);
  const devices = fields.getAll("device").flatMap((value) => value.split(","));
  return {
    room: Number.isSafeInteger(room) && room >= 0 ? room : null,
    devices: [...new Set(devices.map((name) => name.trim()).filter(Boolean))].slice(0, MAX_LINKED_DEVICES),
    camera: fields.get("camera") || null,
    all: fields.has("all"),
    token: fields.get("token") ?? undefined,
  };
}

/**
 * Write a link that opens one device, and one camera of it.
 * @param {string} origin
 * @param {string} device
 * @param {string | null} camera null where the device has only one
 */
export function writeLink(origin, device, camera) {
  const fields = new URLSearchParams({ device, ...(camera && { camera }) });
  return `${origin}/#${fields}`;
}
