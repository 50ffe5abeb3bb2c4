// @ts-check
/**
 * What a browser keeps of a chat: which room is the visitor's, the token that opens it, and what was not sent yet.
 *
 * Where a browser keeps nothing (a frame whose storage is shut), the page's own memory stands in: the chat lives as long
 * as the page.
 */

/** @typedef {{ room: string, token: string }} Kept */
/** @typedef {import("./chat-thread.js").Pending} Pending */

const PREFIX = "tandem-chat";

/** A storage that forgets with the page. */
class Forgetful {
  /** @type {Map<string, string>} */
  #kept = new Map();
  /** @param {string} key */
  getItem(key) {
    return this.#kept.get(key) ?? null;
  }
  /** @param {string} key @param {string} value */
  setItem(key, value) {
    this.#kept.set(key, value);
  }
  /** @param {string} key */
  removeItem(key) {
    this.#kept.delete(key);
  }
}

/** @param {"localStorage" | "sessionStorage"} name @returns {Pick<Storage, "getItem" | "setItem" | "removeItem">} */
function storage(name) {
  try {
    const found = globalThis[name];
    found.setItem(`${PREFIX}-probe`, "1");
    found.removeItem(`${PREFIX}-probe`);
    return found;
  } catch {
    return new Forgetful();
  }
}

export class Memory {
  #lasting = storage("localStorage");
  #passing = storage("sessionStorage");
  #key;

  /** @param {string} app @param {string} product @param {string} user whom the page vouches for; "" = nobody */
  constructor(app, product, user) {
    this.#key = [PREFIX, app, product, user].join(":");
  }

  /** @returns {Kept | null} */
  get kept() {
    return read(this.#lasting.getItem(this.#key), null);
  }

  /** @param {Kept | null} kept */
  set kept(kept) {
    if (kept) this.#lasting.setItem(this.#key, JSON.stringify(kept));
    else this.#lasting.removeItem(this.#key);
  }

  /** What is still to be sent to a room. @param {string} room @returns {Pending[]} */
  pending(room) {
    return read(this.#passing.getItem(`${this.#key}:${room}`), []);
  }

  /** @param {string} room @param {Pending[]} pending */
  keepPending(room, pending) {
    if (pending.length > 0) this.#passing.setItem(`${this.#key}:${room}`, JSON.stringify(pending));
    else this.#passing.removeItem(`${this.#key}:${room}`);
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
