/**
 * The browser's side of aiosfu: `Viewer` watches, `Publisher` is a device, `Connection` is the protocol underneath.
 *
 * No DOM, no dependencies, no global state; any number of them may live on one page. See the README beside this directory.
 *
 *     import { Viewer } from "/static/js/aiosfu.js";
 *     const viewer = new Viewer();
 *     viewer.addEventListener("feed", ({ detail: feed }) => { video.srcObject = feed.stream; });
 *     await viewer.watch();
 */
export { clientIdOf, randomClientId } from "./address.js";
export { Connection } from "./connection.js";
export { CodecError, ConnectionClosedError, isRefusal, RequestTimeoutError, ServerError } from "./errors.js";
export { Feed } from "./feed.js";
export { Publication } from "./publication.js";
export { Publisher } from "./publisher.js";
export { StatsMeter } from "./stats.js";
export { Viewer } from "./viewer.js";
