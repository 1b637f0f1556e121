// @ts-check
/** Who we are and where the server is. */

/** @typedef {import("./protocol.js").Role} Role */

/** What the protocol's section 1 allows for an id. */
const CLIENT_ID = /^[A-Za-z0-9._~-]{1,64}$/;

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
 * Read whom a token is for: the server accepts it under that id alone. Nothing else of it is read, and nothing is
 * verified: that is the server's business.
 * @param {string} token
 * @returns {string | null} its `sub` claim; null where it has none that can be an id
 */
export function clientIdOf(token) {
  try {
    const claims = JSON.parse(atob(token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/")));
    return CLIENT_ID.test(claims.sub) ? String(claims.sub) : null;
  } catch {
    return null; // no JWT: a server with auth off accepts it all the same
  }
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
