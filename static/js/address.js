// @ts-check
/** Who we are and where the server is. */

/** @typedef {import("./protocol.js").Role} Role */

/**
 * Make a client id that is unlikely to collide.
 * @param {Role} role
 * @returns {string}
 */
export function randomClientId(role) {
  const bytes = crypto.getRandomValues(new Uint8Array(6));
  const suffix = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return `${role.toLowerCase()}-${suffix}`;
}

/**
 * Build the address of the protocol's section 1. Tokens go into the first frame, not in here, where proxies log them.
 * @param {string | undefined} server
 * @param {Role} role
 * @param {string} clientId
 * @returns {URL}
 */
export function socketUrl(server, role, clientId) {
  const url = new URL(server ?? new URL(import.meta.url).origin);
  const secure = url.protocol === "https:" || url.protocol === "wss:";
  const path = ["ws", "connect", role, clientId].map(encodeURIComponent).join("/");
  return new URL(`${secure ? "wss" : "ws"}://${url.host}/${path}`);
}
