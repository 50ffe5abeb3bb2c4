// @ts-check
/** The list of rooms: folders with their counts, a line a room, and what a search has found. */

import { make } from "./make.js";
import { FOLDERS, nameOf, wordsOf } from "./inbox-rooms.js";

/** @typedef {import("./inbox-rooms.js").Room} Room */
/** @typedef {import("./inbox-rooms.js").Folder} Folder */
/** @typedef {import("./inbox-rooms.js").Rooms} Rooms */
/** @typedef {import("./inbox-api.js").Hit} Hit */

/** What stands where a folder has no room. @type {Record<Folder, string>} */
const EMPTY = {
  mine: "No open room is yours. Take one that waits.",
  waiting: "Nobody waits.",
  all: "No room is open. They come from the widget, from links and QR codes.",
  closed: "No room was closed yet.",
};

/** When something was, as short as it can be. @param {string} at @param {Date} now */
function shortTime(at, now) {
  const then = new Date(at);
  const isToday = then.toDateString() === now.toDateString();
  return then.toLocaleString(undefined, isToday ? { timeStyle: "short" } : { day: "numeric", month: "short" });
}

/** Dispatches `open` with a room and perhaps a message, and `folder`. */
export class RoomList extends EventTarget {
  #list;
  #nothing;
  #more;
  #tabs;
  /** Lines by the rooms' ids. @type {Map<string, HTMLLIElement>} */
  #lines = new Map();
  /** @type {Folder} */
  folder = "mine";

