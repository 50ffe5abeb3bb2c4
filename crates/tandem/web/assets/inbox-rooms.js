// @ts-check
/**
 * The rooms of an inbox as a client knows them: which there are, whose they are, what was said last and who has read it.
 *
 * No document and no socket: answers of `GET /v1/chat/inbox` and frames go in (crates/tandem/src/chat/socket/wire.rs), lists
 * come out. Of a room that is not known a frame makes a row that says what the frame says; the rest is fetched when somebody
 * looks at it.
 */

/** Somebody types until this long after the last sign of it, ms. */
export const TYPING_FOR = 6_000;
/** Characters of the last words that a list shows. */
const SHOWN_WORDS = 120;

/**
 * @typedef {{ seq: number, kind: string, role: string, body: any, author: string, at: string, deleted_at?: string }} Last
 * @typedef {{ id: string, app: string, product: string, user_id: string, label: string, state: "open" | "closed",
 *             visitor: string, assignee: string | null, team: string | null, seq_head: number, created_at: string,
 *             last_at: string, visitor_name: string, verified: boolean, visitor_online: boolean, support_read: number,
 *             held: boolean, last: Last | null, isPart?: boolean }} Room `held`: a flow answers; `isPart`: made from frames alone
 * @typedef {"mine" | "waiting" | "all" | "closed"} Folder
 * @typedef {{ id: string, room: string, after: number, text: string, author: string | null, at: string }} Note
 */

/** Whoever has a room of which only a message is known: somebody, or nobody. */
export const UNKNOWN = "?";

/** @type {readonly Folder[]} */
export const FOLDERS = ["mine", "waiting", "all", "closed"];

/** What each folder holds. @type {Record<Folder, (room: Room, me: string) => boolean>} */
const BELONGS = {
  mine: (room, me) => room.state === "open" && room.assignee === me,
  // Nobody has said anything in an empty room, which a preview of a link makes too; whom a flow answers waits for nobody.
  waiting: (room) => room.state === "open" && room.assignee === null && room.seq_head > 0 && !room.held,
  all: (room) => room.state === "open" && room.seq_head > 0,
  closed: (room) => room.state === "closed",
};

/** A message in a few words. @param {Pick<Last, "kind" | "body" | "deleted_at"> | null} message */
export function wordsOf(message) {
  if (message === null) return "";
  if (message.deleted_at !== undefined || message.body === null) return "Deleted";
  if (typeof message.body === "string") return [...message.body.replace(/\s+/g, " ").trim()].slice(0, SHOWN_WORDS).join("");
  if (typeof message.body.name === "string") return message.body.name;
  return message.kind === "call" ? "A call" : JSON.stringify(message.body).slice(0, SHOWN_WORDS);
}

/** What a visitor is called. @param {Pick<Room, "visitor_name" | "user_id" | "id">} room */
export function nameOf(room) {
  return room.visitor_name || room.user_id || `Visitor ${room.id.slice(-4)}`;
}

/**
 * Where a visitor has begun to talk: the product, and the application where there is more than one.
 * @param {Record<string, string>} apps names by their ids; empty = there is one
 */
export const placesOf = (apps) => (/** @type {Pick<Room, "product" | "app">} */ { product, app }) => [product, apps[app]].filter(Boolean).join(" · ");

export class Rooms {
  /** @type {Map<string, Room>} */
  #rooms = new Map();
  /** When a visitor was last seen typing, and what. @type {Map<string, { at: number, text: string }>} */
  #drafts = new Map();
  /** One's own id. */
  me = "";

  /** @param {string} id */
  get(id) {
    return this.#rooms.get(id);
  }

  /** Takes rooms as they were fetched. @param {Room[]} rooms */
  take(rooms) {
    for (const told of rooms) {
      const known = this.#rooms.get(told.id);
      const room = wholeOf(told, known);
      // A frame may have told more than an answer that was on its way.
      const isOlder = known !== undefined && known.seq_head > room.seq_head;
      const said = isOlder ? { seq_head: known.seq_head, last: known.last, last_at: known.last_at } : {};
      const read = Math.max(known?.support_read ?? 0, room.support_read);
      this.#rooms.set(room.id, { ...room, ...said, support_read: read });
    }
  }

  /** A room that is there no more. @param {string} id */
  drop(id) {
    this.#rooms.delete(id);
    this.#drafts.delete(id);
  }

  /** Forgets what is not said once more: before everything is fetched anew. */
  clear() {
    this.#rooms.clear();
    this.#drafts.clear();
  }

