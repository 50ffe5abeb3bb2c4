// @ts-check
/** The page `/console/inbox`: the parts that stand in its template, and what each of them does. */

import { Composer } from "./chat-composer.js";
import { PICTURES, UploadItem } from "./chat-view.js";
import { Words } from "./chat-words.js";
import { Alerts } from "./inbox-alerts.js";
import { InboxApi } from "./inbox-api.js";
import { CannedList } from "./inbox-canned.js";
import { call, hangUp, isCalling, listen, waysToCall } from "./inbox-call.js";
import { Card } from "./inbox-card.js";
import { Floor } from "./inbox-floor.js";
import { Keys } from "./inbox-keys.js";
import { RoomList } from "./inbox-list.js";
import { InboxLog } from "./inbox-log.js";
import { callSheet, macroSheet, transferSheet } from "./inbox-sheets.js";
import { nameOf, placesOf, TYPING_FOR, wordsOf } from "./inbox-rooms.js";
import { Talk } from "./inbox-talk.js";

/** So long after the last key a search begins, ms; and so many characters it takes. */
const SEARCH_AFTER = 250;
const SEARCHED = 2;
/** What a key is answered in a room where only whoever manages chats may act for a colleague. */
const OTHERS = "This room is not yours to change: a colleague has it.";
/** The path of the page; a room stands behind it. */
const PATH = "/console/inbox";

/** @template {HTMLElement} Part @param {string} id @param {new () => Part} kind @returns {Part} */
function part(id, kind) {
  const element = document.getElementById(id);
  if (!(element instanceof kind)) throw new Error(`the page has no ${id}`);
  return element;
}

/** @param {Event} event */
const detail = (event) => /** @type {CustomEvent} */ (event).detail;

class Inbox {
  #root = part("inbox", HTMLDivElement);
  #me = { id: this.#root.dataset.me ?? "", name: this.#root.dataset.name ?? "", works: "works" in this.#root.dataset, manages: "manages" in this.#root.dataset };
  #api = new InboxApi();
  #talk = new Talk(this.#api, this.#me);
  #floor = new Floor(this.#api, this.#me.id);
  #placeOf = placesOf(JSON.parse(this.#root.dataset.apps ?? "{}"));
  #list = new RoomList(this.#placeOf, { list: part("rooms", HTMLUListElement), nothing: part("no-rooms", HTMLParagraphElement), more: part("more-rooms", HTMLButtonElement), tabs: part("folders", HTMLDivElement) });
  #card = new Card(part("card", HTMLElement), this.#api, this.#me.works);
  #alerts = new Alerts(document.getElementById("alerts"), document.getElementById("alerts-closed"), this.#me.id);
  #keys = new Keys(part("rooms", HTMLUListElement));
  #conversation = part("conversation", HTMLDivElement);
  #scroll = part("log", HTMLDivElement);
  #message = part("message", HTMLTextAreaElement);
  #files = part("files", HTMLInputElement);
  #form = part("composer", HTMLFormElement);
  #sheet = part("sheet", HTMLDivElement);
  #query = part("query", HTMLInputElement);
  #composer = new Composer(/** @type {any} */ ({ composer: this.#form, message: this.#message, files: this.#files, root: this.#conversation, cancel: part("cancel", HTMLButtonElement), fit: () => this.#fit() }));
  #canned = new CannedList(this.#message, part("canned", HTMLUListElement), () => this.#fetchCanned());
  #log;
  #words;
  /** Whether what is written is a note. */
  #isNote = false;
  /** The room was not seen yet. */
  #isFirst = true;
  /** The room that is drawn. @type {string | null} */
  #drawn = null;
  /** What stands in the field of each room, and whether it is a note. @type {Map<string, { text: string, isNote: boolean }>} */
  #drafts = new Map();
  /** @type {number | undefined} */
  #typingTimer;
  /** @type {number | undefined} */
  #searchTimer;

