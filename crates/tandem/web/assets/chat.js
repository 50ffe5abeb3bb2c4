// @ts-check
/**
 * `<tandem-chat>`: a support chat in the page.
 *
 *     <script type="module" src="https://tandem.example/assets/chat.js"></script>
 *     <tandem-chat app="app_..."></tandem-chat>
 *
 * It speaks with the server that this module came from. Attributes: `app` (the application), `product`, `link` (the id of
 * a QR code), `locale` (else the browser's), `mode="widget"` (a button closes it, and the focus stays within). Whom the
 * page vouches for is told by `identify({ token })` or `identify({ user_id, user_hash })`. Every change is told by the event
 * `chatchange`, whose detail is what {@link TandemChat.view} gives; `chatclose` asks to be put away. Colours and measures
 * are custom properties, listed in chat.css.
 *
 * A page of another site that holds this element must be among the application's `allowed_origins`.
 */

import { ChatApi, Refused } from "./chat-api.js";
import { ChatLine } from "./chat-line.js";
import { callFields, Calling } from "./chat-call.js";
import { Composer } from "./chat-composer.js";
import { Log } from "./chat-log.js";
import { Memory } from "./chat-memory.js";
import { make } from "./make.js";
import { recordingUrl } from "./chat-calling.js";
import { draw } from "./chat-text.js";
import { Thread, TYPING_FOR } from "./chat-thread.js";
import { offlineSheet, PICTURES, ratingSheet, Sheet, Shell, transcriptSheet, UploadItem } from "./chat-view.js";
import { choose, Words } from "./chat-words.js";

/** Messages before the cursor that are read again after the line was lost: they may have been changed meanwhile. */
const LOOK_BACK = 50;
/** Messages of one answer of the list: more are asked for again. */
const PAGE = 200;
/** Bytes of chance in the name of a message. */
const NAME_BYTES = 12;

const SERVER = new URL(import.meta.url).origin;

/** @typedef {import("./chat-api.js").Identity} Identity */

export class TandemChat extends HTMLElement {
  #shell = new Shell();
  #composer = new Composer(this.#shell);
  /** @type {Words | null} */
  #words = null;
  /** @type {import("./chat-api.js").Settings | null} */
  #settings = null;
  /** @type {ChatApi | null} */
  #api = null;
  /** @type {Memory | null} */
  #memory = null;
  /** @type {Log | null} */
  #log = null;
  /** @type {Thread | null} */
  #thread = null;
  /** @type {ChatLine | null} */
  #line = null;
  /** @type {import("./chat-api.js").Room | null} */
  #room = null;
  /** Calls of this room. @type {Calling | null} */
  #calling = null;
  /** The visitor has said how the chat was. */
  #isRated = false;
  /** The room that is being opened. @type {Promise<void> | null} */
  #opening = null;
  /** @type {Identity | null} */
  #identity = null;
  /** The page says that nobody sees it. */
  #isHidden = false;
  /** Another look than the one that is set. @type {Partial<import("./chat-api.js").Settings>} */
  #look = {};
  /** A room other than the last one is wanted. */
  #fresh = false;
  /** What is said of the line, and what of the queue. */
  #notes = { line: "", queue: "" };
  /** Ends what the life before began. */
  #life = 0;
  /** @type {number | undefined} */
  #typingTimer;
  /** @type {import("./chat-view.js").Sheet | null} */
  #sheet = null;

