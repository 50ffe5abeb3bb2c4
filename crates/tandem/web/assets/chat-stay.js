// @ts-check
/**
 * One visitor's stay in the chat: from when it is known who that is until the page says that it is somebody else.
 *
 * Each stay has its own token and its own part of the browser's memory. An answer that comes after the stay is over changes
 * nothing: nobody's room or token reaches whoever comes next.
 */

import { Refused } from "./chat-api.js";
import { Memory } from "./chat-memory.js";

/** @typedef {import("./chat-api.js").ChatApi} ChatApi */
/** @typedef {import("./chat-api.js").Identity} Identity */
/** @typedef {import("./chat-api.js").Room} Room */
/** @typedef {import("./chat-api.js").Standing} Standing */
/** A room, and how far it was read, where that is known. @typedef {{ room: Room, standing: Standing | null }} Found */

/** What is asked for is not there. */
const NOT_FOUND = 404;

/** The stay is over: whoever waited for it stops. */
export class Left extends Error {}

export class Stay {
  /** The page calls it over. */
  isOver = false;
  /** A room other than the last one is wanted. */
  isFresh = false;
  /** There was a room, and it is there no more. */
  isGone = false;
  /** The room that is being opened. @type {Promise<Found> | null} */
  #opening = null;

  /**
   * @param {ChatApi} api without a token
   * @param {{ app: string, product: string, link?: string, identity: Identity | null, page: () => string, locale?: string }} visit
   */
  constructor(api, visit) {
    this.api = api;
    this.visit = visit;
    this.memory = new Memory(visit.app, visit.link ?? visit.product, userOf(visit.identity));
  }

  /** Whether the page's own server says who it is. */
  get isVouched() {
    return Boolean(this.visit.identity?.token || this.visit.identity?.user_hash);
  }

  /** The room of before, if it is still there. @returns {Promise<Found | null>} */
  async before() {
    const { kept } = this.memory;
    if (!kept) return null;
    this.api.token = kept.token;
    if (kept.room === null) return null;
    try {
      const [room, standing] = await Promise.all([this.api.room(kept.room), this.api.standing(kept.room)]);
      this.#stop();
      return { room, standing };
    } catch (error) {
      this.#stop();
      if (!(error instanceof Refused && error.isStale)) throw error;
      this.forget(kept.room);
      return null;
    }
  }

  /** The room that whoever is vouched for has at another device; none is made. @returns {Promise<Found | null>} */
  async elsewhere() {
    if (!this.isVouched) return null;
    try {
      return await this.memory.alone(() => this.#ask(true));
    } catch (error) {
      if (error instanceof Refused && error.status === NOT_FOUND) return null;
      throw error;
    }
  }

  /** A room to speak in: the one that another page of this browser has opened meanwhile, or a new one. */
  open() {
    this.#opening ??= this.memory.alone(() => this.#open()).finally(() => (this.#opening = null));
    return this.#opening;
  }

  /** Puts what a room did not take back into the field. @param {string} room */
  takeBack(room) {
    const texts = this.memory.pending(room).filter(({ kind }) => kind === "text");
    this.memory.keepPending(room, []);
    this.memory.draft = [...texts.map(({ body }) => String(body)), this.memory.draft].filter(Boolean).join("\n\n");
  }

  /** Puts what is too old to be sent by itself before what stands in the field. @param {string} room @param {number} now ms @returns {string} what is new there */
  takeBackOld(room, now) {
    const old = this.memory.takeOld(room, now).join("\n\n");
    if (old !== "") this.memory.draft = [old, this.memory.draft].filter(Boolean).join("\n\n");
    return old;
  }

  /** That room is there no more. @param {string} room */
  forget(room) {
    this.isGone = true;
    this.takeBack(room);
    this.api.token = null;
    if (this.memory.kept?.room === room) this.memory.kept = null;
  }

  /** The same visitor wants another room. */
  renew() {
    this.isFresh = true;
    if (this.api.token) this.memory.kept = { room: null, token: this.api.token };
  }

  /** @returns {Promise<Found>} */
  async #open() {
    this.#stop();
    const found = this.isFresh ? null : await this.before();
    return found?.room.state === "open" ? found : this.#ask(false);
  }

  /** Asks for a room. @param {boolean} isLook whether none is to be made @returns {Promise<Found>} */
  async #ask(isLook) {
    const { product, link, identity, locale, page } = this.visit;
    const opened = await this.api.open({ product, link, identity: identity ?? undefined, page: page(), locale, fresh: this.isFresh, look: isLook || undefined });
    this.#stop();
    this.isFresh = false;
    if (opened.token) this.api.token = opened.token;
    if (this.api.token) this.memory.kept = { room: opened.room.id, token: this.api.token };
    return { room: opened.room, standing: null };
  }

  #stop() {
    if (this.isOver) throw new Left();
  }
}

/** Whom the page vouches for, as a part of a key. @param {Identity | null} identity */
function userOf(identity) {
  if (!identity) return "";
  if (identity.user_id) return identity.user_id;
  try {
    const claims = (identity.token ?? "").split(".")[1] ?? "";
    return String(JSON.parse(atob(claims.replace(/-/g, "+").replace(/_/g, "/"))).sub ?? "");
  } catch {
    return "";
  }
}
