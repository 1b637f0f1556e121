/** Whom a viewer invites. */
/** Devices by name, or all of them. */
export declare class Invitees {
    #private;
    /** @param {string[] | undefined} devices those to begin with; all when left out */
    constructor(devices: string[] | undefined);
    /** Their names; null is all. */
    get names(): string[] | null;
    get isNobody(): boolean;
    /** @param {string} device @returns {boolean} whether it is one of them by its name, not only as one of all */
    includes(device: string): boolean;
    /** @param {string[] | null} devices null is all, from now on */
    add(devices: string[] | null): void;
    /** @param {string[]} devices; one of all cannot be taken out */
    remove(devices: string[]): void;
    /** Go back to those of the beginning. */
    reset(): void;
}
