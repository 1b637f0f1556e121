// @ts-check
/** How loud a microphone is, as a bar. */

/** The quietest that the bar shows, in dBFS; a quiet room is at about -60. */
const FLOOR_DB = -60;
/** How often the bar moves; faster is not seen. */
const INTERVAL_MS = 60;
/** How often a screen reader may read another value. */
const SPOKEN_INTERVAL_MS = 1_000;
/** How fast the bar falls, a share of its length for each step: a syllable can be seen. */
const FALL = 0.08;

/** Show the level of one track at a time in an element with `role="meter"` and the custom property `--level`. */
export class LevelMeter {
  /** @type {AudioContext | null} made with the first track: browsers count and limit them */ #context = null;
  /** @type {AnalyserNode | null} */ #analyser = null;
  /** @type {MediaStreamAudioSourceNode | null} */ #source = null;
  /** @type {any} */ #timer = null;
  #spokenAt = 0;
  #level = 0;
  #element;

  /** @param {HTMLElement} element */
  constructor(element) {
    this.#element = element;
    // A context made before the first click on a page may not run before it.
    document.addEventListener("click", () => this.#source && this.#resume());
  }

  /** Follow another track, or none. @param {MediaStreamTrack | null} track */
  follow(track) {
    this.#source?.disconnect();
    this.#source = null;
    clearInterval(this.#timer);
    if (!track) {
      this.#show(0);
      void this.#context?.suspend();
      return;
    }
    this.#context ??= new AudioContext();
    this.#analyser ??= this.#context.createAnalyser();
    this.#source = this.#context.createMediaStreamSource(new MediaStream([track]));
    this.#source.connect(this.#analyser);
    this.#resume();
    this.#timer = setInterval(() => this.#measure(), INTERVAL_MS);
  }

  #resume() {
    this.#context?.resume().catch(() => {});
  }

  #measure() {
    const analyser = this.#analyser;
    if (!analyser || document.hidden) return;
    const samples = new Float32Array(analyser.fftSize);
    analyser.getFloatTimeDomainData(samples);
    const power = samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length;
    const level = power > 0 ? Math.max(0, 1 - (10 * Math.log10(power)) / FLOOR_DB) : 0;
    this.#show(Math.min(1, Math.max(level, this.#level - FALL)));
  }

  /** @param {number} level 0 to 1 */
  #show(level) {
    this.#level = level;
    this.#element.style.setProperty("--level", level.toFixed(3));
    const now = performance.now();
    if (level > 0 && now - this.#spokenAt < SPOKEN_INTERVAL_MS) return;
    this.#spokenAt = now;
    this.#element.setAttribute("aria-valuenow", String(Math.round(level * 100)));
  }
}
