/** Who we are and where the server is. */
export type Role = import("./protocol.js").Role;
/** @typedef {import("./protocol.js").Role} Role */
/**
 * Make a client id that is unlikely to collide.
 * @param {Role} role
 * @returns {string}
 */
export declare function randomClientId(role: Role): string;
/**
 * Build the address of the protocol's section 1. Tokens go into the first frame, not in here, where proxies log them.
 * @param {string | undefined} server
 * @param {Role} role
 * @param {string} clientId
 * @returns {URL}
 */
export declare function socketUrl(server: string | undefined, role: Role, clientId: string): URL;
