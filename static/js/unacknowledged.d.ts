/** What was sent and may not have arrived, kept for a server that says on resuming how far it has read. */
/** Count the messages of one session and keep the latest. Any reply shows that all before it were read. */
export declare class Unacknowledged {
    #private;
    /**
     * Take note of a message.
     * @param {number} id
     * @param {string | null} text null for one that counts but need not be sent again
     */
    add(id: number, text: string | null): void;
    /**
     * Forget up to the message with this id: the server has read it.
     * @param {unknown} id
     */
    acknowledge(id: unknown): void;
    /**
     * Begin the count of a resumed session, whose new socket has carried one message so far: our `ping`.
     * @param {number | undefined} received how many messages the server had read before; undefined where it does not say
     * @returns {{id: number, text: string}[]} what it had not, in order, for sending again
     */
    resume(received: number | undefined): {
        id: number;
        text: string;
    }[];
}
