/** Which devices are there and what they do, as the server tells it bit by bit. */
export type DeviceInfo = import("./protocol.js").DeviceInfo;
export type StartListening = import("./protocol.js").StartListening;
/**
 * @typedef {import("./protocol.js").DeviceInfo} DeviceInfo
 * @typedef {import("./protocol.js").StartListening} StartListening
 */
/** The devices by their ids. It tells of changes once for all that come together: a fleet may come online at one stroke. */
export declare class DeviceList {
    #private;
    /** @param {() => void} changed */
    constructor(changed: () => void);
    /** All of them by name. */
    get all(): import("./protocol.js").DeviceInfo[];
    /** @param {string} device @returns {DeviceInfo | undefined} */
    get(device: string): DeviceInfo | undefined;
    /** Take a whole list in place of what was known. @param {DeviceInfo[]} devices */
    replace(devices: DeviceInfo[]): void;
    /** Know of none any more; this is told to nobody. */
    forget(): void;
    /** @param {string} device */
    online(device: string): void;
    /** @param {string} device */
    offline(device: string): void;
    /** @param {string[]} devices */
    invited(devices: string[]): void;
    /** @param {StartListening} announced */
    streaming({ device, feed, tracks }: StartListening): void;
    /** Its feed ended; it may still be there. @param {string | undefined} device */
    stopped(device: string | undefined): void;
    /** They did not take their invitation up. @param {string[]} devices */
    uninvited(devices: string[]): void;
}
