// @ts-check
/**
 * What a browser keeps of a chat: which room is the visitor's, the token that opens it, what was not sent yet, and what
 * stands in the field. What was not sent survives its tab: each message stands by itself, under the name by which the server
 * takes it once, so that several tabs may send it.
 *
 * Where a browser keeps nothing (a frame whose storage is shut, or full), the page's own memory stands in: the chat lives as
 * long as the page.
 */

/** A visitor; `room` is null while none is open. @typedef {{ room: string | null, token: string }} Kept */
/** @typedef {import("./chat-thread.js").Pending} Pending */

const PREFIX = "tandem-chat";
/** So long what was not sent is sent by itself, ms: what is older has perhaps been answered meanwhile. */
export const SENT_WITHIN = 24 * 60 * 60_000;
/** What stands beside something older that is no text. */
const TOO_OLD = "too_old";
/** The room of words that were written before there was one. */
const NO_ROOM = "";

/** A storage, and beside it what it did not take. */
class Store {
  /** @type {Storage | null} */
  #storage;
  /** @type {Map<string, string>} */
  #own = new Map();

  /** @param {"localStorage" | "sessionStorage"} name */
  constructor(name) {
    try {
      this.#storage = globalThis[name];
      this.#storage.setItem(`${PREFIX}-probe`, "1");
      this.#storage.removeItem(`${PREFIX}-probe`);
    } catch {
      this.#storage = null;
    }
  }

  /** @param {string} key */
  get(key) {
    return this.#own.get(key) ?? this.#storage?.getItem(key) ?? null;
  }

  /** @param {string} key @param {string | null} value */
  set(key, value) {
    this.#own.delete(key);
    if (value === null) return this.#storage?.removeItem(key);
    try {
      if (!this.#storage) throw new Error("there is none");
      this.#storage.setItem(key, value);
    } catch {
      this.#own.set(key, value);
    }
  }

  /** Whether it is the page's own memory alone. */
  get isShut() {
    return this.#storage === null;
  }

  /** @param {string} beginning of the keys */
  keys(beginning) {
    const kept = this.#storage ? Object.keys(this.#storage) : [];
    return [...kept, ...this.#own.keys()].filter((key) => key.startsWith(beginning));
  }

  /** @param {string} beginning of the keys */
  forget(beginning) {
    for (const key of this.keys(beginning)) this.set(key, null);
  }
}

const lasting = new Store("localStorage");
const passing = new Store("sessionStorage");

/** Whether the browser forgets a chat when its page is left. */
export const isForgetful = () => lasting.isShut;

/** Nothing stays of anybody's chat with an application. @param {string} app */
export function forget(app) {
  for (const store of [lasting, passing]) store.forget(`${PREFIX}:${app}:`);
}

export class Memory {
  /** Under which the visitor stands. */
  key;
  /** Messages of which this page knows that they are not sent. @type {Set<string>} */
  #known = new Set();

  /** @param {string} app @param {string} product @param {string} user whom the page vouches for; "" = nobody */
  constructor(app, product, user) {
    this.key = [PREFIX, app, product, user].join(":");
  }

  /** @returns {Kept | null} */
  get kept() {
    return read(lasting.get(this.key), null);
  }

  /** @param {Kept | null} kept */
  set kept(kept) {
    lasting.set(this.key, kept && JSON.stringify(kept));
  }

  /** What stands in the field. */
  get draft() {
    return passing.get(`${this.key}:draft`) ?? "";
  }

  /** @param {string} text */
  set draft(text) {
    passing.set(`${this.key}:draft`, text || null);
  }

  /** What is still to be sent to a room; null = to the one that will be opened. @param {string | null} room @returns {Pending[]} */
  pending(room) {
    if (room === null) return read(passing.get(`${this.key}:to:${NO_ROOM}`), []);
    const keys = lasting.keys(this.#to(room));
    for (const key of keys) this.#known.add(key);
    const all = keys.map((key) => /** @type {Pending | null} */ (read(lasting.get(key), null)));
    return all.filter((one) => one !== null).sort((one, other) => one.at.localeCompare(other.at));
  }

  /** @param {string | null} room @param {Pending[]} pending */
  keepPending(room, pending) {
    if (room === null) return passing.set(`${this.key}:to:${NO_ROOM}`, pending.length > 0 ? JSON.stringify(pending) : null);
    const beginning = this.#to(room);
    const now = new Map(pending.map((one) => [beginning + one.cid, JSON.stringify(one)]));
    for (const [key, text] of now) {
      if (lasting.get(key) !== text) lasting.set(key, text);
      this.#known.add(key);
    }
    // What another tab keeps is another tab's to forget.
    for (const key of this.#known) {
      if (!key.startsWith(beginning) || now.has(key)) continue;
      lasting.set(key, null);
      this.#known.delete(key);
    }
  }

  /**
   * Takes out the texts to a room that are too old to be sent by themselves, for whoever wrote them to read once more;
   * what else is as old is sent by hand alone.
   * @param {string} room
   * @param {number} now ms
   * @returns {string[]}
   */
  takeOld(room, now) {
    const all = this.pending(room);
    const old = new Set(all.filter(({ at }) => !(now - Date.parse(at) < SENT_WITHIN)));
    const texts = [...old].filter(({ kind }) => kind === "text");
    const left = all.filter((one) => !texts.includes(one));
    if (old.size > 0) this.keepPending(room, left.map((one) => (old.has(one) ? { ...one, failed: one.failed ?? TOO_OLD } : one)));
    return texts.map(({ body }) => String(body));
  }

  /** @param {string} room */
  #to(room) {
    return `${this.key}:to:${room}:`;
  }

  /**
   * Does something that only one page of this browser may do at a time.
   * @template Result
   * @param {() => Promise<Result>} work
   * @returns {Promise<Result>}
   */
  async alone(work) {
    // A frame whose storage is shut has no locks either, and shares nothing.
    /** @type {Promise<Result> | null} */
    let begun = null;
    try {
      await navigator.locks.request(this.key, () => (begun = work()));
    } catch (error) {
      if (begun === null) return work();
      throw error;
    }
    return /** @type {Promise<Result>} */ (/** @type {unknown} */ (begun));
  }
}

/** @template T @param {string | null} text @param {T} otherwise @returns {T} */
function read(text, otherwise) {
  try {
    return text === null ? otherwise : JSON.parse(text);
  } catch {
    return otherwise;
  }
}
