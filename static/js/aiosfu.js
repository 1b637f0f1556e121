// @ts-check
/**
 * The browser's side of aiosfu: `Viewer` watches, `Publisher` is a device, `Connection` is the protocol underneath.
 *
 * No DOM, no dependencies, no global state; any number of them may live on one page.
 *
 *     import { Viewer } from "/static/js/aiosfu.js";
 *     const viewer = new Viewer({ server: "ws://127.0.0.1:8002" });
 *     viewer.addEventListener("feed", ({ detail: feed }) => { video.srcObject = feed.stream; });
 *     await viewer.watch();
 */

export { Connection, ConnectionClosedError, RequestTimeoutError, ServerError, randomClientId } from "./connection.js";
export { Feed } from "./feed.js";
export { Publisher } from "./publisher.js";
export { StatsMeter } from "./stats.js";
export { Viewer } from "./viewer.js";
