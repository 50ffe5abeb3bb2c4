// @ts-check
/**
 * What an inbox knows and does, without a document: its rooms, the threads that were opened, the line to the server.
 *
 * Whoever answers hears every room of the organisation; so a thread that was opened once stays complete, and after the line
 * was lost it is resumed from its cursor. What is said waits in the line until it is acknowledged: it arrives once.
 */

import { Refused } from "./chat-api.js";
import { ChatLine } from "./chat-line.js";
import { Memory } from "./chat-memory.js";
import { randomName } from "./chat-name.js";
import { Thread } from "./chat-thread.js";
import { Rooms } from "./inbox-rooms.js";

/** @typedef {import("./inbox-api.js").InboxApi} InboxApi */
/** @typedef {import("./inbox-rooms.js").Folder} Folder */
/** @typedef {import("./inbox-rooms.js").Room} Room */
/** @typedef {import("./inbox-rooms.js").Note} Note */
/** @typedef {{ thread: Thread, notes: Note[], isLoading: boolean, isWhole: boolean }} Open */
/** @typedef {{ id: string, name: string, works: boolean, manages: boolean }} Me */

/** Messages before the cursor that are read again after the line was lost: they may have been changed meanwhile. */
const LOOK_BACK = 50;
/** Messages of one answer of what comes after a number. */
const PAGE = 200;
/** Threads that are kept; the one that was looked at longest ago goes. */
const KEPT = 20;
/** So long the lists wait for the line, ms. */
const LINE_WAIT = 3_000;
/** Pages of older messages that a search leads through. */
const MOST_PAGES = 30;

/** What the server is asked for in each folder. @type {Record<Folder, (me: string) => Record<string, string>>} */
const FILTERS = {
  mine: (me) => ({ state: "open", assignee: me }),
  waiting: () => ({ state: "open", assignee: "none", order: "oldest" }),
  all: () => ({ state: "open" }),
  closed: () => ({ state: "closed" }),
};

/**
 * Dispatches `rooms` (the list is another), `thread` (the open one is another), `line` (words, or none), `news` (a visitor's
 * message), `floor` (who answers has changed), `tags`, `draft` (words of long ago that were not sent), `problem` (a sentence).
 */
export class Talk extends EventTarget {
  rooms = new Rooms();
  /** The room that is looked at. @type {string | null} */
  here = null;
  #api;
  #me;
  #line;
  #memory;
  /** In the order in which they were looked at. @type {Map<string, Open>} */
  #open = new Map();
  /** Where the list of a folder goes on. @type {Map<Folder, string | undefined>} */
  #cursors = new Map();
  /** Rooms that are being fetched. @type {Set<string>} */
  #fetching = new Set();
  /** Rooms that are fetched once more when the answer is there. @type {Set<string>} */
  #again = new Set();
  /** Rooms into which a file is being brought: their threads stay. @type {Map<string, number>} */
  #kept = new Map();
  #wasReady = false;
  /** The rooms that the line tells of while lists are fetched, a set for each fetch. @type {Set<Set<string>>} */
  #touched = new Set();

  /** @param {InboxApi} api @param {Me} me */
  constructor(api, me) {
    super();
    this.#api = api;
    this.#me = me;
    this.rooms.me = me.id;
    this.#memory = new Memory("inbox", me.id, "");
    this.#line = new ChatLine(api.socketUrl, null, () => this.#marks());
    this.#line.addEventListener("ready", (event) => void this.#try(() => this.#began(detail(event))));
    this.#line.addEventListener("frame", (event) => this.#take(detail(event)));
    this.#line.addEventListener("offline", () => this.#tell("line", "The connection is lost. What you write is sent when it is back."));
    this.#line.addEventListener("failed", (event) => this.#failed(detail(event)));
    this.#line.addEventListener("refused", () => this.#tell("line", "You are signed out, or may not answer chats any more. Load the page anew."));
  }

  get online() {
    return this.#line.online;
  }

