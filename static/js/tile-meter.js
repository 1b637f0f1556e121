// @ts-check
/** A tile's sound meter, which shows that there is something to hear, muted or not. */

/** Speech is around 0.1 to 0.3 on RFC 6464's scale; the square root makes quiet things visible. */
const METER_GAIN = 1.6;
/** Below this it is silence. */
const HEARD_FROM_LEVEL = 0.003;

/**
 * Move it; nothing is written that stays the same.
 * @param {HTMLElement} meter
 * @param {number} level 0 to 1, of RFC 6464's scale
 * @param {boolean} isMuted
 */
export function moveMeter(meter, level, isMuted) {
  const shown = Math.min(1, Math.sqrt(level) * METER_GAIN).toFixed(2);
  if (meter.style.getPropertyValue("--level") !== shown) meter.style.setProperty("--level", shown);
  meter.toggleAttribute("data-heard", level > HEARD_FROM_LEVEL && !isMuted);
}
