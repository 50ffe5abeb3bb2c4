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

/** Lines that come into sight within so many ms are one question. */
const LOOK_AFTER = 200;

/** Dispatches `open` with a room and perhaps a message, `folder`, and `part` with rooms that are seen and not known whole. */
export class RoomList extends EventTarget {
  #placeOf;
  #list;
  #nothing;
  #more;
  #tabs;
  /** Lines by the rooms' ids. @type {Map<string, HTMLLIElement>} */
  #lines = new Map();
  /** What a search has found, while it is shown; null = a folder is. @type {Hit[] | null} */
  #hits = null;
  /** The hit that was opened last. */
  #hitAt = -1;
  /** Rooms of which more is to be known, since they are seen. @type {Set<string>} */
  #parts = new Set();
  /** @type {number | undefined} */
  #partTimer;
  #sight = new IntersectionObserver((entries) => this.#seen(entries));
  /** @type {Folder} */
  folder = "mine";

  /**
   * @param {(room: Room) => string} placeOf where a room was begun
   * @param {{ list: HTMLElement, nothing: HTMLElement, more: HTMLElement, tabs: HTMLElement }} parts
   */
  constructor(placeOf, { list, nothing, more, tabs }) {
    super();
    this.#placeOf = placeOf;
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
      if (this.#hits !== null) this.#hitAt = [...list.children].indexOf(/** @type {Element} */ (link.parentElement));
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
    this.#hits = null;
    for (const folder of FOLDERS) this.#showTab(folder, rooms, hasMore(folder));
    const shown = rooms.list(this.folder);
    const lines = shown.map((room) => this.#line(rooms, room, here, now));
    if ([...this.#list.children].some((child, at) => child !== lines[at]) || this.#list.childElementCount !== lines.length) this.#list.replaceChildren(...lines);
    const ids = new Set(shown.map(({ id }) => id));
    for (const id of [...this.#lines.keys()]) if (!ids.has(id)) this.#lines.delete(id);
    this.#watch(shown);
    this.#nothing.textContent = shown.length === 0 ? EMPTY[this.folder] : "";
    this.#nothing.hidden = shown.length > 0;
    this.#more.hidden = !hasMore(this.folder);
  }

  /** Shows what a search has found. @param {Hit[]} hits @param {Rooms} rooms */
  showHits(hits, rooms) {
    const now = new Date();
    this.#hits = hits;
    this.#hitAt = -1;
    this.#lines.clear();
    this.#list.replaceChildren(...hits.map((hit) => this.#hit(hit, rooms.get(hit.room), now)));
    this.#nothing.textContent = hits.length === 0 ? "No message has these words." : "";
    this.#nothing.hidden = hits.length > 0;
    this.#more.hidden = true;
  }

  /**
   * What stands before or after what is open: the room of the folder, or the message that a search has found.
   * @param {Rooms} rooms
   * @param {string | null} here
   * @param {1 | -1} step
   * @returns {{ room: string, seq: number | null } | null}
   */
  step(rooms, here, step) {
    if (this.#hits !== null) return this.#stepHit(this.#hits, step);
    const room = this.#neighbour(rooms, here, step);
    return room === null ? null : { room, seq: null };
  }

  /** @param {Hit[]} hits @param {1 | -1} step */
  #stepHit(hits, step) {
    const hit = hits[this.#hitAt < 0 && step === -1 ? hits.length - 1 : this.#hitAt + step];
    if (hit === undefined) return null;
    this.#hitAt = hits.indexOf(hit);
    return { room: hit.room, seq: hit.seq };
  }

  /** @param {Rooms} rooms @param {string | null} here @param {1 | -1} step @returns {string | null} */
  #neighbour(rooms, here, step) {
    const ids = rooms.list(this.folder).map(({ id }) => id);
    const at = here === null ? -1 : ids.indexOf(here);
    const next = at < 0 ? (step === 1 ? 0 : ids.length - 1) : at + step;
    return ids[next] ?? null;
  }

  /** Puts the focus on the line of a room, or of the message that was found. @param {string} room */
  focus(room) {
    const line = this.#hits === null ? this.#lines.get(room) : this.#list.children[this.#hitAt];
    line?.querySelector("a")?.focus();
  }

  /** Of a line that comes into sight, all is to be known. @param {Room[]} shown */
  #watch(shown) {
    this.#sight.disconnect();
    for (const { id, isPart } of shown) {
      const line = this.#lines.get(id);
      if (isPart && line) this.#sight.observe(line);
    }
  }

  /** @param {IntersectionObserverEntry[]} entries */
  #seen(entries) {
    for (const { isIntersecting, target } of entries) {
      const room = target.querySelector("a")?.dataset.room;
      if (isIntersecting && room) this.#parts.add(room);
    }
    if (this.#parts.size === 0 || this.#partTimer !== undefined) return;
    this.#partTimer = setTimeout(() => {
      this.#partTimer = undefined;
      this.dispatchEvent(new CustomEvent("part", { detail: [...this.#parts] }));
      this.#parts.clear();
    }, LOOK_AFTER);
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
    const signature = JSON.stringify([nameOf(room), isUnread, said, own, room.last_at, room.visitor_online, this.#placeOf(room), room.assignee, room.held, room.id === here]);
    if (line.dataset.signature === signature) return line;
    line.dataset.signature = signature;
    const hadFocus = line.contains(document.activeElement);
    const name = make("span", { class: "name" }, nameOf(room));
    if (room.visitor_online) name.append(make("span", { class: "online" }, make("span", { class: "unseen" }, ", here now")));
    if (isUnread) name.append(make("span", { class: "dot" }, make("span", { class: "unseen" }, ", unread")));
    const at = make("time", { datetime: room.last_at }, shortTime(room.last_at, now));
    const words = make("span", { class: draft !== null ? "words typing" : "words" }, own + said);
    const product = make("span", { class: "quiet product" }, this.#placeOf(room) || "chat", room.held ? " · answered by a flow" : "");
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
