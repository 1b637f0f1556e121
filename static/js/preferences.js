// @ts-check
/** What a page remembers between visits. A browser that refuses storage only forgets. */

/**
 * @template {object} Values
 * @param {string} key
 * @param {Values} defaults also says which fields there are, and of what type
 * @returns {Values}
 */
export function recall(key, defaults) {
  try {
    const stored = JSON.parse(localStorage.getItem(key) ?? "{}");
    const known = Object.entries(defaults).filter(([name, value]) => typeof stored[name] === typeof value);
    return { ...defaults, ...Object.fromEntries(known.map(([name]) => [name, stored[name]])) };
  } catch {
    return { ...defaults };
  }
}

/** @param {string} key @param {object} values */
export function remember(key, values) {
  try {
    localStorage.setItem(key, JSON.stringify(values));
  } catch {
    // Private windows may have no storage.
  }
}
