// @ts-check
/** What can be done with a tile: one table for its buttons, its menu, the keyboard and the help sheet. */

import { canRecord } from "./recording.js";

/** @typedef {import("./tile.js").Tile} Tile */

/**
 * @typedef {object} Action
 * @property {string} id
 * @property {string} key as in `KeyboardEvent.key`, in lower case
 * @property {string} icon
 * @property {string} help what it does, for the help sheet
 * @property {(tile: Tile) => string} label what a click does now
 * @property {(tile: Tile) => boolean} [isOn] of actions that switch something on and off
 * @property {(tile: Tile) => boolean} canRun
 * @property {(tile: Tile) => unknown} run
 */

/** @type {Action[]} in the order of the menu */
export const ACTIONS = [
  {
    id: "sound",
    key: "m",
    icon: "sound",
    help: "Sound on or off",
    label: (tile) => (tile.isMuted ? "Sound on" : "Sound off"),
    isOn: (tile) => !tile.isMuted,
    canRun: (tile) => tile.hasSound,
    run: (tile) => tile.toggleSound(),
  },
  {
    id: "spotlight",
    key: "s",
    icon: "spotlight",
    help: "Spotlight: one camera large, the others beside it",
    label: (tile) => (tile.isSpotlight ? "Back to the grid" : "Spotlight"),
    isOn: (tile) => tile.isSpotlight,
    canRun: () => true,
    run: (tile) => tile.host.spotlight(tile.isSpotlight ? null : tile),
  },
  {
    id: "fullscreen",
    key: "f",
    icon: "expand",
    help: "Full screen",
    label: (tile) => (tile.isFullscreen ? "Leave full screen" : "Full screen"),
    isOn: (tile) => tile.isFullscreen,
    canRun: () => true,
    run: (tile) => tile.toggleFullscreen(),
  },
  {
    id: "pip",
    key: "w",
    icon: "pip",
    help: "Picture in picture: a small window over everything",
    label: (tile) => (tile.isInPictureInPicture ? "Leave picture in picture" : "Picture in picture"),
    isOn: (tile) => tile.isInPictureInPicture,
    canRun: (tile) => document.pictureInPictureEnabled && tile.hasPicture,
    run: (tile) => tile.togglePictureInPicture(),
  },
  {
    id: "snapshot",
    key: "c",
    icon: "snapshot",
    help: "Snapshot: save the picture",
    label: () => "Snapshot",
    canRun: (tile) => tile.hasPicture,
    run: (tile) => tile.snapshot(),
  },
  {
    id: "record",
    key: "r",
    icon: "record",
    help: "Record on this computer, and save",
    label: (tile) => (tile.isRecording ? "Stop and save" : "Record"),
    isOn: (tile) => tile.isRecording,
    canRun: (tile) => canRecord() && (tile.isRecording || tile.isLive),
    run: (tile) => tile.toggleRecording(),
  },
  {
    id: "pause",
    key: " ",
    icon: "pause",
    help: "Pause: nothing is sent here until you go on",
    label: (tile) => (tile.isPaused ? "Go on" : "Pause"),
    isOn: (tile) => tile.isPaused,
    canRun: (tile) => tile.canPause,
    run: (tile) => tile.togglePause(),
  },
  {
    id: "link",
    key: "y",
    icon: "link",
    help: "Copy a link to this camera",
    label: () => "Copy link",
    canRun: (tile) => tile.device !== null,
    run: (tile) => tile.copyLink(),
  },
  {
    id: "close",
    key: "x",
    icon: "close",
    help: "Stop watching this camera",
    label: () => "Stop watching",
    canRun: () => true,
    run: (tile) => tile.host.close(tile),
  },
];

/**
 * Do what can be done.
 * @param {string} id
 * @param {Tile} tile
 */
export function runAction(id, tile) {
  const action = ACTIONS.find((candidate) => candidate.id === id);
  if (action?.canRun(tile)) action.run(tile);
}
