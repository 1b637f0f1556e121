// @ts-check
/** The last minute of a camera's numbers, and the small graphs of it. */

/** Readings kept: one a second for a minute. */
const READINGS = 60;
/** The graphs' own coordinates; they are stretched to whatever room there is. */
const GRAPH_HEIGHT = 20;
/** Under these a graph is not scaled up: a ripple of 2 kbit/s is no mountain. */
const LEAST_SCALE = { fps: 30, kbps: 500, roundTrip: 20, loss: 5 };

/** @typedef {keyof typeof LEAST_SCALE} GraphName */

/** A ring of readings by name. `null` is a gap: it was not known, or there was no connection. */
export class History {
  /** @type {Record<GraphName, (number | null)[]>} */ #readings = { fps: [], kbps: [], roundTrip: [], loss: [] };

  /** @param {import("./stats.js").MediaStats | null} stats */
  add(stats) {
    const { fps = null, kbps = null, roundTripMs = null, lossPercent = null } = stats ?? {};
    const values = { fps, kbps, roundTrip: roundTripMs, loss: lossPercent };
    for (const name of /** @type {GraphName[]} */ (Object.keys(values))) {
      const readings = this.#readings[name];
      readings.push(values[name]);
      if (readings.length > READINGS) readings.shift();
    }
  }

  /** @param {GraphName} name */
  of(name) {
    return this.#readings[name];
  }
}

/**
 * Make an SVG path of readings, the newest at the right edge; gaps stay gaps.
 * @param {(number | null)[]} readings
 * @param {number} leastScale the value that is the full height, unless a reading is higher
 * @returns {string}
 */
export function graphPath(readings, leastScale) {
  const top = Math.max(leastScale, ...readings.map((value) => value ?? 0));
  const offset = READINGS - readings.length;
  let path = "";
  let isDrawing = false;
  readings.forEach((value, index) => {
    if (value === null) {
      isDrawing = false;
      return;
    }
    const y = (GRAPH_HEIGHT - (value / top) * (GRAPH_HEIGHT - 2) - 1).toFixed(1);
    path += `${isDrawing ? "L" : "M"}${offset + index} ${y}`;
    isDrawing = true;
  });
  return path;
}

/**
 * Draw each of a list's graphs.
 * @param {HTMLElement} list holds `<path data-graph=...>` elements
 * @param {History} history
 */
export function drawGraphs(list, history) {
  for (const path of /** @type {NodeListOf<SVGPathElement>} */ (list.querySelectorAll("path[data-graph]"))) {
    const name = /** @type {GraphName} */ (path.dataset.graph);
    path.setAttribute("d", graphPath(history.of(name), LEAST_SCALE[name]));
  }
}
