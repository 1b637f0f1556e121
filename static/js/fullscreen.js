// @ts-check
/** A tile over the whole screen, with nothing on the picture while nobody moves. */

/** Long enough to read what a button is for, short enough not to be in the way. */
const STILL_AFTER_MS = 2_500;

/** One element's full screen. Sets `data-still` on it while it is on and the pointer rests. */
export class Fullscreen {
  #element;
  #video;
  /** @type {any} */ #timer = null;

  /**
   * @param {HTMLElement} element
   * @param {HTMLVideoElement} video what goes full screen where elements cannot: on iPhones
   * @param {() => void} changed it is on, or off again
   */
  constructor(element, video, changed) {
    this.#element = element;
    this.#video = video;
    element.addEventListener("fullscreenchange", () => {
      this.#moved();
      changed();
    });
    for (const event of ["pointermove", "pointerdown", "keydown"]) {
      element.addEventListener(event, () => this.isOn && this.#moved());
    }
  }

  get isOn() {
    return document.fullscreenElement === this.#element;
  }

  async toggle() {
    if (document.fullscreenElement) await document.exitFullscreen();
    else if (this.#element.requestFullscreen) await this.#element.requestFullscreen();
    else /** @type {any} */ (this.#video).webkitEnterFullscreen?.();
  }

  #moved() {
    clearTimeout(this.#timer);
    this.#element.removeAttribute("data-still");
    if (this.isOn) this.#timer = setTimeout(() => this.#element.toggleAttribute("data-still", this.isOn), STILL_AFTER_MS);
  }
}
