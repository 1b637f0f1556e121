/** Requests that wait for their replies. */
export type Waiting = {
    resolve: (data: any) => void;
    reject: (error: unknown) => void;
};
/**
 * @typedef {object} Waiting
 * @property {(data: any) => void} resolve
 * @property {(error: unknown) => void} reject
 */
/** Promises by the ids of their requests. They outlive a socket whose session may be resumed. */
export declare class Requests {
    #private;
    /** How many wait. */
    get size(): number;
    /** @param {number} id @returns {Promise<any>} settled by one of the methods below */
    expect(id: number): Promise<any>;
    /** @param {unknown} id @param {any} data @returns {boolean} whether a request was waiting for it */
    resolve(id: unknown, data: any): boolean;
    /** @param {unknown} id @param {unknown} error @returns {boolean} whether a request was waiting for it */
    reject(id: unknown, error: unknown): boolean;
    /** @param {unknown} error what all of them are told */
    rejectAll(error: unknown): void;
    /** Wait no longer. @param {number} id */
    forget(id: number): void;
}
