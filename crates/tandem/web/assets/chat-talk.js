// @ts-check
/**
 * One room that is being talked in: its thread, and the line that keeps it up to date. What has changed is told, and drawn
 * by others.
 */

import { Refused } from "./chat-api.js";
import { ChatLine } from "./chat-line.js";
import { Thread } from "./chat-thread.js";

/** @typedef {import("./chat-thread.js").Pending} Pending */
/** @typedef {import("./chat-line.js").Frame} Frame */

/** Messages before the cursor that are read again after the line was lost: they may have been changed meanwhile. */
const LOOK_BACK = 50;
/** Messages of one answer of the list: more are asked for again. */
const PAGE = 200;

/**
 * Dispatches `change` (something is to be drawn), `typing`, `room` (it is open, closed, rated), `line` (a word for how the
 * line is: "", `lost`, or `slow_down` with seconds), `queue` (the place in it), `edited` (the number of a message), `call` (a message that may tell of one), `presence`, `trouble` (a frame `error`, or why a message
 * was not taken), and `gone` when the room or the token is not good any more.
 */
export class Talk extends EventTarget {
  isRated = false;
  /** Everything up to this number is the past: it was there before the line was. */
  past = 0;
  /** It is known how far the visitor has read. */
  #isKnown = false;
  #isOver = false;
  /** What this line has been told of how far the visitor is. */
  #told = { delivered: 0, read: 0 };
  #api;
  #memory;
  #line;

  /** @param {import("./chat-stay.js").Stay} stay @param {import("./chat-stay.js").Found} found */
  constructor({ api, memory }, { room, standing }) {
    super();
    this.#api = api;
    this.#memory = memory;
    this.room = room;
    this.thread = new Thread(room.id, { role: "visitor" });
    if (standing) this.#stands(standing);
    this.#line = new ChatLine(api.socketUrl, api.token, () => ({ [room.id]: this.thread.cursor }));
    this.#line.addEventListener("ready", (event) => this.#began(detail(event)));
    this.#line.addEventListener("frame", (event) => this.#take(detail(event)));
    this.#line.addEventListener("offline", () => this.#tell("line", { word: "lost" }));
    this.#line.addEventListener("waiting", (event) => this.#tell("line", { word: "slow_down", seconds: detail(event) }));
    this.#line.addEventListener("failed", (event) => this.#failed(detail(event)));
    this.#line.addEventListener("refused", () => this.#tell("gone"));
  }

  /** Whether the server answers. */
  get online() {
    return this.#line.online;
  }

  /** Messages that the visitor has not read, as far as that is known. */
  get unread() {
    return this.#isKnown ? this.thread.unread : 0;
  }

  /** Begins, with what was not sent yet. */
  open() {
    const early = this.#memory.pending(null);
    const left = this.#memory.pending(this.room.id);
    this.#memory.keepPending(null, []);
    for (const pending of [...left, ...early]) this.post(pending);
    this.#line.open();
  }

  close() {
    this.#isOver = true;
    this.#line.close();
  }

  /** Sends a message, however long it takes. @param {Pending} pending */
  post(pending) {
    this.thread.pending.push(pending);
    this.#keep();
    const { cid, kind, body, failed } = pending;
    if (!failed) this.#line.say({ room: this.room.id, cid, kind, body });
  }

  /** Sends once more what was not taken. @param {string} cid */
  again(cid) {
    const { thread } = this;
    const pending = thread.pending.find((one) => one.cid === cid);
    if (!pending) return;
    thread.pending = thread.pending.filter((one) => one !== pending);
    const { kind, body, at } = pending;
    this.post({ cid, kind, body, at });
    this.#tell("change");
  }

  /** Tells what may be lost. @param {{ type: string, [member: string]: any }} frame @returns {boolean} whether it left */
  signal(frame) {
    return this.#line.send({ ...frame, room: this.room.id });
  }