  /** @param {Words} words */
  constructor(words) {
    this.#words = words;
    const parts = { scroll: this.#scroll, place: part("messages", HTMLDivElement), waiting: part("pending", HTMLDivElement), jump: part("jump", HTMLButtonElement) };
    this.#log = new InboxLog(parts, words, (id) => this.#floor.nameOf(id));
    this.#hear();
    this.#listen();
  }

  async start() {
    await this.#floor.start();
    await this.#talk.start();
    const { room } = this.#root.dataset;
    if (room) await this.#open(room, null, false);
    else this.#show();
    document.body.classList.add("is-live");
  }

  // --- what happens

  #hear() {
    const talk = this.#talk;
    talk.addEventListener("rooms", () => this.#show());
    talk.addEventListener("thread", (event) => this.#draw(detail(event)));
    talk.addEventListener("line", (event) => this.#note("line", detail(event)));
    talk.addEventListener("problem", (event) => this.#note("problem", detail(event)));
    talk.addEventListener("floor", () => this.#floor.look());
    talk.addEventListener("tags", (event) => {
      if (detail(event).room === talk.here) this.#card.tags = detail(event).tags;
    });
    talk.addEventListener("draft", (event) => this.#takeBack(detail(event)));
    talk.addEventListener("news", (event) => this.#tellNews(detail(event)));
    this.#floor.addEventListener("change", () => this.#draw());
    this.#floor.addEventListener("problem", (event) => this.#note("problem", detail(event)));
    this.#card.addEventListener("problem", (event) => this.#note("problem", detail(event)));
    this.#card.addEventListener("open", (event) => void this.#open(detail(event).room, null));
    this.#card.addEventListener("named", (event) => talk.named(detail(event).room, detail(event).name));
    this.#list.addEventListener("open", (event) => void this.#open(detail(event).room, detail(event).seq));
    this.#list.addEventListener("folder", (event) => this.#choose(detail(event)));
    this.#list.addEventListener("part", (event) => void talk.complete(detail(event)));
    this.#keys.addEventListener("act", (event) => void this.#act(detail(event)));
    this.#keys.addEventListener("doubt", (event) => this.#isOpenRoom && this.#note("problem", detail(event)));
    this.#canned.addEventListener("pick", (event) => void this.#put(detail(event)));
    const composer = this.#composer;
    composer.addEventListener("say", (event) => void this.#say(detail(event)));
    composer.addEventListener("change", (event) => {
      const { seq, text } = detail(event);
      if (this.#signal({ type: "edit", seq, body: text })) composer.cancelEdit();
    });
    composer.addEventListener("files", (event) => void this.#attach(detail(event)));
    // A note is nobody's business before it is written, and a canned reply is chosen in silence.
    composer.addEventListener("typing", (event) => !this.#isNote && !this.#canned.isOpen && talk.signal({ type: "typing", on: detail(event) }));
    composer.addEventListener("refused", (event) => detail(event) === "too_long" && this.#note("problem", `At most ${composer.max} characters.`));
  }

  #listen() {
    document.addEventListener("click", (event) => {
      const button = event.target instanceof Element ? event.target.closest("[data-act]") : null;
      if (button instanceof HTMLElement) void this.#act(button.dataset.act ?? "", button);
    });
    document.addEventListener("visibilitychange", () => this.#seen());
    this.#scroll.addEventListener("scroll", () => this.#seen());
    globalThis.addEventListener("popstate", () => {
      const room = location.pathname.slice(PATH.length + 1);
      if (room) void this.#open(room, null, false);
      else this.#go("list");
    });
    this.#query.addEventListener("input", () => {
      clearTimeout(this.#searchTimer);
      this.#searchTimer = setTimeout(() => void this.#search(), SEARCH_AFTER);
    });
    this.#query.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      this.#query.value = "";
      this.#show();
    });
    part("search", HTMLFormElement).addEventListener("submit", (event) => {
      event.preventDefault();
      void this.#search();
    });
    this.#conversation.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && !this.#sheet.hidden) this.#fold();
    });
    const areOn = part("keys-on", HTMLInputElement);
    areOn.checked = this.#keys.areOn;
    areOn.addEventListener("change", () => (this.#keys.areOn = areOn.checked));
  }

  /** What a button or a key asks for. @param {string} act @param {HTMLElement} [button] */
  async #act(act, button) {
    const message = button?.closest(".message");
    const { seq, cid } = message instanceof HTMLElement ? message.dataset : { seq: undefined, cid: undefined };
    const number = Number(seq);
    const talk = this.#talk;
    /** @type {Record<string, () => unknown>} */
    const acts = {
      next: () => this.#step(1),
      previous: () => this.#step(-1),
      reply: () => this.#write(false),
      note: () => this.#write(true),
      take: () => (this.#mayWrite ? talk.change((room) => this.#api.change(room, "take")) : this.#note("problem", OTHERS)),
      release: () => talk.change((room) => this.#api.change(room, "release")),
      close: () => this.#isOpenRoom && (this.#mayWrite ? talk.change((room) => this.#api.change(room, "close")) : this.#note("problem", OTHERS)),
      reopen: () => talk.change((room) => this.#api.change(room, "reopen")),
      transfer: () => this.#unfold(transferSheet(this.#floor, (to) => this.#do(() => talk.change((room) => this.#api.transfer(room, to))))),
      macros: async () => this.#unfold(macroSheet((await this.#api.macros()).macros, (macro) => this.#do(() => talk.change((room) => this.#run(room, macro))))),
      call: () => talk.here !== null && this.#call(talk.here),
      "hang-up": () => talk.here !== null && hangUp(talk.here),
      listen: () => talk.current && button && listen(talk.current.thread, number, button),
      search: () => this.#query.focus(),
      keys: () => part("keys-help", HTMLDialogElement).showModal(),
      "close-keys": () => part("keys-help", HTMLDialogElement).close(),
      attach: () => this.#files.click(),
      fold: () => this.#fold(),
      earlier: () => talk.earlier(),
      "more-rooms": () => talk.more(this.#list.folder),
      "cancel-edit": () => this.#composer.cancelEdit(),
      "show-list": () => this.#go("list"),
      "show-card": () => this.#go(this.#root.dataset.pane === "card" ? "thread" : "card"),
      download: () => this.#log.download(number),
      edit: () => this.#composer.edit(number, String(talk.current?.thread.get(number)?.body ?? "")),
      delete: () => this.#log.doubt(number),
      "delete-really": () => this.#signal({ type: "delete", seq: number }),
      again: () => cid !== undefined && talk.again(cid),
    };
    await this.#do(async () => acts[act]?.());
  }

  /** @param {() => Promise<unknown>} act */
  async #do(act) {
    this.#note("problem", "");
    try {
      await act();
    } catch (error) {
      this.#note("problem", error instanceof Error && !(error instanceof TypeError) && error.message !== "" ? error.message : "The server does not answer.");
    }
  }

  // --- rooms

  /** @param {string} room @param {number | null} seq @param {boolean} [isNews] whether the address is to follow */
  async #open(room, seq, isNews = true) {
    if (this.#drawn !== null && this.#drawn !== room) {
      // Of a message that is being changed, what stood there before is the draft.
      this.#drafts.set(this.#drawn, { text: this.#composer.text, isNote: this.#isNote });
      this.#composer.reset();
    }
    if (isNews && location.pathname !== `${PATH}/${room}`) history.pushState(null, "", `${PATH}/${room}`);
    this.#fold();
    this.#go("thread");
    void this.#card.show(room);
    this.#canned.close();
    await this.#talk.look(room, seq);
  }

  /** @param {import("./inbox-rooms.js").Folder} folder */
  #choose(folder) {
    this.#list.folder = folder;
    this.#query.value = "";
    this.#show();
    if (folder === "closed") void this.#talk.more("closed");
  }

  /** @param {1 | -1} step */
  async #step(step) {
    const next = this.#list.step(this.#talk.rooms, this.#talk.here, step);
    if (next === null) return;
    const opened = this.#open(next.room, next.seq);
    const isSeen = this.#root.dataset.pane !== "thread" || innerWidth > 900;
    // At once: whoever begins to write while it is fetched is not interrupted.
    if (isSeen) this.#list.focus(next.room);
    await opened;
    // A list that was drawn anew may have lost the focus to nobody.
    if (isSeen && document.activeElement === document.body) this.#list.focus(next.room);
  }

  async #search() {
    const words = this.#query.value.trim();
    if ([...words].length < SEARCHED) return this.#show();
    await this.#do(async () => {
      const { hits } = await this.#api.search(words);
      if (words === this.#query.value.trim()) this.#list.showHits(hits, this.#talk.rooms);
    });
  }

  /** @param {any} frame */
  #tellNews(frame) {
    const room = this.#talk.rooms.get(frame.room);
    if (!room || room.held || (room.assignee !== null && room.assignee !== this.#me.id)) return;
    this.#alerts.tell(room.id, nameOf(room), wordsOf(frame), () => void this.#open(room.id, frame.seq));
  }

  // --- what is written

  /** @param {string} text */
  async #say(text) {
    if (!this.#isNote) return this.#talk.say("text", text);
    const room = this.#talk.here;
    if (room === null) return;
    await this.#do(async () => {
      try {
        await this.#api.note(room, text);
      } catch (error) {
        // What was written stays written.
        if (this.#message.value === "") this.#message.value = text;
        throw error;
      }
    });
  }

  /** @param {boolean} isNote */
  #write(isNote) {
    if (this.#form.hidden) return;
    this.#mean(isNote);
    this.#message.focus();
  }

  /** Words of long ago come before what stands in the field of their room. @param {{ room: string, text: string }} old */
  #takeBack({ room, text }) {
    const isDrawn = room === this.#drawn;
    const draft = isDrawn ? { text: this.#message.value, isNote: this.#isNote } : this.#drafts.get(room);
    const whole = [text, draft?.text ?? ""].filter(Boolean).join("\n\n");
    if (!isDrawn) return void this.#drafts.set(room, { text: whole, isNote: draft?.isNote ?? false });
    this.#message.value = whole;
    this.#fit();
  }

  /** For whom it is what stands in the field. @param {boolean} isNote */
  #mean(isNote) {
    this.#isNote = isNote;
    for (const button of this.#form.querySelectorAll("[data-act=reply], [data-act=note]")) button.setAttribute("aria-pressed", String((button.getAttribute("data-act") === "note") === isNote));
    this.#form.classList.toggle("is-note", isNote);
    this.#message.placeholder = isNote ? "A note, unseen by the visitor" : "Write, or / for a canned reply";
    part("send", HTMLButtonElement).textContent = isNote ? "Add the note" : "Send";
  }

  /** Puts a canned reply into the field, with the names of those in the room. @param {import("./inbox-api.js").Canned} canned */
  async #put({ id, text }) {
    const room = this.#talk.here;
    const typed = this.#message.value;
    if (room === null) return;
    await this.#do(async () => {
      const { filled } = await this.#api.filled(id, room);
      // Another room, or other words, may stand there by now.
      if (room !== this.#talk.here || this.#message.value !== typed) return;
      this.#message.value = filled ?? text;
      this.#fit();
      this.#message.focus();
    });
  }

  async #fetchCanned() {
    if (this.#talk.here === null || this.#isNote) return [];
    return this.#api.canned().then(({ canned }) => canned, () => []);
  }

  /** Calls the visitor; where there is a choice, or a number is needed, it is asked for. @param {string} room */
  async #call(room) {
    const modes = await waysToCall(room);
    if (!modes.includes("phone")) await call(room, { mode: "browser" });
    else if (room === this.#talk.here) this.#unfold(callSheet(modes, (wish) => this.#do(() => call(room, wish))));
  }

  /** @param {string} room @param {string} macro */
  async #run(room, macro) {
    const { failed } = await this.#api.run(room, macro);
    if (failed) this.#note("problem", `Step ${failed.step} was not done: ${failed.message}`);
  }

  /** @param {File[]} files */
  async #attach(files) {
    const room = this.#talk.here;
    if (room === null) return;
    // A message with a file is the visitor's to see, whatever stands in the field.
    if (this.#isNote) return this.#note("problem", "A note takes no files. Choose Reply to send them to the visitor.");
    await this.#talk.keeping(room, async () => {
      for (const file of files) await this.#bring(room, file);
    });
  }

  /** @param {string} room @param {File} file */
  async #bring(room, file) {
    const item = new UploadItem(this.#words, file.name);
    part("pending", HTMLDivElement).append(item.element);
    this.#log.toEnd();
    await this.#do(async () => {
      const attachment = await this.#api.upload(room, file, (done) => item.progress(done));
      this.#talk.say(PICTURES.includes(attachment.type) ? "image" : "file", attachment, room);
    });
    item.element.remove();
  }

  /** @param {{ type: string, [member: string]: any }} frame */
  #signal(frame) {
    const hasLeft = this.#talk.signal(frame);
    if (!hasLeft) this.#note("problem", "The connection is lost.");
    return hasLeft;
  }

  // --- what is seen

  /** Whether the room that is looked at is one's own to change. */
  get #mayWrite() {
    const { here, rooms } = this.#talk;
    return here !== null && this.#talk.mayWrite(rooms.get(here));
  }

  get #isOpenRoom() {
    return this.#talk.here !== null && this.#talk.rooms.get(this.#talk.here)?.state === "open";
  }

  #show() {
    const { rooms, here } = this.#talk;
    this.#alerts.count = rooms.unread("mine") + rooms.unread("waiting");
    if ([...this.#query.value.trim()].length >= SEARCHED) return;
    this.#list.show(rooms, here, (folder) => this.#talk.hasMore(folder));
    this.#showRoom();
  }

  /** @param {number} [seq] a message to be shown */
  #draw(seq) {
    const { current, here } = this.#talk;
    const room = here === null ? undefined : this.#talk.rooms.get(here);
    if (here !== this.#drawn) this.#begin(here);
    if (!current || !room) return;
    this.#log.show(current.thread, current.notes, nameOf(room), Date.now());
    part("earlier", HTMLButtonElement).hidden = current.isWhole || current.isLoading;
    if (this.#isFirst && !current.isLoading) {
      this.#isFirst = false;
      this.#log.toEnd();
      // The past is not read out, what comes is.
      setTimeout(() => this.#scroll.setAttribute("aria-live", "polite"));
    }
    if (typeof seq === "number") this.#log.reveal(seq);
    this.#showRoom();
    this.#showTyping();
    this.#seen();
  }

  /** Another room is looked at. @param {string | null} room */
  #begin(room) {
    this.#drawn = room;
    this.#isFirst = true;
    this.#scroll.setAttribute("aria-live", "off");
    this.#log.clear();
    const draft = room === null ? undefined : this.#drafts.get(room);
    this.#message.value = draft?.text ?? "";
    // What was begun as a note stays one.
    this.#mean(draft?.isNote ?? false);
    this.#fit();
    this.#note("problem", "");
  }

  #showRoom() {
    const { here } = this.#talk;
    const room = here === null ? undefined : this.#talk.rooms.get(here);
    this.#conversation.hidden = room === undefined;
    part("nothing", HTMLDivElement).hidden = room !== undefined;
    if (!room) return;
    const isMine = room.assignee === this.#me.id;
    const mayWrite = this.#talk.mayWrite(room);
    const thread = this.#talk.current?.thread;
    const isOnCall = thread !== undefined && isCalling(thread);
    part("room-name", HTMLHeadingElement).textContent = nameOf(room);
    const holder = this.#holderOf(room);
    const words = [holder, this.#placeOf(room), room.visitor_online ? "visitor here now" : "visitor away"].filter(Boolean).join(" · ");
    const state = part("room-state", HTMLParagraphElement);
    if (state.textContent !== words) state.textContent = words;
    /** @type {Record<string, boolean>} */
    const shown = { take: mayWrite && room.state === "open" && !isMine, release: isMine && room.state === "open", transfer: mayWrite && room.state === "open", macros: mayWrite, close: mayWrite && room.state === "open", reopen: mayWrite && room.state === "closed", call: isMine && room.state === "open" && !isOnCall, "hang-up": isMine && isOnCall };
    for (const [act, isShown] of Object.entries(shown)) {
      const button = document.querySelector(`.thread-head [data-act="${act}"]`);
      if (!(button instanceof HTMLElement) || button.hidden === !isShown) continue;
      const hadFocus = button === document.activeElement;
      button.hidden = !isShown;
      // Whoever works with keys goes on where the room begins.
      if (hadFocus) part("room-name", HTMLHeadingElement).focus();
    }
    this.#form.hidden = !mayWrite || room.state === "closed";
  }

  /** Who has a room, in words. @param {import("./inbox-rooms.js").Room} room */
  #holderOf(room) {
    if (room.state === "closed") return "Closed";
    if (room.assignee === this.#me.id) return "Yours";
    if (room.held) return "Answered by a flow, until somebody writes";
    return room.assignee === null ? this.#floor.waitingWords(room.team) : `With ${this.#floor.nameOf(room.assignee)}`;
  }

  #showTyping() {
    const { here, rooms } = this.#talk;
    const room = here === null ? undefined : rooms.get(here);
    const draft = room ? rooms.typing(room.id, Date.now()) : null;
    const words = !room || draft === null ? "" : `${nameOf(room)} writes${draft === "" ? " …" : `: ${draft}`}`;
    const line = part("typing", HTMLParagraphElement);
    if (line.textContent !== words) line.textContent = words;
    clearTimeout(this.#typingTimer);
    if (words !== "") this.#typingTimer = setTimeout(() => (this.#show(), this.#showTyping()), TYPING_FOR);
  }

  #seen() {
    if (!this.#talk.current?.isLoading) this.#talk.seen(document.visibilityState === "visible" && this.#log.isAtEnd && !this.#conversation.hidden);
  }

  /** One of the panes, where there is place for one. @param {"list" | "thread" | "card"} pane */
  #go(pane) {
    this.#root.dataset.pane = pane;
    if (pane === "list" && innerWidth <= 900) history.replaceState(null, "", PATH);
    if (pane === "thread" && innerWidth <= 900) part("room-name", HTMLHeadingElement).focus();
    document.querySelector("[data-act=show-card]")?.setAttribute("aria-expanded", String(pane === "card"));
  }

  /** @param {HTMLFormElement} form */
  #unfold(form) {
    this.#sheet.replaceChildren(form);
    this.#sheet.hidden = false;
    form.addEventListener("submit", () => this.#fold());
    const first = form.querySelector(":is(select, input, button):not([hidden] *)");
    if (first instanceof HTMLElement) first.focus();
  }

  #fold() {
    const hadFocus = this.#sheet.contains(document.activeElement);
    this.#sheet.hidden = true;
    this.#sheet.replaceChildren();
    if (hadFocus) part("room-name", HTMLHeadingElement).focus();
  }

  #fit() {
    this.#message.style.height = "auto";
    this.#message.style.height = `${Math.min(this.#message.scrollHeight, 180)}px`;
  }

  /** @param {"line" | "problem"} place @param {string} text */
  #note(place, text) {
    const line = part(place, HTMLParagraphElement);
    if (line.textContent !== text) line.textContent = text;
    line.hidden = text === "";
  }
}

const inbox = new Inbox(await Words.load("en"));
await inbox.start();