  /** The rooms of a folder: who waits longest first, elsewhere what was written last. @param {Folder} folder @returns {Room[]} */
  list(folder) {
    const found = [...this.#rooms.values()].filter((room) => BELONGS[folder](room, this.me));
    const byTime = (/** @type {Room} */ one, /** @type {Room} */ other) => one.last_at.localeCompare(other.last_at) || one.id.localeCompare(other.id);
    return folder === "waiting" ? found.sort((one, other) => one.created_at.localeCompare(other.created_at) || one.id.localeCompare(other.id)) : found.sort((one, other) => byTime(other, one));
  }

  /** Whether a visitor's words wait to be read; a flow has read them. @param {Room} room */
  isUnread(room) {
    return room.state === "open" && !room.held && room.last !== null && room.last.role === "visitor" && room.seq_head > room.support_read;
  }

  /** Rooms that are unread, of a folder. @param {Folder} folder */
  unread(folder) {
    return this.list(folder).filter((room) => this.isUnread(room)).length;
  }

  /** What a visitor is writing; null when nothing. @param {string} id @param {number} now ms @returns {string | null} */
  typing(id, now) {
    const draft = this.#drafts.get(id);
    return draft !== undefined && now - draft.at < TYPING_FOR ? draft.text : null;
  }

  /**
   * Takes what the server says.
   * @param {{ type: string, [member: string]: any }} frame
   * @param {number} now ms
   * @returns {"changed" | null}
   */
  apply(frame, now) {
    if (typeof frame.room !== "string") return null;
    const isTold = frame.type === "msg" || frame.type === "room";
    const room = this.#rooms.get(frame.room) ?? (isTold ? rowOf(frame, now) : undefined);
    if (room === undefined) return null;
    const change = this.#changeOf(room, frame, now);
    if (change === null) return null;
    this.#rooms.set(room.id, { ...room, ...change });
    return "changed";
  }

  /** @param {Room} room @param {any} frame @param {number} now @returns {Partial<Room> | null} */
  #changeOf(room, frame, now) {
    switch (frame.type) {
      case "msg":
        if (frame.role === "visitor") this.#drafts.delete(room.id);
        return frame.seq > room.seq_head ? { seq_head: frame.seq, last: frame, last_at: frame.at, ...heldBy(frame, room) } : null;
      case "edit":
      case "delete": {
        if (room.last?.seq !== frame.seq || room.last === null) return null;
        const now = frame.type === "edit" ? { body: frame.body } : { body: null, deleted_at: frame.at };
        return { last: { ...room.last, ...now } };
      }
      case "room":
        // A new room tells whether a flow answers it; every change of it ends the flow.
        return { state: frame.state, assignee: frame.assignee ?? null, team: frame.team ?? null, seq_head: Math.max(room.seq_head, frame.head ?? 0), held: frame.held ?? false };
      case "read":
        return frame.from.role !== "visitor" && frame.seq > room.support_read ? { support_read: frame.seq } : null;
      case "presence":
        return frame.from.role === "visitor" ? { visitor_online: frame.state === "online" } : null;
      case "typing":
      case "draft":
        return this.#typed(room, frame, now);
      default:
        return null;
    }
  }

  /** @param {Room} room @param {any} frame @param {number} now @returns {Partial<Room> | null} */
  #typed(room, frame, now) {
    if (frame.from.role !== "visitor") return null;
    const text = frame.type === "draft" ? frame.text : (this.#drafts.get(room.id)?.text ?? "");
    const isOver = frame.type === "draft" ? text === "" : !frame.on;
    if (isOver) this.#drafts.delete(room.id);
    else this.#drafts.set(room.id, { at: now, text });
    return {};
  }
}

/**
 * What a frame says of a room that is not known. Whose it is, a message does not say, but the first one of a room.
 * @param {{ type: string, [member: string]: any }} frame
 * @param {number} now ms
 * @returns {Room}
 */
function rowOf(frame, now) {
  const at = frame.at ?? new Date(now).toISOString();
  return {
    id: frame.room, app: "", product: "", user_id: "", label: "", state: "open", visitor: "", assignee: frame.seq === 1 ? null : UNKNOWN, team: null,
    seq_head: 0, created_at: at, last_at: at, visitor_name: "", verified: false, visitor_online: frame.role === "visitor", support_read: 0, held: false,
    last: null, isPart: true,
  };
}

/** What frames told of a room, put into what was fetched of it. @param {Room} told @param {Room | undefined} known @returns {Room} */
function wholeOf(told, known) {
  if (!told.isPart || known === undefined || known.isPart) return told;
  const { state, assignee, team, seq_head, last, last_at, held } = told;
  const said = last === null ? {} : { seq_head, last, last_at, held };
  return { ...known, ...said, ...(assignee === UNKNOWN ? {} : { state, assignee, team }) };
}

/** What the server itself says, but of a call, a flow says. @param {any} frame @param {Room} room @returns {Partial<Room>} */
function heldBy(frame, room) {
  if (frame.role === "visitor" || room.assignee !== null) return {};
  return { held: frame.role === "system" && frame.kind === "text" };
}
