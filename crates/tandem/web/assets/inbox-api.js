// @ts-check
/** What the inbox asks the server outside its socket; the session's cookie speaks for whoever answers. */

import { ChatApi, Refused } from "./chat-api.js";

/** @typedef {import("./inbox-rooms.js").Room} Room */
/** @typedef {import("./inbox-rooms.js").Note} Note */
/** @typedef {import("./chat-thread.js").Message} Message */
/**
 * @typedef {{ person: string, name: string, state: "available" | "away", online: boolean, load: number, capacity: number }} Agent
 * @typedef {{ agents: Agent[], waiting: { team: string | null, rooms: number }[] }} Floor
 * @typedef {{ id: string, name: string }} Team
 * @typedef {{ id: string, shortcut: string, title: string, text: string, filled?: string }} Canned
 * @typedef {{ id: string, name: string, steps: { do: string }[] }} Macro
 * @typedef {{ room: string, seq: number, note: string | null, role: string, author: string, text: string, at: string, state: string, user_id: string }} Hit
 * @typedef {{ visitor: string, name: string, email: string | null, user_id: string, verified: boolean, product: string, page: string | null,
 *             user_agent: string | null, locale: string | null, rooms: Room[], rating: { score: number, comment: string } | null }} Card
 * @typedef {{ read: number, delivered: number }} Mark
 * @typedef {{ room: Room, visitor_mark: Mark, support_mark: Mark, notes: any[] }} Inside
 */

/** Rooms of one answer. */
const ROOMS = 100;
/** Messages of one answer. */
const MESSAGES = 100;
/** Found messages of one answer. */
const HITS = 30;
const EMPTY = 204;

export class InboxApi {
  /** What visitors ask for too. */
  #chat = new ChatApi(location.origin, "");

  /** Where the socket is. */
  get socketUrl() {
    return this.#chat.socketUrl;
  }

  /**
   * A page of rooms.
   * @param {Record<string, string>} filter
   * @param {string} [cursor]
   * @returns {Promise<{ rooms: Room[], cursor?: string }>}
   */
  rooms(filter, cursor) {
    const query = new URLSearchParams({ ...filter, limit: String(ROOMS), ...(cursor ? { cursor } : {}) });
    return this.#ask("GET", `/v1/chat/inbox?${query}`);
  }

  /** A room with its notes and marks. @param {string} room @returns {Promise<Inside>} */
  inside(room) {
    return this.#ask("GET", `/v1/chat/inbox/${encodeURIComponent(room)}`);
  }

  /** The newest messages before a number. @param {string} room @param {number} before @returns {Promise<{ messages: Message[], head: number }>} */
  before(room, before) {
    return this.#ask("GET", `/v1/chat/rooms/${room}/messages?before=${before}&limit=${MESSAGES}`);
  }

  /** The messages after a number. @param {string} room @param {number} after */
  after(room, after) {
    return this.#chat.messages(room, after);
  }

  /** @param {string} room @param {File} file @param {(part: number) => void} progress */
  upload(room, file, progress) {
    return this.#chat.upload(room, file, progress);
  }

  /** @param {string} room @param {string} text */
  note(room, text) {
    return this.#ask("POST", `/v1/chat/rooms/${room}/notes`, { text });
  }

  /** @param {string} room @param {"close" | "reopen" | "take" | "release"} act */
  change(room, act) {
    return this.#ask("POST", `/v1/chat/rooms/${room}/${act}`, {});
  }

  /** @param {string} room @param {{ person?: string, team?: string | null, note?: string }} to */
  transfer(room, to) {
    return this.#ask("POST", `/v1/chat/rooms/${room}/transfer`, to);
  }

  /** @param {string} room @returns {Promise<Card>} */
  card(room) {
    return this.#ask("GET", `/v1/chat/rooms/${room}/visitor`);
  }

  /** @param {string} room @param {{ name?: string, email?: string }} words @returns {Promise<Card>} */
  describe(room, words) {
    return this.#ask("PATCH", `/v1/chat/rooms/${room}/visitor`, words);
  }

  /** @param {string} room @returns {Promise<{ tags: string[] }>} */
  tags(room) {
    return this.#ask("GET", `/v1/chat/rooms/${room}/tags`);
  }

  /** @param {string} room @param {string[]} tags @returns {Promise<{ tags: string[] }>} */
  tag(room, tags) {
    return this.#ask("PUT", `/v1/chat/rooms/${room}/tags`, { tags });
  }

  /** @returns {Promise<{ tags: { tag: string }[] }>} */
  knownTags() {
    return this.#ask("GET", "/v1/chat/tags");
  }

  /** @returns {Promise<{ canned: Canned[] }>} */
  canned() {
    return this.#ask("GET", "/v1/chat/canned");
  }

  /** A reply as it reads in a room. @param {string} id @param {string} room @returns {Promise<Canned>} */
  filled(id, room) {
    return this.#ask("GET", `/v1/chat/canned/${id}?room=${room}`);
  }

  /** @returns {Promise<{ macros: Macro[] }>} */
  macros() {
    return this.#ask("GET", "/v1/chat/macros");
  }

  /** @param {string} room @param {string} macro @returns {Promise<{ done: number, failed: { step: number, message: string } | null }>} */
  run(room, macro) {
    return this.#ask("POST", `/v1/chat/rooms/${room}/macro`, { macro });
  }

  /** @returns {Promise<Floor>} */
  floor() {
    return this.#ask("GET", "/v1/chat/agents");
  }

  /** @param {{ state: "available" | "away", capacity?: number }} said @returns {Promise<Agent>} */
  sayState(said) {
    return this.#ask("PUT", "/v1/chat/agents/me", said);
  }

  /** @returns {Promise<{ teams: Team[] }>} */
  teams() {
    return this.#ask("GET", "/v1/chat/teams");
  }

  /** @param {string} words @returns {Promise<{ hits: Hit[] }>} */
  search(words) {
    return this.#ask("GET", `/v1/chat/search?${new URLSearchParams({ q: words, limit: String(HITS) })}`);
  }

  /** @param {string} method @param {string} path @param {unknown} [body] @returns {Promise<any>} */
  async #ask(method, path, body) {
    const init = body === undefined ? {} : { body: JSON.stringify(body), headers: { "content-type": "application/json" } };
    const answer = await fetch(path, { method, credentials: "same-origin", ...init });
    if (answer.ok) return answer.status === EMPTY ? null : answer.json();
    const problem = await answer.json().catch(() => ({}));
    const said = problem.errors?.[0]?.message ?? problem.detail ?? problem.title ?? "";
    throw new Refused(answer.status, problem.code ?? "", said, null);
  }
}
