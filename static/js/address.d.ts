/** Who we are and where the server is. */
export type Role = import("./protocol.js").Role;
/**
 * Make a client id that is unlikely to collide.
 * @param {Role} role
 * @returns {string}
 */
export declare function randomClientId(role: Role): string;
/**
 * Read whom a token is for: the server accepts it under that id alone. Nothing else of it is read, and nothing is
 * verified: that is the server's business.
 * @param {string} token
 * @returns {string | null} its `sub` claim; null where it has none that can be an id
 */
export declare function clientIdOf(token: string): string | null;
/**
 * Build the address of the protocol's section 1. Tokens go into the first frame, not in here, where proxies log them.
 * @param {string | undefined} server
 * @param {Role} role
 * @param {string} clientId
 * @returns {URL}
 */
export declare function socketUrl(server: string | undefined, role: Role, clientId: string): URL;