  /** @param {{ list: HTMLElement, nothing: HTMLElement, more: HTMLElement, tabs: HTMLElement }} parts */
  constructor({ list, nothing, more, tabs }) {
    super();
    this.#list = list;
    this.#nothing = nothing;
    this.#more = more;
    this.#tabs = tabs;
    tabs.addEventListener("click", (event) => {
      const tab = event.target instanceof Element ? event.target.closest("[data-folder]") : null;
      if (tab instanceof HTMLElement) this.dispatchEvent(new CustomEvent("folder", { detail: tab.dataset.folder }));
    });
    list.addEventListener("click", (event) => {
      const link = event.target instanceof Element ? event.target.closest("a") : null;
      // With a key held the browser opens it elsewhere, as it does with every link.
      if (!(link instanceof HTMLElement) || event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      const { room, seq } = link.dataset;
      this.dispatchEvent(new CustomEvent("open", { detail: { room, seq: seq === undefined ? null : Number(seq) } }));
    });
  }

  /**
   * Draws a folder.
   * @param {Rooms} rooms
   * @param {string | null} here the room that is open
   * @param {(folder: Folder) => boolean} hasMore whether the server has more of a folder
   */
  show(rooms, here, hasMore) {
    const now = new Date();
    for (const folder of FOLDERS) this.#showTab(folder, rooms, hasMore(folder));
    const shown = rooms.list(this.folder);
    const lines = shown.map((room) => this.#line(rooms, room, here, now));
    if ([...this.#list.children].some((child, at) => child !== lines[at]) || this.#list.childElementCount !== lines.length) this.#list.replaceChildren(...lines);
    for (const id of [...this.#lines.keys()]) if (!shown.some((room) => room.id === id)) this.#lines.delete(id);
    this.#nothing.textContent = shown.length === 0 ? EMPTY[this.folder] : "";
    this.#nothing.hidden = shown.length > 0;
    this.#more.hidden = !hasMore(this.folder);
  }

  /** Shows what a search has found. @param {Hit[]} hits @param {Rooms} rooms */
  showHits(hits, rooms) {
    const now = new Date();
    this.#lines.clear();
    this.#list.replaceChildren(...hits.map((hit) => this.#hit(hit, rooms.get(hit.room), now)));
    this.#nothing.textContent = hits.length === 0 ? "No message has these words." : "";
    this.#nothing.hidden = hits.length > 0;
    this.#more.hidden = true;
  }

  /** The room before or after one in the folder. @param {Rooms} rooms @param {string | null} here @param {1 | -1} step @returns {string | null} */
  neighbour(rooms, here, step) {
    const ids = rooms.list(this.folder).map(({ id }) => id);
    const at = here === null ? -1 : ids.indexOf(here);
    const next = at < 0 ? (step === 1 ? 0 : ids.length - 1) : at + step;
    return ids[next] ?? null;
  }

  /** Puts the focus on the line of a room. @param {string} room */
  focus(room) {
    this.#lines.get(room)?.querySelector("a")?.focus();
  }

  /** @param {Folder} folder @param {Rooms} rooms @param {boolean} hasMore */
  #showTab(folder, rooms, hasMore) {
    const tab = this.#tabs.querySelector(`[data-folder="${folder}"]`);
    if (!(tab instanceof HTMLElement)) return;
    const count = rooms.list(folder).length;
    const unread = rooms.unread(folder);
    tab.setAttribute("aria-pressed", String(folder === this.folder));
    const badge = tab.querySelector(".count");
    const text = folder === "closed" && count === 0 ? "" : `${count}${hasMore ? "+" : ""}`;
    if (badge && badge.textContent !== text) badge.textContent = text;
    const dot = tab.querySelector(".unread");
    if (dot instanceof HTMLElement) {
      dot.hidden = unread === 0;
      dot.textContent = `, ${unread} unread`;
    }
    tab.classList.toggle("has-unread", unread > 0);
  }

  /** @param {Rooms} rooms @param {Room} room @param {string | null} here @param {Date} now */
  #line(rooms, room, here, now) {
    const line = this.#lines.get(room.id) ?? make("li");
    this.#lines.set(room.id, line);
    const isUnread = rooms.isUnread(room);
    const draft = rooms.typing(room.id, now.getTime());
    const said = draft !== null ? "writes …" : wordsOf(room.last);
    const own = room.last !== null && room.last.role !== "visitor" ? "↩ " : "";
    const signature = JSON.stringify([nameOf(room), isUnread, said, own, room.last_at, room.visitor_online, room.product, room.assignee, room.id === here]);
    if (line.dataset.signature === signature) return line;
    line.dataset.signature = signature;
    const hadFocus = line.contains(document.activeElement);
    const name = make("span", { class: "name" }, nameOf(room));
    if (room.visitor_online) name.append(make("span", { class: "online" }, make("span", { class: "unseen" }, ", here now")));
    if (isUnread) name.append(make("span", { class: "dot" }, make("span", { class: "unseen" }, ", unread")));
    const at = make("time", { datetime: room.last_at }, shortTime(room.last_at, now));
    const words = make("span", { class: draft !== null ? "words typing" : "words" }, own + said);
    const product = make("span", { class: "quiet product" }, room.product || "chat");
    const attributes = { href: `/console/inbox/${room.id}`, "data-room": room.id, ...(room.id === here ? { "aria-current": "true" } : {}), ...(isUnread ? { class: "is-unread" } : {}) };
    line.replaceChildren(make("a", /** @type {Record<string, string>} */ (attributes), name, at, words, product));
    if (hadFocus) line.querySelector("a")?.focus();
    return line;
  }

  /** @param {Hit} hit @param {Room | undefined} room @param {Date} now */
  #hit(hit, room, now) {
    const who = room ? nameOf(room) : hit.user_id || "Visitor";
    const name = make("span", { class: "name" }, who, make("span", { class: "quiet" }, hit.note ? " note" : hit.role === "visitor" ? "" : ` ${hit.author || "answer"}`));
    const at = make("time", { datetime: hit.at }, shortTime(hit.at, now));
    const attributes = { href: `/console/inbox/${hit.room}`, "data-room": hit.room, "data-seq": String(hit.seq) };
    return make("li", {}, make("a", attributes, name, at, make("span", { class: "words" }, hit.text)));
  }
}
