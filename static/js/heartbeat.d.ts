/** Finding out that a link is dead although nobody closed it. Browsers cannot send WebSocket pings, so we ask. */
/** Watch one link: `probe` is called after silence, `dead` when nothing at all comes after it. */
export declare class Heartbeat {
    #private;
    /** @param {() => void} probe @param {() => void} dead */
    constructor(probe: () => void, dead: () => void);
    /** Begin. */
    start(): void;
    /** Stop. Idempotent. */
    stop(): void;
    /** Take note of a sign of life: any message. */
    heard(): void;
    /** Ask now, and give up sooner than usual. */
    doubt(): void;
}
