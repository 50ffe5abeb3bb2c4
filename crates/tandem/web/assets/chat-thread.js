// @ts-check
/**
 * One room as a client knows it: its messages in order, what is still on its way, who has read how far, who types.
 *
 * No document and no socket: frames go in (crates/tandem/src/chat/socket/wire.rs), and what has changed comes out. A message
 * is here once, however often it is told; the cursor is how far nothing is missing.
 */

/** Somebody types until this long after the last sign of it, ms. */
export const TYPING_FOR = 6_000;
/** So long after it was sent a message may be changed or taken back by its sender, ms. */
export const EDIT_WINDOW = 15 * 60_000;

/**
 * @typedef {{ role: string, id?: string, name?: string }} Who
 * @typedef {{ room: string, seq: number, id: string, kind: string, body: any, author: string, side: any, at: string,
 *             role: string, sender?: string, cid?: string, edited_at?: string, deleted_at?: string }} Message
 * @typedef {{ cid: string, kind: string, body: any, at: string, failed?: string }} Pending
 * @typedef {{ side: "visitor" | "support", read: number, delivered: number }} Mark
 * @typedef {"message" | "changed" | "receipt" | "typing" | "draft" | "room" | "gap" | null} Change
 */

/** @param {Who} who */
const key = (who) => `${who.role}:${who.id ?? ""}`;
/** There is one visitor in a room; whoever else writes there answers. @param {Who} who */
const sideOf = ({ role }) => (role === "visitor" ? "visitor" : "support");

/**
 * The later form of a message: an answer of the list may be older than a change that was told meanwhile.
 * @param {Message | undefined} known
 * @param {Message} told
 */
function newer(known, told) {
  const changed = (/** @type {Message | undefined} */ message) => message?.deleted_at ?? message?.edited_at ?? "";
  return known && changed(known) > changed(told) ? known : told;
}

export class Thread {
  /** @type {Map<number, Message>} */
  #messages = new Map();
  /** How far each has come. @type {Map<string, Mark>} */
  #marks = new Map();
  /** When each was last seen typing. @type {Map<string, { who: Who, at: number }>} */
  #typing = new Map();
  /** What stands in the visitor's field, as those who answer see it. */
  draft = "";
  /** What is on its way, oldest first. @type {Pending[]} */
  pending = [];
  /** Everything up to this number is here. */
  cursor = 0;
  /** How far the server's clock is ahead of this one, ms, once a message of one's own has told it. */
  #ahead = 0;

  /**
   * @param {string} room
   * @param {Who} me
   */
  constructor(room, me) {
    this.room = room;
    this.me = me;
  }

