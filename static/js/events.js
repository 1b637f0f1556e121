// @ts-check
/** Events with types: an `EventTarget` that knows its events' names and what each one's `detail` holds. */

/**
 * An `EventTarget` whose listeners get `CustomEvent`s with a typed `detail`. Names it does not know are allowed: a newer
 * server may send them.
 * @template {Record<string, any>} Events detail types by event name
 */
export class Emitter extends EventTarget {
  /**
   * @template {keyof Events & string} Name
   * @overload
   * @param {Name} type
   * @param {((event: CustomEvent<Events[Name]>) => void) | null} listener
   * @param {boolean | AddEventListenerOptions} [options]
   * @returns {void}
   */
  /**
   * @overload
   * @param {string} type
   * @param {EventListenerOrEventListenerObject | null} listener
   * @param {boolean | AddEventListenerOptions} [options]
   * @returns {void}
   */
  /** @param {string} type @param {any} listener @param {boolean | AddEventListenerOptions} [options] */
  addEventListener(type, listener, options) {
    super.addEventListener(type, listener, options);
  }
}

/**
 * Dispatch an event with its detail.
 * @template {Record<string, any>} Events
 * @template {keyof Events & string} Name
 * @param {Emitter<Events>} target
 * @param {Name} name
 * @param {Events[Name]} detail
 */
export function emit(target, name, detail) {
  target.dispatchEvent(new CustomEvent(name, { detail }));
}

/**
 * Call `handler` with the detail of each `name`.
 * @template {Record<string, any>} Events
 * @template {keyof Events & string} Name
 * @param {Emitter<Events>} target
 * @param {Name} name
 * @param {(detail: Events[Name]) => void} handler
 * @param {AbortSignal} [signal] stops listening
 */
export function on(target, name, handler, signal) {
  target.addEventListener(name, (event) => handler(event.detail), { signal });
}
