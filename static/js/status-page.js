// @ts-check
/** The status page: asks the admin API every two seconds, and ends what an operator wants ended. */

import { readLink } from "./deep-link.js";
import { AdminApi, ApiError } from "./status-api.js";
import { counted } from "./status-series.js";
import { CardList, FEED, ROOM, ServerView, WATCHER, shownOf } from "./status-view.js";
import { clearNotices, find, setText, showNotice, showStatus } from "./ui.js";

const INTERVAL_MS = 2_000;
/** Cards of a kind that are shown; the API has the rest. */
const MAX_CARDS = 50;
const MAX_WATCHERS = 100;
/** Where the token is kept while this tab is open. */
const TOKEN_KEY = "aiosfu-admin-token";

/**
 * @typedef {import("./status-api.js").Feed} Feed
 * @typedef {import("./status-api.js").Subscription} Subscription
 */

const api = new AdminApi();
const server = new ServerView();
const rooms = new CardList(find("#rooms"), ROOM, (room) => act(() => api.closeRoom(room.room_id)));
const feeds = new CardList(find("#feeds"), FEED, (feed) => act(() => api.stopPublication(feed.feed)));
/** @type {Map<number, CardList<Subscription>>} who watches a feed, of the feeds that are unfolded */
const watchers = new Map();
/** @type {any} */ let timer = null;
let isAsking = false;
let isUnreachable = false;

/** Ask for everything that is shown, and show it. */
async function refresh() {
  clearTimeout(timer);
  if (isAsking) return;
  isAsking = true;
  try {
    const whole = await api.server(); // first and alone: a refusal is one then, on the console too
    const [{ rooms: someRooms }, { feeds: someFeeds }] = await Promise.all([api.rooms(MAX_CARDS), api.feeds(MAX_CARDS)]);
    if (isUnreachable) clearNotices();
    isUnreachable = false;
    signIn(false);
    server.show(whole);
    rooms.show(someRooms, whole.now);
    feeds.show(someFeeds, whole.now);
    showCount("rooms", someRooms.length, whole.rooms);
    showCount("feeds", someFeeds.length, whole.feeds);
    await Promise.all(someFeeds.map((feed) => showWatchers(feed, whole.now)));
    for (const feed of watchers.keys()) if (!someFeeds.some((each) => each.feed === feed)) watchers.delete(feed);
    const viewers = counted(whole.viewers, "viewer");
    showStatus(whole.ready ? (whole.viewers > 0 ? "live" : "good") : "busy", whole.ready ? viewers : `About to end, ${viewers}`);
    timer = setTimeout(refresh, INTERVAL_MS);
  } catch (error) {
    failed(error);
  } finally {
    isAsking = false;
  }
}

/** @param {"rooms" | "feeds"} what @param {number} shown @param {number} all */
function showCount(what, shown, all) {
  find(`#${what}-none`).hidden = all > 0;
  setText(find(`#${what}-count`), all > 0 ? shownOf(shown, all) : "");
}

/** @param {Feed} feed @param {number} at */
async function showWatchers(feed, at) {
  const card = feeds.cardOf(feed);
  if (!card) return;
  const details = /** @type {HTMLDetailsElement} */ (find(".watchers", card));
  details.hidden = feed.viewers === 0;
  setText(find("summary", details), counted(feed.viewers, "viewer"));
  if (!details.open || feed.viewers === 0) return;
  const list = watchers.get(feed.feed) ?? new CardList(find(".watcher-list", card), WATCHER, (each) => act(() => api.disconnect("WEB", each.client_id)));
  watchers.set(feed.feed, list);
  try {
    const { subscriptions } = await api.subscriptions(feed.feed, MAX_WATCHERS);
    list.show(subscriptions, at);
  } catch (error) {
    if (!(error instanceof ApiError && error.status === 404)) throw error; // it has ended between two answers
  }
}

/** @param {unknown} error */
function failed(error) {
  const { status, message } = error instanceof ApiError ? error : { status: 0, message: String(error) };
  if (status === 401 && api.token === null) showStatus("idle", "Token needed");
  else showStatus("bad", status === 0 ? "Not reachable" : "Refused");
  if (status === 401 || (status === 403 && api.token !== null)) {
    if (api.token !== null) showNotice({ title: "This token was not accepted", text: message });
    forgetToken();
    signIn(true);
    return;
  }
  if (status === 403) {
    showNotice({ title: "This server does not show its status here", text: message });
    return;
  }
  isUnreachable = true;
  showNotice({ title: "The server could not be asked", text: `${message} Asking again every two seconds.` }, "advice");
  timer = setTimeout(refresh, INTERVAL_MS);
}

/** @param {() => Promise<unknown>} work */
async function act(work) {
  try {
    await work();
  } catch (error) {
    showNotice({ title: "That could not be done", text: error instanceof Error ? error.message : String(error) });
  }
  await refresh();
}

/** @param {boolean} isNeeded */
function signIn(isNeeded) {
  find("#sign-in").hidden = !isNeeded;
  find("#body").hidden = isNeeded;
  if (isNeeded) find("#token").focus();
}

/** @param {string} token */
function useToken(token) {
  api.token = token;
  sessionStorage.setItem(TOKEN_KEY, token);
}

function forgetToken() {
  api.token = null;
  sessionStorage.removeItem(TOKEN_KEY);
}

find("#sign-in").addEventListener("submit", (/** @type {Event} */ event) => {
  event.preventDefault();
  clearNotices();
  const field = /** @type {HTMLInputElement} */ (find("#token"));
  useToken(field.value.trim());
  field.value = "";
  refresh();
});
find("#feeds").addEventListener("toggle", () => refresh(), true);
document.addEventListener("visibilitychange", () => {
  clearTimeout(timer);
  if (!document.hidden) refresh();
});

const linked = readLink(location.hash).token;
if (linked) {
  useToken(linked);
  history.replaceState(null, "", location.pathname); // a token in the address is soon in a bookmark
} else {
  api.token = sessionStorage.getItem(TOKEN_KEY);
}
refresh();
