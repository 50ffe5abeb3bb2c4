// @ts-check
/** The list of messages: each is drawn once and changed in its place, under the day on which it was sent. */

import { make } from "./make.js";
import { PendingList } from "./chat-pending.js";
import { MessageItem, PICTURES } from "./chat-view.js";

/** @typedef {import("./chat-thread.js").Thread} Thread */
/** @typedef {import("./chat-thread.js").Message} Message */
/** @typedef {import("./chat-words.js").Words} Words */

/** Pictures up to this size are fetched without being asked for, bytes. */
const SHOWN_PICTURE = 4 * 1_024 * 1_024;

export class Log {
  #shell;
  #words;
  /** By which files are fetched. @type {import("./chat-api.js").ChatApi} */
  api;
  /** @type {Map<number, MessageItem>} */
  #items = new Map();
  #pending;
  /** @type {Map<string, HTMLElement>} */
  #days = new Map();
  /** Addresses of fetched files, to be given back. @type {Map<string, Promise<string>>} */
  #urls = new Map();

  /**
   * @param {import("./chat-view.js").Shell} shell
   * @param {Words} words
   * @param {import("./chat-api.js").ChatApi} api
   */
  constructor(shell, words, api) {
    this.#shell = shell;
    this.#words = words;
    this.#pending = new PendingList(shell.waiting, words);
    this.api = api;
  }

  /** Draws what there is. @param {Thread} thread @param {number} now ms */
  show(thread, now) {
    const wasAtEnd = this.#shell.follows;
    const messages = thread.messages;
    const last = messages.findLast((message) => thread.isMine(message))?.seq;
    const nodes = [];
    let day = "";
    for (const message of messages) {
      const at = new Date(message.at);
      const name = at.toDateString();
      if (name !== day) nodes.push(this.#day(name, at, now));
      day = name;
      nodes.push(this.#message(thread, message, now, message.seq === last).element);
    }
    this.#arrange(nodes);
    this.#pending.show(thread.pending);
    const news = messages.length > 0 && !wasAtEnd && !thread.isMine(/** @type {Message} */ (messages.at(-1)));
    if (wasAtEnd) this.#shell.toEnd();
    else if (news && thread.unread > 0) this.#shell.jump.hidden = false;
  }

  /** Nothing is left of the room before. */
  clear() {
    for (const url of this.#urls.values()) void url.then((found) => URL.revokeObjectURL(found), () => undefined);
    for (const kept of [this.#items, this.#days, this.#urls]) kept.clear();
    this.#arrange([]);
    this.#pending.clear();
  }

  /** The attachment of a message. @param {number} seq */
  file(seq) {
    return this.#items.get(seq)?.file ?? null;
  }

  /** Plays a recording of a call. @param {number} seq @param {string} url */
  play(seq, url) {
    this.#items.get(seq)?.play(url);
  }

  /** Asks once more before a message is taken back. @param {number} seq */
  doubt(seq) {
    this.#items.get(seq)?.doubt();
  }

  /** Hands an attachment to the browser, to be kept as a file. @param {number} seq */
  async download(seq) {
    const file = this.file(seq);
    if (!file) return;
    const link = make("a", { href: await this.#fetch(file.file), download: file.name });
    link.click();
  }

  /** @param {string} name @param {Date} at @param {number} now */
  #day(name, at, now) {
    const known = this.#days.get(name);
    const day = known ?? make("p", { class: "day" });
    const words = this.#words.day(at, new Date(now));
    if (day.textContent !== words) day.textContent = words;
    this.#days.set(name, day);
    return day;
  }

  /** @param {Thread} thread @param {Message} message @param {number} now @param {boolean} isLast */
  #message(thread, message, now, isLast) {
    let item = this.#items.get(message.seq);
    if (!item) {
      item = new MessageItem(this.#words);
      this.#items.set(message.seq, item);
    }
    const isMine = thread.isMine(message);
    const author = isMine ? this.#words.say("you") : message.author || this.#words.say("support");
    const state = isMine && isLast && !message.deleted_at ? this.#words.say(stateOf(thread, message.seq)) : "";
    const before = item.file;
    item.show(message, { isMine, mayChange: thread.mayChange(message, now), author, state });
    if (item.file && item.file !== before) void this.#picture(item, item.file);
    return item;
  }

  /** @param {MessageItem} item @param {import("./chat-api.js").Attachment} file */
  async #picture(item, file) {
    if (!PICTURES.includes(file.type) || file.size > SHOWN_PICTURE) return;
    try {
      const image = item.picture(await this.#fetch(file.file), file.name);
      image.addEventListener("load", () => this.#shell.follows && this.#shell.toEnd());
    } catch {
      // Its name stands there, and the button tries again.
    }
  }

  /** @param {string} id */
  #fetch(id) {
    const known = this.#urls.get(id);
    if (known) return known;
    const url = this.api.file(id).then((blob) => URL.createObjectURL(blob));
    this.#urls.set(id, url);
    url.catch(() => this.#urls.delete(id));
    return url;
  }

  /** Puts the elements in this order, and moves none that stands right. @param {Element[]} nodes */
  #arrange(nodes) {
    const { scroll, greeting, waiting } = this.#shell;
    let at = greeting.nextElementSibling;
    for (const node of nodes) {
      if (at === node) at = at.nextElementSibling;
      else scroll.insertBefore(node, at);
    }
    while (at && at !== waiting) {
      const next = at.nextElementSibling;
      at.remove();
      at = next;
    }
  }
}

/** @param {Thread} thread @param {number} seq */
function stateOf(thread, seq) {
  if (thread.readByOthers >= seq) return "read";
  return thread.deliveredToOthers >= seq ? "delivered" : "sent";
}
