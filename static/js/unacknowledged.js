// @ts-check
/** What was sent and may not have arrived, kept for a server that says on resuming how far it has read. */

/** Messages kept; a client sends a handful between two replies. */
const MAX_MESSAGES = 128;
/** Characters kept: a few offers and their candidates. */
const MAX_CHARS = 524_288;

/** Count the messages of one session and keep the latest. Any reply shows that all before it were read. */
export class Unacknowledged {
  /** @type {{number: number, id: number, text: string | null}[]} oldest first */ #kept = [];
  #chars = 0;
  #sent = 0;

  /**
   * Take note of a message.
   * @param {number} id
   * @param {string | null} text null for one that counts but need not be sent again
   */
  add(id, text) {
    this.#sent += 1;
    this.#kept.push({ number: this.#sent, id, text });
    this.#chars += text?.length ?? 0;
    while (this.#kept.length > MAX_MESSAGES || this.#chars > MAX_CHARS) this.#drop();
  }

  /**
   * Forget up to the message with this id: the server has read it.
   * @param {unknown} id
   */
  acknowledge(id) {
    if (!this.#kept.some((message) => message.id === id)) return;
    let last;
    do last = this.#drop();
    while (last !== id);
  }

  /**
   * Begin the count of a resumed session, whose new socket has carried one message so far: our `ping`.
   * @param {number | undefined} received how many messages the server had read before; undefined where it does not say
   * @returns {{id: number, text: string}[]} what it had not, in order, for sending again
   */
  resume(received) {
    const ping = this.#kept.at(-1);
    const lost = received === undefined ? [] : this.#kept.filter((message) => message.number > received);
    this.#kept = [];
    this.#chars = 0;
    this.#sent = received ?? 0;
    if (ping) this.add(ping.id, null);
    return lost.flatMap(({ id, text }) => (text === null ? [] : [{ id, text }]));
  }

  /** @returns {number | undefined} the id of what was dropped */
  #drop() {
    const message = this.#kept.shift();
    this.#chars -= message?.text?.length ?? 0;
    return message?.id;
  }
}