  constructor() {
    super();
    const style = make("link", { rel: "stylesheet", href: new URL("chat.css", import.meta.url).href });
    this.attachShadow({ mode: "open" }).append(style, this.#shell.root);
    this.#listen();
  }

  async connectedCallback() {
    const life = ++this.#life;
    const app = this.getAttribute("app") ?? "";
    const api = new ChatApi(SERVER, app);
    this.#api = api;
    this.#shell.root.classList.toggle("is-widget", this.#isWidget);
    this.#shell.close.hidden = !this.#isWidget;
    try {
      const settings = await api.settings();
      const wanted = [this.getAttribute("locale") ?? "", settings.locale, ...navigator.languages].filter((tag) => tag !== "" && tag !== "auto");
      const words = await Words.load(choose(wanted));
      if (life !== this.#life) return;
      this.#settings = settings;
      this.#words = words;
      this.#dress(settings, words);
      this.#log = new Log(this.#shell, words, api);
      await this.#enter();
    } catch (error) {
      if (life === this.#life) this.#complain(error);
    }
  }

  disconnectedCallback() {
    this.#life += 1;
    this.#leave();
    document.removeEventListener("visibilitychange", this.#seen);
    clearTimeout(this.#typingTimer);
  }

  /** What the chat is doing. */
  get view() {
    return {
      ready: this.#log !== null,
      online: this.#line?.online ?? false,
      room: this.#room?.id ?? null,
      state: this.#room?.state ?? "none",
      unread: this.#thread?.unread ?? 0,
      pending: this.#thread?.pending.length ?? 0,
      locale: this.#words?.locale ?? "",
      call: this.#calling?.view ?? null,
      seqs: this.#thread?.messages.map(({ seq }) => seq) ?? [],
    };
  }

  /** What is heard of a call. */
  get sound() {
    return this.#calling?.remote ?? null;
  }

  /** Shows another look than the one that is set. @param {Partial<import("./chat-api.js").Settings>} look */
  set look(look) {
    this.#look = look;
    if (this.#settings && this.#words) this.#dress(this.#settings, this.#words);
  }

  /** Tells who the visitor is, as the page's own server vouches for. @param {Identity | null} identity */
  async identify(identity) {
    if (JSON.stringify(identity) === JSON.stringify(this.#identity)) return;
    this.#identity = identity;
    if (!this.#log) return;
    this.#leave();
    await this.#enter().catch((error) => this.#complain(error));
  }

  /** The visitor has signed out of the page: nothing of the chat stays in this browser. */
  async signOut() {
    if (this.#memory) this.#memory.kept = null;
    this.#identity = null;
    this.#leave();
    if (this.#log) await this.#enter().catch((error) => this.#complain(error));
  }

  /** Whether somebody looks at it: what is not seen is not read. @param {boolean} isHidden */
  set concealed(isHidden) {
    this.#isHidden = isHidden;
    this.#seen();
  }

  /** Puts the cursor where one writes. */
  focus() {
    const field = this.#sheet?.form.querySelector("input, textarea") ?? this.#shell.message;
    if (field instanceof HTMLElement) field.focus();
  }

  get #isWidget() {
    return this.getAttribute("mode") === "widget";
  }

  get #product() {
    return this.getAttribute("product") ?? this.#settings?.product ?? "";
  }

  /** @param {string} key @param {Record<string, string | number>} [values] */
  #say(key, values) {
    return this.#words?.say(key, values) ?? "";
  }

  // --- coming and going

  /** @param {import("./chat-api.js").Settings} settings @param {Words} words */
  #dress(settings, words) {
    const shell = this.#shell;
    settings = { ...settings, ...this.#look };
    shell.speak(words);
    shell.title.textContent = settings.title || words.say("title");
    shell.greeting.replaceChildren(draw(settings.greeting || words.say("greeting")));
    const back = settings.opens_at ? words.say("back", { time: words.moment(new Date(settings.opens_at), new Date()) }) : words.say("closed");
    shell.status.textContent = settings.is_open ? words.say("open") : back;
    shell.status.dataset.open = String(settings.is_open);
    this.#composer.max = settings.max_characters;
    if (settings.theme === "auto") delete shell.root.dataset.theme;
    else shell.root.dataset.theme = settings.theme;
    if (settings.accent) {
      shell.root.style.setProperty("--tandem-chat-accent", settings.accent);
      shell.root.style.setProperty("--tandem-chat-accent-text", settings.accent_text);
    }
  }

  /** Takes up the room of before, or waits for the first word. */
  async #enter() {
    const app = this.getAttribute("app") ?? "";
    this.#memory = new Memory(app, this.getAttribute("link") ?? this.#product, userOf(this.#identity));
    document.addEventListener("visibilitychange", this.#seen);
    const kept = this.#fresh ? null : this.#memory.kept;
    if (kept && this.#api) {
      this.#api.token = kept.token;
      try {
        return this.#joined(await this.#api.room(kept.room));
      } catch (error) {
        if (!(error instanceof Refused && error.isStale)) throw error;
        this.#api.token = null;
        this.#memory.kept = null;
      }
    }
    // Whoever is vouched for finds the conversation of another device.
    if (this.#identity?.token || this.#identity?.user_hash) await this.#ensureRoom();
    else this.#rest();
  }

  #leave() {
    this.#line?.close();
    this.#line = null;
    this.#calling?.leave();
    this.#calling = null;
    this.#thread = null;
    this.#room = null;
    this.#opening = null;
    if (this.#api) this.#api.token = null;
    this.#log?.clear();
    this.#fold();
    this.#note("line", "");
    this.#note("queue", "");
    this.#update();
  }

  /** Nothing was said yet. */
  #rest() {
    const settings = this.#settings;
    const isAway = settings !== null && !settings.is_open && settings.has_offline_form;
    this.#shell.composer.hidden = isAway;
    if (isAway && this.#words) this.#open(offlineSheet(this.#words, this.#say("offline")));
    this.#update();
  }

  /** @returns {Promise<void>} */
  #ensureRoom() {
    if (this.#room?.state === "open") return Promise.resolve();
    this.#opening ??= this.#openRoom().finally(() => (this.#opening = null));
    return this.#opening;
  }

  async #openRoom() {
    if (!this.#api || !this.#memory) throw new Error("the chat is not in a page");
    const opened = await this.#api.open({
      product: this.#product,
      link: this.getAttribute("link") ?? undefined,
      identity: this.#identity ?? undefined,
      page: this.getAttribute("page") ?? document.referrer,
      locale: this.#words?.locale,
      fresh: this.#fresh,
    });
    this.#fresh = false;
    if (opened.token) this.#api.token = opened.token;
    if (this.#api.token) this.#memory.kept = { room: opened.room.id, token: this.#api.token };
    this.#joined(opened.room);
  }

  /** There is a room. @param {import("./chat-api.js").Room} room */
  #joined(room) {
    if (!this.#api) return;
    const thread = new Thread(room.id, { role: "visitor" });
    this.#thread = thread;
    this.#room = room;
    this.#shell.scroll.setAttribute("aria-live", "off");
    const line = new ChatLine(this.#api.socketUrl, this.#api.token, () => ({ [room.id]: thread.cursor }));
    this.#line = line;
    line.addEventListener("ready", (event) => this.#began(thread, detail(event)));
    line.addEventListener("frame", (event) => this.#take(thread, detail(event)));
    line.addEventListener("offline", () => this.#note("line", this.#say("lost")));
    line.addEventListener("waiting", (event) => this.#note("line", this.#say("slow_down", { seconds: detail(event) })));
    line.addEventListener("failed", (event) => this.#failed(thread, detail(event)));
    line.addEventListener("refused", () => this.#refused());
    this.#takeCalls(room.id);
    this.#note("line", this.#say("connecting"));
    for (const pending of this.#memory?.pending(room.id) ?? []) this.#post(thread, pending);
    line.open();
    this.#showState();
    this.#update();
  }

  /** Calls of a room, of which the visitor is known by its token. @param {string} room */
  #takeCalls(room) {
    if (!this.#words || !this.#api?.token) return;
    const calling = new Calling(this.#shell.call, this.#words, room, this.#api.token);
    this.#calling = calling;
    calling.addEventListener("problem", (event) => this.#shell.complain(detail(event)));
    calling.addEventListener("change", () => {
      this.#shell.root.classList.toggle("hears", calling.hears);
      this.#update();
    });
  }

  // --- what the server says

  /** @param {Thread} thread @param {import("./chat-line.js").Frame} ready */
  #began(thread, ready) {
    const isFirst = thread.head === 0;
    thread.fill(ready.missed.filter((/** @type {any} */ { room, type }) => room === thread.room && type === "msg"));
    this.#note("line", "");
    if (!isFirst) void this.#fetch(thread, Math.max(0, thread.cursor - LOOK_BACK));
    this.#draw(thread);
    if (isFirst) this.#shell.toEnd();
    // The past is not read out, what comes is.
    setTimeout(() => this.#shell.scroll.setAttribute("aria-live", "polite"));
    void this.#readRoom(thread);
  }

  /** @param {Thread} thread @param {import("./chat-line.js").Frame} frame */
  #take(thread, frame) {
    if (thread !== this.#thread) return;
    if (frame.type === "error") return this.#shell.complain(frame.message);
    if (frame.type === "queue") return this.#note("queue", frame.position > 0 ? this.#say("queue", { position: frame.position }) : "");
    const change = thread.apply(frame, Date.now());
    if (change === "room") return void this.#readRoom(thread);
    if (change === "gap") void this.#fetch(thread, thread.cursor);
    if (change === "typing") return this.#showTyping(thread);
    if (change) this.#draw(thread);
    if (change && (frame.type === "msg" || frame.type === "edit")) this.#calling?.told(callOf(thread.get(frame.seq)));
    if (frame.type === "presence") void this.#calling?.look();
    if (frame.type === "ack") this.#note("line", "");
    this.#memory?.keepPending(thread.room, thread.pending);
  }

  /** Reads messages after a number, until there are no more. @param {Thread} thread @param {number} after */
  async #fetch(thread, after) {
    try {
      for (let from = after; thread === this.#thread && this.#api; ) {
        const { messages } = await this.#api.messages(thread.room, from);
        thread.fill(messages);
        const last = messages.at(-1);
        if (!last || messages.length < PAGE) break;
        from = last.seq;
      }
    } catch {
      // The next time that the line is ready, it is tried again.
    }
    if (thread === this.#thread) this.#draw(thread);
  }

  /** @param {Thread} thread */
  async #readRoom(thread) {
    try {
      if (!this.#api) return;
      const [room, standing] = await Promise.all([this.#api.room(thread.room), this.#api.standing(thread.room)]);
      if (thread !== this.#thread) return;
      this.#room = room;
      this.#isRated = standing.rated;
      thread.mark({ role: "support" }, standing.marks.support);
      thread.mark({ role: "visitor" }, standing.marks.visitor);
      this.#draw(thread);
    } catch (error) {
      if (error instanceof Refused && error.isStale) return this.#refused();
    }
    void this.#calling?.look();
    this.#showState();
    this.#update();
  }

  /** @param {Thread} thread @param {{ said: import("./chat-line.js").Said, error: any }} what */
  #failed(thread, { said, error }) {
    thread.pending = thread.pending.map((pending) => (pending.cid === said.cid ? { ...pending, failed: error.code } : pending));
    this.#memory?.keepPending(thread.room, thread.pending);
    this.#shell.complain(error.message ?? this.#say("failed"));
    this.#draw(thread);
    void this.#readRoom(thread);
  }

  /** The room, or the token, is not good any more. */
  #refused() {
    if (this.#memory) this.#memory.kept = null;
    this.#leave();
    this.#rest();
  }

  // --- what the visitor does

  #listen() {
    const { root, scroll } = this.#shell;
    root.addEventListener("click", (event) => {
      const button = event.composedPath().find((part) => part instanceof HTMLElement && part.dataset.act !== undefined);
      if (button instanceof HTMLElement) void this.#act(button).catch((error) => this.#complain(error));
    });
    root.addEventListener("submit", (event) => {
      const form = event.target;
      if (!(form instanceof HTMLFormElement) || !form.dataset.form) return;
      event.preventDefault();
      void this.#sendForm(form.dataset.form).catch((error) => this.#complain(error));
    });
    root.addEventListener("keydown", (event) => this.#key(event));
    scroll.addEventListener("scroll", () => {
      if (this.#shell.isAtEnd) this.#shell.jump.hidden = true;
      this.#seen();
    });
    const composer = this.#composer;
    composer.addEventListener("say", (event) => void this.#write("text", detail(event)));
    composer.addEventListener("change", (event) => this.#change(detail(event)));
    composer.addEventListener("files", (event) => void this.#attach(detail(event)));
    composer.addEventListener("typing", (event) => this.#signal({ type: "typing", on: detail(event) }));
    composer.addEventListener("draft", (event) => this.#signal({ type: "draft", text: detail(event) }));
    composer.addEventListener("refused", (event) => {
      if (detail(event) === "too_long") this.#shell.complain(this.#say("too_long", { count: composer.max }));
    });
  }

  /** @param {HTMLElement} button */
  async #act(button) {
    const { act } = button.dataset;
    const message = button.closest(".message");
    const { seq, cid } = message instanceof HTMLElement ? message.dataset : { seq: undefined, cid: undefined };
    const thread = this.#thread;
    switch (act) {
      case "close":
        return void this.dispatchEvent(new Event("chatclose"));
      case "attach":
        return this.#shell.files.click();
      case "jump":
        return this.#shell.toEnd();
      case "cancel-edit":
        return this.#composer.cancelEdit();
      case "end":
        this.#shell.menu.open = false;
        if (!this.#room || !thread) return;
        await this.#api?.end(this.#room.id);
        return this.#readRoom(thread);
      case "transcript":
        this.#shell.menu.open = false;
        return this.#words ? this.#open(transcriptSheet(this.#words)) : undefined;
      case "fold":
        this.#fold();
        return this.focus();
      case "new":
        return this.#startNew();
      case "download":
        return seq === undefined ? undefined : this.#log?.download(Number(seq));
      case "edit":
        return this.#composer.edit(Number(seq), String(thread?.get(Number(seq))?.body ?? ""));
      case "delete":
        return this.#log?.doubt(Number(seq));
      case "delete-really":
        return void this.#signalOrSay({ type: "delete", seq: Number(seq) });
      case "call":
        return this.#askForCall();
      case "call-accept":
        return this.#calling?.accept();
      case "call-decline":
        return this.#calling?.decline();
      case "call-mute":
        return this.#calling?.mute();
      case "call-end":
        return this.#calling?.end();
      case "hear":
        return this.#hear(Number(seq));
      case "again":
        return thread && cid !== undefined ? this.#again(thread, cid) : undefined;
    }
  }

  /** Where there is a choice, or a number is needed, it is asked for. */
  async #askForCall() {
    const modes = this.#calling?.modes ?? [];
    if (!this.#words || modes.length === 0) return;
    if (!modes.includes("phone")) return this.#calling?.begin({ mode: "browser" });
    this.#open(new Sheet("call", this.#say("call"), callFields(this.#words, modes), this.#say("call_start"), this.#say("cancel")));
  }

  /** Plays the recording of a call in the place of its button. @param {number} seq */
  async #hear(seq) {
    const thread = this.#thread;
    const call = callOf(thread?.get(seq));
    if (!thread || !call) return;
    const { url } = await recordingUrl(thread.room, call.call, { token: this.#api?.token });
    this.#log?.play(seq, url);
  }

  /** @param {string} kind @param {any} body */
  async #write(kind, body) {
    this.#shell.complain("");
    try {
      await this.#ensureRoom();
    } catch (error) {
      // What was written stays written.
      if (kind === "text" && this.#shell.message.value === "") this.#shell.message.value = body;
      return this.#complain(error);
    }
    const thread = this.#thread;
    if (!thread) return;
    this.#post(thread, { cid: randomName(), kind, body, at: new Date().toISOString() });
    this.#draw(thread);
    this.#shell.toEnd();
  }

  /** @param {Thread} thread @param {import("./chat-thread.js").Pending} pending */
  #post(thread, pending) {
    thread.pending.push(pending);
    this.#memory?.keepPending(thread.room, thread.pending);
    const { cid, kind, body, failed } = pending;
    if (!failed) this.#line?.say({ room: thread.room, cid, kind, body });
  }

  /** @param {Thread} thread @param {string} cid */
  #again(thread, cid) {
    const pending = thread.pending.find((one) => one.cid === cid);
    if (!pending) return;
    thread.pending = thread.pending.filter((one) => one !== pending);
    const { kind, body, at } = pending;
    this.#post(thread, { cid, kind, body, at });
    this.#draw(thread);
  }

  /** @param {{ seq: number, text: string }} change */
  #change({ seq, text }) {
    this.#signalOrSay({ type: "edit", seq, body: text });
  }

  /** @param {File[]} files */
  async #attach(files) {
    const words = this.#words;
    const most = this.#settings?.max_upload_bytes ?? 0;
    this.#shell.complain("");
    for (const file of files) {
      if (file.size > most) {
        this.#shell.complain(this.#say("too_large", { name: file.name, size: words?.size(most) ?? "" }));
        continue;
      }
      await this.#upload(file);
    }
  }

  /** @param {File} file */
  async #upload(file) {
    const words = this.#words;
    if (!words) return;
    const item = new UploadItem(words, file.name);
    try {
      await this.#ensureRoom();
      const thread = this.#thread;
      if (!thread || !this.#api) return;
      this.#shell.waiting.append(item.element);
      this.#shell.toEnd();
      const attachment = await this.#api.upload(thread.room, file, (part) => item.progress(part));
      if (thread === this.#thread) await this.#write(PICTURES.includes(attachment.type) ? "image" : "file", attachment);
    } catch (error) {
      const isLimit = error instanceof Refused && error.status === 429;
      this.#shell.complain(isLimit ? error.message : this.#say("upload_failed", { name: file.name }));
    } finally {
      item.element.remove();
    }
  }

  /** Tells what may be lost. @param {{ type: string, [member: string]: any }} frame */
  #signal(frame) {
    if (this.#thread) this.#line?.send({ ...frame, room: this.#thread.room });
  }

  /** Tells what must not be lost in silence. @param {{ type: string, [member: string]: any }} frame */
  #signalOrSay(frame) {
    const hasLeft = this.#thread && this.#line?.send({ ...frame, room: this.#thread.room });
    if (!hasLeft) this.#shell.complain(this.#say("lost"));
  }

  /** @param {string} name */
  async #sendForm(name) {
    const sheet = this.#sheet;
    const api = this.#api;
    if (!sheet || !api || !this.#words) return;
    this.#shell.complain("");
    const email = sheet.value("email");
    if (name === "offline") {
      const page = this.getAttribute("page") ?? document.referrer;
      await api.leaveMessage({ name: sheet.value("name"), email, message: sheet.value("message"), product: this.#product, page });
      sheet.done(this.#say("offline_done", { email }));
    } else if (this.#room && name === "transcript") {
      await api.transcript(this.#room.id, { email, locale: this.#words.locale });
      sheet.done(this.#say("transcript_done", { email }));
    } else if (this.#room && name === "rating") {
      await api.rate(this.#room.id, { score: Number(sheet.value("score")), comment: sheet.value("comment") });
      this.#isRated = true;
      sheet.done(this.#say("rate_done"));
    } else if (name === "call") {
      const mode = sheet.value("mode") || "phone";
      const phone = sheet.value("phone");
      this.#fold();
      await this.#calling?.begin(mode === "browser" ? { mode: "browser" } : { mode: "phone", phone });
    }
  }

  async #startNew() {
    if (this.#memory) this.#memory.kept = null;
    this.#fresh = true;
    const token = this.#api?.token ?? null;
    this.#leave();
    // The same visitor, another room.
    if (this.#api) this.#api.token = token;
    this.#shell.ended.hidden = true;
    this.#shell.composer.hidden = false;
    this.#rest();
    this.focus();
  }

  // --- what is seen

  /** @param {Thread} thread */
  #draw(thread) {
    this.#log?.show(thread, Date.now());
    this.#showTyping(thread);
    this.#seen();
    this.#update();
  }

  #showState() {
    const isClosed = this.#room?.state === "closed";
    this.#shell.menu.hidden = this.#room === null;
    this.#shell.composer.hidden = isClosed;
    if (isClosed && this.#shell.ended.hidden && this.#words) {
      const again = make("button", { type: "button", "data-act": "new" }, this.#say("start_new"));
      this.#shell.ended.replaceChildren(make("p", { role: "status" }, this.#say("ended")), again);
      if (!this.#isRated) this.#open(ratingSheet(this.#words), false);
      this.#note("queue", "");
    }
    if (!isClosed && this.#sheet?.form.dataset.form === "offline") this.#fold();
    this.#shell.ended.hidden = !isClosed;
  }

  /** @param {Thread} thread */
  #showTyping(thread) {
    const isTyped = thread.typing(Date.now()).length > 0;
    const text = isTyped ? this.#say("typing") : "";
    if (this.#shell.typing.textContent !== text) this.#shell.typing.textContent = text;
    clearTimeout(this.#typingTimer);
    if (isTyped) this.#typingTimer = setTimeout(() => this.#showTyping(thread), TYPING_FOR);
  }

  /** What somebody looks at has been read. */
  #seen = () => {
    const thread = this.#thread;
    const isSeen = !this.#isHidden && document.visibilityState === "visible" && this.#shell.isAtEnd;
    if (!thread || thread.unread === 0 || !this.#line?.online) return;
    const seq = thread.head;
    const mark = { delivered: seq, read: isSeen ? seq : 0 };
    // Nothing new is to be told of it.
    if (!thread.mark(thread.me, mark)) return;
    this.#line?.send({ type: isSeen ? "read" : "delivered", room: thread.room, seq });
    this.#update();
  };

  /** @param {"line" | "queue"} name @param {string} text */
  #note(name, text) {
    this.#notes[name] = text;
    this.#shell.announce(this.#notes.line || this.#notes.queue);
    this.#update();
  }

  /** @param {import("./chat-view.js").Sheet} sheet @param {boolean} [takesFocus] */
  #open(sheet, takesFocus = true) {
    this.#sheet = sheet;
    this.#shell.sheet.replaceChildren(sheet.form);
    this.#shell.sheet.hidden = false;
    if (takesFocus && !this.#isHidden && this.#room) this.focus();
  }

  #fold() {
    this.#sheet = null;
    this.#shell.sheet.hidden = true;
    this.#shell.sheet.replaceChildren();
  }

  /** @param {unknown} error */
  #complain(error) {
    const isOver = error instanceof Refused && error.status === 429;
    const text = isOver ? this.#say("slow_down", { seconds: error.retryAfter ?? 60 }) : this.#say("failed");
    this.#shell.complain(text || "The chat is not available.");
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    if (event.key === "Escape" && this.#shell.menu.open) {
      this.#shell.menu.open = false;
      return this.#shell.menu.querySelector("summary")?.focus();
    }
    if (!this.#isWidget) return;
    if (event.key === "Escape") this.dispatchEvent(new Event("chatclose"));
    if (event.key === "Tab") this.#keepFocus(event);
  }

  /** From the last control the focus goes to the first: a widget is left by its button, or by Escape. @param {KeyboardEvent} event */
  #keepFocus(event) {
    const wanted = "a[href], button:enabled, summary, input:enabled:not([tabindex='-1']), textarea:enabled, [tabindex='0']";
    const controls = [...this.#shell.root.querySelectorAll(wanted)].filter((control) => control.checkVisibility());
    const [first, last] = event.shiftKey ? [controls.at(-1), controls[0]] : [controls[0], controls.at(-1)];
    if (this.shadowRoot?.activeElement !== last || !(first instanceof HTMLElement)) return;
    event.preventDefault();
    first.focus();
  }

  #update() {
    this.dispatchEvent(new CustomEvent("chatchange", { detail: this.view, bubbles: true }));
  }
}

/** The call that a message tells of. @param {import("./chat-thread.js").Message | undefined} message @returns {import("./chat-calling.js").Call | null} */
function callOf(message) {
  return message?.kind === "call" && message.body ? message.body : null;
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

/** The name of a message: `randomUUID` is not there on pages without HTTPS. */
function randomName() {
  const bytes = crypto.getRandomValues(new Uint8Array(NAME_BYTES));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** @param {Event} event */
function detail(event) {
  return /** @type {CustomEvent} */ (event).detail;
}

if (!customElements.get("tandem-chat")) customElements.define("tandem-chat", TandemChat);