  /** The thread that is looked at. @returns {Open | null} */
  get current() {
    return (this.here !== null && this.#open.get(this.here)) || null;
  }

  /** Opens the line, and fetches what there is once it hears, or when it has not come in time. */
  async start() {
    const isThere = new Promise((done) => this.addEventListener("rooms", done, { once: true }));
    this.#line.open();
    setTimeout(() => this.#wasReady || void this.#try(() => this.#fetchLists(["mine", "waiting", "all"])), LINE_WAIT);
    await Promise.race([isThere, new Promise((done) => setTimeout(done, 2 * LINE_WAIT))]);
  }

  // --- rooms

  /** Whether the server has more rooms of a folder. @param {Folder} folder */
  hasMore(folder) {
    return this.#cursors.get(folder) !== undefined;
  }

  /** Fetches the next rooms of a folder, or its first. @param {Folder} folder */
  async more(folder) {
    if (this.#cursors.has(folder) && !this.hasMore(folder)) return;
    await this.#try(async () => {
      const { rooms, cursor } = await this.#api.rooms(FILTERS[folder](this.#me.id), this.#cursors.get(folder));
      this.#cursors.set(folder, cursor);
      this.rooms.take(rooms);
      this.#tell("rooms");
    });
  }

  /** @param {Folder[]} folders */
  async #fetchLists(folders) {
    /** What the line told meanwhile is newer than the lists. @type {Set<string>} */
    const touched = new Set();
    this.#touched.add(touched);
    const pages = await Promise.all(folders.map((folder) => this.#api.rooms(FILTERS[folder](this.#me.id)))).finally(() => this.#touched.delete(touched));
    const newer = [...touched].flatMap((id) => this.rooms.get(id) ?? []);
    this.rooms.clear();
    this.#cursors.clear();
    pages.forEach(({ rooms, cursor }, at) => {
      this.rooms.take(rooms);
      this.#cursors.set(/** @type {Folder} */ (folders[at]), cursor);
    });
    this.rooms.take(newer);
    const here = this.here;
    if (here !== null && !this.rooms.get(here)) await this.#fetchRoom(here);
    this.#tell("rooms");
  }

  /** @param {string} id */
  async #fetchRoom(id) {
    // What happens while an answer is on its way is perhaps not in it.
    if (this.#fetching.has(id)) return void this.#again.add(id);
    this.#fetching.add(id);
    try {
      // Notes are given to who looks at them, and that is noted: for the list its line is enough.
      if (this.#open.has(id)) this.#know(await this.#api.inside(id));
      else {
        const { rooms } = await this.#api.rooms({ room: id });
        if (rooms.length === 0) this.rooms.drop(id);
        this.rooms.take(rooms);
        this.#tell("rooms");
      }
    } catch (error) {
      // A room that is gone is not shown.
      if (!(error instanceof Refused && error.isStale)) throw error;
    } finally {
      this.#fetching.delete(id);
    }
    if (this.#again.delete(id)) await this.#fetchRoom(id);
  }

  /** @param {import("./inbox-api.js").Inside} inside */
  #know({ room, notes, visitor_mark, support_mark }) {
    this.rooms.take([room]);
    const open = this.#open.get(room.id);
    if (open) {
      for (const { after_seq, ...note } of notes) this.#addNote(open, { ...note, after: after_seq });
      open.thread.mark({ role: "visitor" }, visitor_mark);
      open.thread.mark(open.thread.me, support_mark);
    }
    this.#tell("rooms");
    if (room.id === this.here) this.#tell("thread");
  }

  // --- one room

  /** Looks at a room, and at a message of it. @param {string} id @param {number | null} seq */
  async look(id, seq) {
    this.here = id;
    const known = this.#open.get(id);
    const open = known ?? { thread: new Thread(id, { role: "agent", id: this.#me.id }), notes: [], isLoading: true, isWhole: false };
    this.#open.delete(id);
    this.#open.set(id, open);
    for (const old of this.#open.keys()) {
      const isBusy = old === id || this.#kept.has(old) || this.#open.get(old)?.thread.pending.length !== 0;
      if (this.#open.size > KEPT && !isBusy) this.#open.delete(old);
    }
    this.#tell("rooms");
    this.#tell("thread");
    await this.#try(async () => {
      if (!known) await this.#load(id, open);
      else await this.#fetchRoom(id);
      if (seq !== null) await this.#until(open, seq);
    });
  }

  /** @param {string} id @param {Open} open */
  async #load(id, open) {
    try {
      const inside = await this.#api.inside(id);
      const { messages } = await this.#api.before(id, inside.room.seq_head + 1);
      this.#older(open, messages);
      this.#know(inside);
    } catch (error) {
      // It is tried again when it is looked at again.
      this.#open.delete(id);
      throw error;
    } finally {
      open.isLoading = false;
    }
    const old = this.#memory.takeOld(id, Date.now());
    if (old.length > 0) this.#tell("draft", { room: id, text: old.join("\n\n") });
    for (const pending of this.#memory.pending(id)) this.#post(open.thread, pending);
    // What was heard while it was loading.
    if (open.thread.head > open.thread.cursor) await this.#fetch(open.thread, open.thread.cursor);
    this.#tell("thread");
  }

  /** Fetches older messages. */
  async earlier() {
    const open = this.current;
    if (open) await this.#try(() => this.#fetchOlder(open));
    this.#tell("thread");
  }

  /** @param {Open} open */
  async #fetchOlder(open) {
    const first = open.thread.messages[0]?.seq ?? 1;
    if (open.isWhole || first <= 1) return void (open.isWhole = true);
    const { messages } = await this.#api.before(open.thread.room, first);
    this.#older(open, messages);
  }

  /** @param {Open} open @param {import("./chat-thread.js").Message[]} messages */
  #older(open, messages) {
    open.thread.fill(messages);
    open.isWhole = (messages[0]?.seq ?? 1) <= 1;
  }

  /** Fetches older messages until one is among them. @param {Open} open @param {number} seq */
  async #until(open, seq) {
    for (let pages = 0; pages < MOST_PAGES && !open.isWhole && (open.thread.messages[0]?.seq ?? 1) > seq; pages += 1) await this.#fetchOlder(open);
    this.#tell("thread", seq);
  }

  /** Whether one may write in a room. @param {Room | undefined} room */
  mayWrite(room) {
    if (room === undefined || !this.#me.works) return false;
    return this.#me.manages || room.assignee === null || room.assignee === this.#me.id;
  }

  /** Sends a message to the room that is looked at. @param {string} kind @param {any} body @param {string} [room] */
  say(kind, body, room) {
    const open = room === undefined ? this.current : this.#open.get(room);
    if (!open) return;
    this.#post(open.thread, { cid: randomName(), kind, body, at: new Date().toISOString() });
    this.#tell("thread");
  }

  /**
   * Does something for a room whose thread must be there at its end, however many others are looked at meanwhile.
   * @template Result
   * @param {string} room
   * @param {() => Promise<Result>} act
   * @returns {Promise<Result>}
   */
  async keeping(room, act) {
    this.#kept.set(room, (this.#kept.get(room) ?? 0) + 1);
    try {
      return await act();
    } finally {
      const left = (this.#kept.get(room) ?? 1) - 1;
      if (left > 0) this.#kept.set(room, left);
      else this.#kept.delete(room);
    }
  }

  /** Fetches the rest of rooms of which only frames have told. @param {string[]} ids */
  async complete(ids) {
    const isPart = (/** @type {string} */ id) => this.rooms.get(id)?.isPart === true;
    await Promise.all(ids.filter(isPart).map((id) => this.#try(() => this.#fetchRoom(id))));
  }

  /** Sends once more what the server did not take. @param {string} cid */
  again(cid) {
    const thread = this.current?.thread;
    const pending = thread?.pending.find((one) => one.cid === cid);
    if (!thread || !pending) return;
    thread.pending = thread.pending.filter((one) => one !== pending);
    const { kind, body, at } = pending;
    this.#post(thread, { cid, kind, body, at });
    this.#tell("thread");
  }

  /** Tells what may be lost: typing. @param {{ type: string, [member: string]: any }} frame */
  signal(frame) {
    return this.here !== null && this.#line.send({ ...frame, room: this.here });
  }

  /** Whoever looks at the end of a thread has read it. @param {boolean} isSeen */
  seen(isSeen) {
    const room = this.here === null ? undefined : this.rooms.get(this.here);
    const thread = this.current?.thread;
    // Who only looks into another's room has read nothing in the visitor's eyes.
    const isOwn = room !== undefined && this.#me.works && (room.assignee === null || room.assignee === this.#me.id);
    if (!thread || !room || !isOwn || thread.unread === 0 || !this.online) return;
    const seq = thread.cursor;
    if (!thread.mark(thread.me, { delivered: seq, read: isSeen ? seq : 0 })) return;
    this.#line.send({ type: isSeen ? "read" : "delivered", room: room.id, seq });
    if (isSeen) this.rooms.apply({ type: "read", room: room.id, from: { role: "support" }, seq }, Date.now());
    this.#tell("rooms");
  }

  /** Does something with the server, and fetches the room as it is then. @param {(room: string) => Promise<unknown>} act */
  async change(act) {
    const room = this.here;
    if (room === null) return;
    await act(room);
    await this.#fetchRoom(room);
  }

  /** @param {string} room @param {string} name */
  named(room, name) {
    const known = this.rooms.get(room);
    if (known) this.rooms.take([{ ...known, visitor_name: name }]);
    this.#tell("rooms");
    this.#tell("thread");
  }

  // --- the line

  /** The threads that are resumed. */
  #marks() {
    const loaded = [...this.#open].filter(([, { isLoading }]) => !isLoading);
    return Object.fromEntries(loaded.map(([room, { thread }]) => [room, thread.cursor]));
  }

  /** @param {import("./chat-line.js").Frame} ready */
  async #began(ready) {
    this.#tell("line", "");
    for (const frame of ready.missed) this.#take(frame);
    this.#wasReady = true;
    this.#tell("floor");
    const lists = this.#fetchLists(["mine", "waiting", "all"]);
    const threads = [...this.#open.values()].filter(({ isLoading }) => !isLoading);
    await Promise.all([lists, ...threads.map(({ thread }) => this.#fetch(thread, Math.max(0, thread.cursor - LOOK_BACK)))]);
    if (this.here !== null) await this.#fetchRoom(this.here);
  }

  /** @param {import("./chat-line.js").Frame} frame */
  #take(frame) {
    const now = Date.now();
    for (const touched of this.#touched) touched.add(frame.room);
    // Whose room it is in which more was said before, no frame tells.
    const isStranger = frame.type === "msg" && frame.seq > 1 && this.rooms.get(frame.room) === undefined;
    const change = this.rooms.apply(frame, now);
    // Who gets a room gets it as it is now: a name, or a mark, was perhaps given before.
    const isGiven = frame.type === "room" && frame.assignee === this.#me.id;
    if (isGiven) void this.#try(() => this.#fetchRoom(frame.room));
    if (change === "changed") this.#tell("rooms");
    const open = this.#open.get(frame.room);
    if (open) this.#takeInThread(open, frame, now);
    if (frame.type === "agent" || frame.type === "room" || frame.type === "queue") this.#tell("floor");
    if (frame.type === "tags") this.#tell("tags", frame);
    if (frame.type === "error" && frame.cid === undefined) this.#tell("problem", frame.message);
    const isNews = frame.type === "msg" && frame.role === "visitor";
    if (isStranger) void this.#try(() => this.#fetchRoom(frame.room)).then(() => isNews && this.#tell("news", frame));
    else if (isNews) this.#tell("news", frame);
  }

  /** @param {Open} open @param {import("./chat-line.js").Frame} frame @param {number} now */
  #takeInThread(open, frame, now) {
    const { thread } = open;
    if (frame.type === "note") this.#addNote(open, { ...frame, author: frame.from?.id ?? null });
    const before = thread.pending.length;
    const change = thread.apply(frame, now);
    if (thread.pending.length !== before) this.#memory.keepPending(thread.room, thread.pending);
    if (change === "gap" && !open.isLoading) void this.#try(() => this.#fetch(thread, thread.cursor));
    const isSeen = change !== null || ["note", "presence", "ack"].includes(frame.type);
    if (isSeen && thread.room === this.here) this.#tell("thread");
  }

  /** @param {Open} open @param {any} note */
  #addNote(open, { id, room, after, text, author, at }) {
    if (!open.notes.some((known) => known.id === id)) open.notes.push({ id, room, after, text, author, at });
  }

  /** Reads messages after a number, until there are no more. @param {Thread} thread @param {number} after */
  async #fetch(thread, after) {
    for (let from = after; ; ) {
      const { messages } = await this.#api.after(thread.room, from);
      thread.fill(messages);
      const last = messages.at(-1);
      if (!last || messages.length < PAGE) break;
      from = last.seq;
    }
    this.#memory.keepPending(thread.room, thread.pending);
    if (thread.room === this.here) this.#tell("thread");
  }

  /** @param {Thread} thread @param {import("./chat-thread.js").Pending} pending */
  #post(thread, pending) {
    thread.pending.push(pending);
    this.#memory.keepPending(thread.room, thread.pending);
    const { cid, kind, body, failed } = pending;
    const said = { room: thread.room, cid, kind, body, author: this.#me.name };
    if (!failed) this.#line.say(said);
  }

  /** @param {{ said: import("./chat-line.js").Said, error: any }} what */
  #failed({ said, error }) {
    const thread = this.#open.get(said.room)?.thread;
    if (thread) {
      thread.pending = thread.pending.map((pending) => (pending.cid === said.cid ? { ...pending, failed: error.code } : pending));
      this.#memory.keepPending(thread.room, thread.pending);
    }
    this.#tell("problem", error.message ?? "It could not be sent.");
    this.#tell("thread");
    void this.#try(() => this.#fetchRoom(said.room));
  }

  /** @param {() => Promise<unknown>} act */
  async #try(act) {
    try {
      await act();
    } catch (error) {
      // Without a line everything is tried again once it is back.
      if (this.online) this.#tell("problem", error instanceof Refused && error.message !== "" ? error.message : "The server does not answer.");
    }
  }

  /** @param {string} name @param {unknown} [detail] */
  #tell(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}

/** @param {Event} event */
function detail(event) {
  return /** @type {CustomEvent} */ (event).detail;
}