  /** What has come has reached the visitor, and is read when they look at it. @param {boolean} isSeen */
  seen(isSeen) {
    const { thread } = this;
    if (!this.#line.online || !thread.hasOthers) return;
    const seq = thread.head;
    thread.mark(thread.me, { delivered: seq, read: isSeen ? seq : 0 });
    const read = thread.readByMe;
    // Said again on each new line: what was said when the last one broke may be lost.
    if (read > this.#told.read && this.signal({ type: "read", seq: read })) this.#told = { read, delivered: Math.max(read, this.#told.delivered) };
    if (seq > this.#told.delivered && this.signal({ type: "delivered", seq })) this.#told.delivered = seq;
  }

  /** Reads how the room is. */
  async readRoom() {
    try {
      const [room, standing] = await Promise.all([this.#api.room(this.room.id), this.#api.standing(this.room.id)]);
      if (this.#isOver) return;
      this.room = room;
      this.#stands(standing);
    } catch (error) {
      // Otherwise it is tried again with the next line.
      if (!this.#isOver && error instanceof Refused && error.isStale) return this.#tell("gone");
    }
    if (!this.#isOver) this.#tell("room");
  }

  /** @param {import("./chat-api.js").Standing} standing */
  #stands({ rated, marks }) {
    this.isRated = rated;
    this.thread.mark({ role: "support" }, marks.support);
    this.thread.mark({ role: "visitor" }, marks.visitor);
    this.#isKnown = true;
  }

  /** @param {Frame} ready */
  #began(ready) {
    const { thread } = this;
    const isFirst = thread.head === 0;
    this.#told = { delivered: 0, read: 0 };
    this.past = ready.heads?.[thread.room] ?? 0;
    thread.fill(ready.missed.filter((/** @type {any} */ { room, type }) => room === thread.room && type === "msg"));
    this.#tell("line", { word: "" });
    if (!isFirst) void this.#fetch(Math.max(0, thread.cursor - LOOK_BACK));
    this.#keep();
    this.#tell("change");
    void this.readRoom();
  }

  /** @param {Frame} frame */
  #take(frame) {
    const { thread } = this;
    if (frame.type === "error") return this.#tell("trouble", frame);
    // Other rooms of the visitor, which this page does not show, have places of their own.
    if (frame.type === "queue") return frame.room === thread.room ? this.#tell("queue", frame.position) : undefined;
    const change = thread.apply(frame, Date.now());
    if (change === "room") return void this.readRoom();
    if (change === "gap") void this.#fetch(thread.cursor);
    if (change === "typing") return this.#tell("typing");
    if (frame.type === "ack") this.#tell("line", { word: "" });
    if (frame.type === "ack" || frame.cid !== undefined) this.#keep();
    if (frame.type === "edit") this.#tell("edited", frame.seq);
    if (change) this.#tell("change");
    if (change && (frame.type === "msg" || frame.type === "edit")) this.#tell("call", thread.get(frame.seq));
    if (frame.type === "presence") this.#tell("presence");
  }

  /** Reads messages after a number, until there are no more. @param {number} after */
  async #fetch(after) {
    try {
      for (let from = after; !this.#isOver; ) {
        const { messages } = await this.#api.messages(this.room.id, from);
        if (this.#isOver) return;
        this.thread.fill(messages);
        const last = messages.at(-1);
        if (!last || messages.length < PAGE) break;
        from = last.seq;
      }
    } catch {
      // The next time that the line is ready, it is tried again.
    }
    this.#keep();
    if (!this.#isOver) this.#tell("change");
  }

  /** @param {{ said: import("./chat-line.js").Said, error: any }} what */
  #failed({ said, error }) {
    const { thread } = this;
    thread.pending = thread.pending.map((pending) => (pending.cid === said.cid ? { ...pending, failed: error.code } : pending));
    this.#keep();
    this.#tell("trouble", error);
    this.#tell("change");
    void this.readRoom();
  }

  #keep() {
    if (!this.#isOver) this.#memory.keepPending(this.room.id, this.thread.pending);
  }

  /** @param {string} name @param {unknown} [what] */
  #tell(name, what) {
    if (this.#isOver) return;
    this.dispatchEvent(new CustomEvent(name, { detail: what }));
  }
}

/** @param {Event} event */
function detail(event) {
  return /** @type {CustomEvent} */ (event).detail;
}
