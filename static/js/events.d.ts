/** Events with types: an `EventTarget` that knows its events' names and what each one's `detail` holds. */
/**
 * An `EventTarget` whose listeners get `CustomEvent`s with a typed `detail`. Names it does not know are allowed: a newer
 * server may send them.
 * @template {Record<string, any>} Events detail types by event name
 */
export declare class Emitter<Events extends Record<string, any>> extends EventTarget {
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
    addEventListener<Name extends keyof Events & string>(type: Name, listener: ((event: CustomEvent<Events[Name]>) => void) | null, options?: boolean | AddEventListenerOptions): void;
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
    addEventListener(type: string, listener: EventListenerOrEventListenerObject | null, options?: boolean | AddEventListenerOptions): void;
}
/**
 * Dispatch an event with its detail.
 * @template {Record<string, any>} Events
 * @template {keyof Events & string} Name
 * @param {Emitter<Events>} target
 * @param {Name} name
 * @param {Events[Name]} detail
 */
export declare function emit<Events extends Record<string, any>, Name extends keyof Events & string>(target: Emitter<Events>, name: Name, detail: Events[Name]): void;
/**
 * Call `handler` with the detail of each `name`.
 * @template {Record<string, any>} Events
 * @template {keyof Events & string} Name
 * @param {Emitter<Events>} target
 * @param {Name} name
 * @param {(detail: Events[Name]) => void} handler
 * @param {AbortSignal} [signal] stops listening
 */
export declare function on<Events extends Record<string, any>, Name extends keyof Events & string>(target: Emitter<Events>, name: Name, handler: (detail: Events[Name]) => void, signal?: AbortSignal): void;