  /** The messages in order. @returns {Message[]} */
  get messages() {
    return [...this.#messages.values()].sort((one, other) => one.seq - other.seq);
  }

  /** The newest number that is here, with holes before it or not. */
  head = 0;

  /** Whether anybody else has said anything. */
  hasOthers = false;

  /** @param {number} seq */
  get(seq) {
    return this.#messages.get(seq);
  }

  /** Whether a message is one's own. @param {Message} message */
  isMine({ role, sender }) {
    return role === this.me.role && (role === "visitor" || sender === this.me.id);
  }

  /**
   * Whether its sender may still change it.
   * @param {Message} message
   * @param {number} now ms
   */
  mayChange(message, now) {
    return this.isMine(message) && !message.deleted_at && now + this.#ahead - Date.parse(message.at) < EDIT_WINDOW;
  }

  /** How far anybody of the other side has read. */
  get readByOthers() {
    return this.#farthest("read");
  }

  /** How far it has reached the screen of anybody of the other side. */
  get deliveredToOthers() {
    return Math.max(this.readByOthers, this.#farthest("delivered"));
  }

  /** How far one has read oneself. */
  get readByMe() {
    return this.#marks.get(key(this.me))?.read ?? 0;
  }

  /** Messages of others that were not read yet, taken back ones aside. */
  get unread() {
    const isNew = (/** @type {Message} */ message) => !this.isMine(message) && message.seq > this.readByMe && !message.deleted_at;
    return [...this.#messages.values()].filter(isNew).length;
  }

  /** Who types just now. @param {number} now ms */
  typing(now) {
    return [...this.#typing.values()].filter(({ at }) => now - at < TYPING_FOR).map(({ who }) => who);
  }

  /**
   * Takes what the server says of this room.
   * @param {{ type: string, [member: string]: any }} frame
   * @param {number} now ms
   * @returns {Change}
   */
  apply(frame, now) {
    if (frame.room !== this.room) return null;
    switch (frame.type) {
      case "msg":
        return this.#take(/** @type {any} */ (frame));
      case "ack":
        return this.#acknowledged(frame, now);
      case "edit":
        return this.#change(frame, { body: frame.body, edited_at: frame.at });
      case "delete":
        return this.#change(frame, { body: null, deleted_at: frame.at });
      case "read":
        return this.mark(frame.from, { read: frame.seq, delivered: frame.delivered ?? 0 }) ? "receipt" : null;
      case "typing":
        return this.#typed(frame.from, frame.on, now);
      case "draft":
        this.draft = frame.text;
        return "draft";
      case "room":
        return "room";
      default:
        return null;
    }
  }

  /**
   * Takes what was fetched after the cursor: whatever is not among it does not exist for this client.
   * @param {Message[]} messages
   */
  fill(messages) {
    for (const message of messages) this.#put(newer(this.#messages.get(message.seq), message));
    const last = messages.at(-1)?.seq ?? this.cursor;
    this.#advanceTo(Math.max(this.cursor, last));
    for (const { cid } of messages) if (cid !== undefined) this.#arrived(cid);
  }

  /**
   * Notes how far somebody has come; never back.
   * @param {Who} who
   * @param {{ read: number, delivered: number }} mark
   * @returns {boolean} whether that is news
   */
  mark(who, { read, delivered }) {
    const before = this.#marks.get(key(who)) ?? { side: sideOf(who), read: 0, delivered: 0 };
    const after = { ...before, read: Math.max(before.read, read), delivered: Math.max(before.delivered, delivered) };
    this.#marks.set(key(who), after);
    return after.read > before.read || after.delivered > before.delivered;
  }

  /** @param {"read" | "delivered"} how */
  #farthest(how) {
    const others = [...this.#marks.values()].filter(({ side }) => side !== sideOf(this.me));
    return Math.max(0, ...others.map((mark) => mark[how]));
  }

  /** @param {Message} message @returns {Change} */
  #take(message) {
    if (message.cid !== undefined && this.isMine(message)) this.#arrived(message.cid);
    this.#typing.delete(key({ role: message.role, id: message.sender }));
    if (message.role === "visitor") this.draft = "";
    const known = this.#messages.get(message.seq);
    if (known) return null;
    this.#put(message);
    if (message.seq > this.cursor + 1) return "gap";
    this.#advanceTo(Math.max(this.cursor, message.seq));
    return "message";
  }

  /** @param {Message} message */
  #put(message) {
    this.#messages.set(message.seq, message);
    this.head = Math.max(this.head, message.seq);
    this.hasOthers ||= !this.isMine(message);
  }

  /** @param {number} seq */
  #advanceTo(seq) {
    this.cursor = seq;
    while (this.#messages.has(this.cursor + 1)) this.cursor += 1;
  }

  /** @param {any} ack @param {number} now @returns {Change} */
  #acknowledged({ cid, seq, id, at }, now) {
    // By the server's clock it was written a moment ago; if it was longer, what can still be changed may be shown too long.
    this.#ahead = Date.parse(at) - now;
    const sent = this.pending.find((pending) => pending.cid === cid);
    if (!sent) return null;
    this.#arrived(cid);
    if (this.#messages.has(seq)) return "changed";
    const { kind, body } = sent;
    const { role, id: sender } = this.me;
    return this.#take({ room: this.room, seq, id, kind, body, author: "", side: role !== "visitor", at, role, sender, cid });
  }

  /** @param {string} cid */
  #arrived(cid) {
    this.pending = this.pending.filter((pending) => pending.cid !== cid);
  }

  /** @param {any} frame @param {Partial<Message>} change @returns {Change} */
  #change({ seq }, change) {
    const message = this.#messages.get(seq);
    // Of two edits in one moment the earlier may come last.
    if (!message || (change.edited_at && message.edited_at && change.edited_at < message.edited_at)) return null;
    this.#messages.set(seq, { ...message, ...change });
    return "changed";
  }

  /** @param {Who} who @param {boolean} on @param {number} now @returns {Change} */
  #typed(who, on, now) {
    if (key(who) === key(this.me)) return null;
    if (on) this.#typing.set(key(who), { who, at: now });
    else this.#typing.delete(key(who));
    return "typing";
  }
}
