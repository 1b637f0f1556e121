// @ts-check
/** Which of a device's several cameras to receive. Pure. */

/** @typedef {import("./protocol.js").TrackInfo} TrackInfo */

/**
 * @param {TrackInfo[]} videos at least one
 * @param {string | null} wish a camera's label or id; labels outlive a restart of the device
 * @returns {TrackInfo} the first where there is none of that name
 */
export function chosenCamera(videos, wish) {
  return videos.find(({ id, label }) => id === wish || label === wish) ?? videos[0];
}

/**
 * Which tracks to receive: of several cameras only one, because only one is shown.
 * @param {TrackInfo[]} tracks
 * @param {string | null} wish a camera's label or id
 * @returns {string[] | null} ids; null is all
 */
export function chooseTracks(tracks, wish) {
  const videos = tracks.filter(({ kind }) => kind === "video");
  if (videos.length < 2) return null;
  return [chosenCamera(videos, wish).id, ...tracks.filter(({ kind }) => kind === "audio").map(({ id }) => id)];
}
