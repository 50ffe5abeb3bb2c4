// @ts-check
/**
 * The thread as those who answer see it: messages with their receipts, and the notes between them, each drawn once and
 * changed in its place.
 */

import { callWords } from "./chat-calling.js";
import { make } from "./make.js";
import { draw, safeHref } from "./chat-text.js";
import { PendingList } from "./chat-pending.js";
import { MessageItem, PICTURES } from "./chat-view.js";

/** @typedef {import("./chat-thread.js").Thread} Thread */
/** @typedef {import("./chat-thread.js").Message} Message */
/** @typedef {import("./chat-words.js").Words} Words */
/** @typedef {import("./inbox-rooms.js").Note} Note */

/** Pictures up to this size are fetched without being asked for, bytes. */
const SHOWN_PICTURE = 4 * 1_024 * 1_024;
/** As near as this to its end, a thread follows what comes, px. */
const NEAR = 60;

/** Where the content of an attachment is. @param {string} id */
const addressOf = (id) => `/v1/chat/files/${encodeURIComponent(id)}`;

export class InboxLog {
  #scroll;
  #place;
  #jump;
  #words;
  /** Name of a person. @type {(id: string | null | undefined) => string} */
  #nameOf;
  /** @type {Map<number, MessageItem>} */
  #items = new Map();
  #pending;
  /** Days and notes, by their names. @type {Map<string, HTMLElement>} */
  #others = new Map();
  /** The message that was looked for. */
  #found = 0;

  /**
   * @param {{ scroll: HTMLElement, place: HTMLElement, waiting: HTMLElement, jump: HTMLElement }} parts
   * @param {Words} words
   * @param {(id: string | null | undefined) => string} nameOf
   */
  constructor(parts, words, nameOf) {
    this.#scroll = parts.scroll;
    this.#place = parts.place;
    this.#pending = new PendingList(parts.waiting, words);
    this.#jump = parts.jump;
    this.#words = words;
    this.#nameOf = nameOf;
    this.#scroll.addEventListener("scroll", () => {
      if (this.isAtEnd) this.#jump.hidden = true;
    });
    this.#jump.addEventListener("click", () => this.toEnd());
  }

  get isAtEnd() {
    const { scrollHeight, scrollTop, clientHeight } = this.#scroll;
    return scrollHeight - scrollTop - clientHeight < NEAR;
  }

  toEnd() {
    this.#scroll.scrollTop = this.#scroll.scrollHeight;
    this.#jump.hidden = true;
  }

  /** Nothing is left of the room before. */
  clear() {
    for (const kept of [this.#items, this.#others]) kept.clear();
    this.#found = 0;
    this.#place.replaceChildren();
    this.#pending.clear();
    this.#jump.hidden = true;
  }

  /** The attachment of a message. @param {number} seq */
  download(seq) {
    const file = this.#items.get(seq)?.file;
    if (file) make("a", { href: addressOf(file.file), download: file.name }).click();
  }

  /** Asks once more before a message is taken back. @param {number} seq */
  doubt(seq) {
    this.#items.get(seq)?.doubt();
  }

  /** Shows a message that was looked for. @param {number} seq */
  reveal(seq) {
    const element = this.#items.get(seq)?.element;
    element?.scrollIntoView({ block: "center" });
    element?.classList.add("found");
    this.#found = seq;
  }

  /**
   * Draws what there is.
   * @param {Thread} thread
   * @param {Note[]} notes
   * @param {string} visitor the visitor's name
   * @param {number} now ms
   */
  show(thread, notes, visitor, now) {
    const wasAtEnd = this.isAtEnd;
    const { messages } = thread;
    const mine = messages.findLast((message) => message.role === "agent")?.seq;
    /** @type {HTMLElement[]} */
    const nodes = [];
    const left = [...notes].sort((one, other) => one.after - other.after || one.at.localeCompare(other.at));
    const first = messages[0]?.seq ?? 0;
    const noteUntil = (/** @type {number} */ seq) => {
      while (left[0] !== undefined && left[0].after <= seq) {
        const note = /** @type {Note} */ (left.shift());
        // What stands before the oldest message that is here comes with those before it.
        if (note.after >= first - 1) nodes.push(this.#note(note));
      }
    };
    let day = "";
    for (const message of messages) {
      noteUntil(message.seq - 1);
      const at = new Date(message.at);
      if (at.toDateString() !== day) nodes.push(this.#day(at, now));
      day = at.toDateString();
      nodes.push(this.#message(thread, message, visitor, now, message.seq === mine));
    }
    noteUntil(Infinity);
    this.#arrange(nodes);
    this.#pending.show(thread.pending);
    if (wasAtEnd) this.toEnd();
    else if (messages.at(-1)?.role === "visitor" && thread.unread > 0) this.#jump.hidden = false;
  }

  /** @param {Date} at @param {number} now */
  #day(at, now) {
    const name = `day ${at.toDateString()}`;
    const day = this.#others.get(name) ?? make("p", { class: "day" });
    day.textContent = this.#words.day(at, new Date(now));
    this.#others.set(name, day);
    return day;
  }

  /** @param {Note} note */
  #note(note) {
    const known = this.#others.get(note.id);
    if (known) return known;
    const who = make("span", { class: "author" }, `Note of ${this.#nameOf(note.author)}, unseen by the visitor`);
    const at = make("p", { class: "meta" }, make("time", { datetime: note.at }, this.#words.time(new Date(note.at))));
    const element = make("div", { class: "message inside", "data-note": note.id }, who, make("div", { class: "content" }, draw(note.text)), at);
    this.#others.set(note.id, element);
    return element;
  }

  /** @param {Thread} thread @param {Message} message @param {string} visitor @param {number} now @param {boolean} isLast */
  #message(thread, message, visitor, now, isLast) {
    let item = this.#items.get(message.seq);
    if (!item) {
      item = new MessageItem(this.#words);
      this.#items.set(message.seq, item);
    }
    const isMine = thread.isMine(message);
    const isVisitor = message.role === "visitor";
    const author = isMine ? "You" : isVisitor ? visitor : message.author || this.#nameOf(message.sender);
    const state = isLast && !message.deleted_at ? this.#words.say(stateOf(thread, message.seq)) : "";
    const before = item.file;
    item.show(message, { isMine: !isVisitor, mayChange: thread.mayChange(message, now), author, state });
    item.element.classList.toggle("own", isMine);
    item.element.classList.toggle("found", message.seq === this.#found);
    if (message.kind === "call" && !message.deleted_at) this.#call(item, message);
    if (item.file && item.file !== before) this.#picture(item, item.file);
    return item.element;
  }

  /** @param {MessageItem} item @param {Message} message */
  #call(item, message) {
    const content = item.element.querySelector(".content");
    const signature = JSON.stringify(message.body);
    if (!(content instanceof HTMLElement) || content.dataset.call === signature) return;
    content.dataset.call = signature;
    content.replaceChildren(make("p", {}, callWords(message.body)));
    if (message.body?.recording) content.append(make("button", { type: "button", class: "small", "data-act": "listen" }, "Listen to the recording"));
  }

  /** @param {MessageItem} item @param {import("./chat-api.js").Attachment} file */
  #picture(item, file) {
    if (!PICTURES.includes(file.type) || file.size > SHOWN_PICTURE) return;
    const image = item.picture(addressOf(file.file), file.name);
    const wasAtEnd = this.isAtEnd;
    image.addEventListener("load", () => wasAtEnd && this.toEnd());
  }

  /** Puts the elements in this order, and moves none that stands right. @param {HTMLElement[]} nodes */
  #arrange(nodes) {
    let at = this.#place.firstElementChild;
    for (const node of nodes) {
      if (at === node) at = at.nextElementSibling;
      else this.#place.insertBefore(node, at);
    }
    while (at) {
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

/** A link out of the page that tells the other site nothing; words where it is none. @param {string} address */
export function outward(address) {
  const href = safeHref(address);
  return href === null ? address : make("a", { href, target: "_blank", rel: "noopener noreferrer" }, address);
}
