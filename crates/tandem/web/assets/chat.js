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

import { Acts, callOf } from "./chat-acts.js";
import { ChatApi, Refused } from "./chat-api.js";
import { Calling } from "./chat-call.js";
import { Composer } from "./chat-composer.js";
import { Forms } from "./chat-forms.js";
import { Log } from "./chat-log.js";
import { forget, isForgetful } from "./chat-memory.js";
import { isOffered } from "./chat-push.js";
import { Retry } from "./chat-retry.js";
import { Left, Stay } from "./chat-stay.js";
import { Talk } from "./chat-talk.js";
import { TYPING_FOR } from "./chat-thread.js";
import { offlineSheet, ratingSheet, Shell } from "./chat-view.js";
import { choose, Words } from "./chat-words.js";
import { Writing } from "./chat-writing.js";
import { make } from "./make.js";

/** What is drawn together, ms: when somebody looks at it, and when nobody does. */
const DRAW_EVERY = 30;
const COUNT_EVERY = 250;
/** The hours are asked for again when they are older, ms. */
const HOURS_HOLD = 5 * 60_000;
/** What is said when the server refuses something, by its word for it. @type {Record<string, string>} */
const TROUBLES = { chat_closed: "ended", message_too_old: "too_late", message_deleted: "deleted" };

const SERVER = new URL(import.meta.url).origin;

/** @typedef {import("./chat-api.js").Identity} Identity */

export class TandemChat extends HTMLElement {
  #shell = new Shell();
  #composer = new Composer(this.#shell);
  #forms = new Forms(this.#shell);
  /** @type {Words | null} */
  #words = null;
  /** @type {import("./chat-api.js").Settings | null} */
  #settings = null;
  /** When they were asked for, ms. */
  #settingsAt = 0;
  /** @type {Log | null} */
  #log = null;
  /** @type {Stay | null} */
  #stay = null;
  /** @type {Talk | null} */
  #talk = null;
  /** Calls of this room. @type {Calling | null} */
  #calling = null;
  #writing = new Writing(this.#shell, {
    stay: () => this.#stay,
    talk: () => this.#talk,
    join: (stay, found) => this.#joined(stay, found),
    paint: () => this.#paint(),
    complain: (error) => this.#complain(error),
    sentence: (error) => this.#sentence(error),
  });
  #acts = new Acts(this.#shell, this.#composer, this.#forms, this.#writing, {
    stay: () => this.#stay,
    talk: () => this.#talk,
    calling: () => this.#calling,
    log: () => this.#log,
    words: () => this.#words,
    product: () => this.#product,
    page: () => this.#page,
    focus: () => this.focus(),
    close: () => this.dispatchEvent(new Event("chatclose")),
    renew: () => this.#startNew(),
  });
  /** @type {Identity | null} */
  #identity = null;
  /** The page says that nobody sees it. */
  #isHidden = false;
  /** Another look than the one that is set. @type {Partial<import("./chat-api.js").Settings>} */
  #look = {};
  /** What is said of the line, of the queue, and of what the browser keeps. */
  #notes = { line: "", queue: "", memory: "" };
  /** Ends what the life before began. */
  #life = 0;
  #retry = new Retry();
  /** @type {number | undefined} */
  #drawTimer;
  /** @type {number | undefined} */
  #typingTimer;

  constructor() {
    super();
    const style = make("link", { rel: "stylesheet", href: new URL("chat.css", import.meta.url).href });
    this.attachShadow({ mode: "open" }).append(style, this.#shell.root);
    this.#listen();
  }

  connectedCallback() {
    this.#life += 1;
    this.#shell.root.classList.toggle("is-widget", this.#isWidget);
    this.#shell.close.hidden = !this.#isWidget;
    document.addEventListener("visibilitychange", this.#wake);
    addEventListener("online", this.#wake);
    addEventListener("storage", this.#elsewhere);
    void this.#begin(this.#life);
  }

  disconnectedCallback() {
    this.#life += 1;
    this.#leave();
    document.removeEventListener("visibilitychange", this.#wake);
    removeEventListener("online", this.#wake);
    removeEventListener("storage", this.#elsewhere);
  }

  /** What the chat is doing. */
  get view() {
    return {
      ready: this.#log !== null,
      online: this.#talk?.online ?? false,
      room: this.#talk?.room.id ?? null,
      state: this.#talk?.room.state ?? "none",
      unread: this.#talk?.unread ?? 0,
      pending: this.#thread.pending.length,
      locale: this.#words?.locale ?? "",
      call: this.#calling?.view ?? null,
      seqs: this.#thread.messages.map(({ seq }) => seq),
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
    // Whoever was not known yet goes on writing under their name; words of somebody known are nobody else's.
    const text = this.#identity === null ? this.#composer.text : "";
    this.#identity = identity;
    if (!this.#log) return;
    this.#leave();
    await this.#enter();
    if (text && this.#composer.text === "") this.#composer.restore(text);
  }

  /** The visitor has signed out of the page: nothing of the chat stays in this browser. */
  async signOut() {
    this.#identity = null;
    // The token is still known, by which the server is told.
    const ended = this.#shell.offer.end();
    this.#leave();
    forget(this.#app);
    if (this.#log) await this.#enter();
    await ended;
  }

  /** Whether somebody looks at it: what is not seen is not read. @param {boolean} isHidden */
  set concealed(isHidden) {
    this.#isHidden = isHidden;
    this.#wake();
    this.#draw();
  }

  /** Puts the cursor where one writes. */
  focus() {
    const field = this.#forms.sheet?.form.querySelector("input, textarea") ?? this.#shell.message;
    if (field instanceof HTMLElement) field.focus();
  }

  get #app() {
    return this.getAttribute("app") ?? "";
  }

  get #isWidget() {
    return this.getAttribute("mode") === "widget";
  }

  get #product() {
    return this.getAttribute("product") ?? this.#settings?.product ?? "";
  }

  get #page() {
    return this.getAttribute("page") ?? document.referrer;
  }

  get #thread() {
    return this.#talk?.thread ?? this.#writing.early;
  }

  /** @param {string} key @param {Record<string, string | number>} [values] */
  #say(key, values) {
    return this.#words?.say(key, values) ?? "";
  }

  // --- coming and going

  /** Learns how the chat looks and speaks. @param {number} life */
  async #begin(life) {
    try {
      const settings = await new ChatApi(SERVER, this.#app).settings();
      const wanted = [this.getAttribute("locale") ?? "", settings.locale, ...navigator.languages].filter((tag) => tag !== "" && tag !== "auto");
      const words = await Words.load(choose(wanted), wanted);
      if (life !== this.#life) return;
      this.#retry.done();
      this.#words = words;
      this.#dress(settings, words);
      this.#shell.complain("");
      this.#log = new Log(this.#shell, words, new ChatApi(SERVER, this.#app));
    } catch (error) {
      if (life !== this.#life) return;
      this.#complain(error);
      if (!(error instanceof Refused && error.isStale)) this.#retry.later(() => void this.#begin(life));
      return;
    }
    await this.#enter();
  }

  /** @param {import("./chat-api.js").Settings} settings @param {Words} words */
  #dress(settings, words) {
    this.#settings = settings;
    this.#settingsAt = Date.now();
    this.#composer.max = settings.max_characters;
    this.#shell.speak(words);
    this.#shell.dress({ ...settings, ...this.#look }, words);
  }

  /** Somebody is here, and has not said anything yet. */
  #arrive() {
    const { locale } = this.#words ?? {};
    const link = this.getAttribute("link") ?? undefined;
    const stay = new Stay(new ChatApi(SERVER, this.#app), { app: this.#app, product: this.#product, link, identity: this.#identity, page: () => this.#page, locale });
    this.#stay = stay;
    if (this.#log) this.#log.api = stay.api;
    this.#writing.early.pending = stay.memory.pending(null);
    return stay;
  }

  /** Takes up the room of before, or waits for the first word. */
  async #enter() {
    const stay = this.#arrive();
    this.#composer.restore(stay.memory.draft);
    try {
      // Whoever is vouched for finds the conversation of another device.
      const found = (await stay.before()) ?? (await stay.elsewhere());
      if (stay !== this.#stay || this.#talk) return;
      this.#retry.done();
      this.#note("line", "");
      if (found) return this.#joined(stay, found);
      if (stay.isGone) this.#tellGone(stay);
      this.#showState();
      this.#draw();
    } catch (error) {
      if (stay !== this.#stay || error instanceof Left) return;
      this.#showState();
      if (error instanceof Refused && error.isStale) return this.#complain(error);
      this.#note("line", this.#say("lost"));
      this.#retry.later(() => void this.#return());
    }
  }

  #leave() {
    if (this.#stay) this.#stay.isOver = true;
    this.#stay = null;
    this.#talk?.close();
    this.#talk = null;
    this.#calling?.leave();
    this.#calling = null;
    this.#shell.offer.leave();
    this.#writing.early.pending = [];
    this.#acts.forget();
    this.#retry.stop();
    clearTimeout(this.#drawTimer);
    this.#drawTimer = undefined;
    clearTimeout(this.#typingTimer);
    this.#shell.typing.textContent = "";
    this.#composer.reset();
    this.#log?.clear();
    this.#forms.fold();
    for (const name of /** @type {const} */ (["line", "queue", "memory"])) this.#note(name, "");
    this.#showState();
    this.#update();
  }

  /** Comes in once more; what stands in the field stays. */
  async #return() {
    const text = this.#composer.text;
    this.#leave();
    await this.#enter();
    if (text && this.#composer.text === "") this.#composer.restore(text);
  }

  /** There is a room. @param {Stay} stay @param {import("./chat-stay.js").Found} found */
  #joined(stay, found) {
    const old = stay.takeBackOld(found.room.id, Date.now());
    if (old !== "") this.#composer.restore(old);
    const talk = new Talk(stay, found);
    this.#talk = talk;
    this.#shell.scroll.setAttribute("aria-live", "off");
    talk.addEventListener("change", () => this.#draw());
    talk.addEventListener("typing", () => this.#showTyping());
    talk.addEventListener("room", () => {
      void this.#calling?.look();
      this.#showState();
      this.#draw();
    });
    talk.addEventListener("line", (event) => {
      const { word, seconds } = detail(event);
      this.#note("line", word && this.#say(word, { seconds }));
    });
    talk.addEventListener("queue", (event) => this.#note("queue", detail(event) > 0 ? this.#say("queue", { position: detail(event) }) : ""));
    talk.addEventListener("edited", (event) => this.#acts.changed(detail(event)));
    talk.addEventListener("trouble", (event) => this.#trouble(detail(event)));
    talk.addEventListener("gone", () => this.#gone(stay));
    talk.addEventListener("call", (event) => this.#calling?.told(callOf(detail(event))));
    talk.addEventListener("presence", () => void this.#calling?.look());
    this.#takeCalls(stay, talk.room.id);
    this.#note("memory", isForgetful() ? this.#say("forgets") : "");
    if (stay.api.token && isOffered(SERVER)) this.#shell.offer.join(stay.memory.key, stay.api.token, this.#words?.locale ?? "");
    this.#note("line", this.#say("connecting"));
    talk.open();
    this.#writing.early.pending = [];
    this.#showState();
    this.#paint();
  }

  /** Calls of a room, of which the visitor is known by its token. @param {Stay} stay @param {string} room */
  #takeCalls({ api }, room) {
    if (!this.#words || !api.token) return;
    const calling = new Calling(this.#shell.call, this.#words, room, api.token);
    this.#calling = calling;
    calling.addEventListener("problem", (event) => this.#shell.complain(detail(event)));
    calling.addEventListener("change", () => {
      this.#shell.root.classList.toggle("hears", calling.hears);
      this.#update();
    });
  }

  /** The room, or the token, is not good any more. @param {Stay} stay */
  #gone(stay) {
    if (this.#talk) stay.forget(this.#talk.room.id);
    this.#leave();
    const { memory } = this.#arrive();
    this.#composer.restore(memory.draft);
    this.#showState();
    this.#tellGone(stay);
    this.#draw();
  }

  /** @param {Stay} stay */
  #tellGone(stay) {
    if (this.#composer.text === "") this.#composer.restore(stay.memory.draft);
    this.#shell.complain(this.#say("gone"));
  }

  /** Somebody may look at it now, and there may be a network. */
  #wake = () => {
    const isSeen = !this.#isHidden && document.visibilityState === "visible";
    if (isSeen) this.#retry.hurry();
    if (isSeen && this.#settings && Date.now() - this.#settingsAt > HOURS_HOLD) void this.#askHours();
    this.#talk?.seen(isSeen && this.#shell.follows);
    this.#update();
  };

  /** Whether anybody is there may have changed since the page was loaded. */
  async #askHours() {
    this.#settingsAt = Date.now();
    const life = this.#life;
    // What is known holds until the next look.
    const settings = await new ChatApi(SERVER, this.#app).settings().catch(() => null);
    if (settings && this.#words && life === this.#life) {
      this.#dress(settings, this.#words);
      this.#showState();
    }
  }

  /** Another page of this browser has opened a room, or the visitor has signed out there. @param {StorageEvent} event */
  #elsewhere = ({ key, newValue }) => {
    const { memory } = this.#stay ?? {};
    if (!memory || !this.#log || (key !== null && key !== memory.key)) return;
    if (newValue === null && this.#talk) {
      forget(this.#app);
      this.#leave();
      void this.#enter();
    } else if (memory.kept?.room && !this.#talk && this.#writing.early.pending.length === 0) void this.#return();
  };

  // --- what the visitor does

  #listen() {
    const { root, scroll } = this.#shell;
    root.addEventListener("click", (event) => {
      const button = event.composedPath().find((part) => part instanceof HTMLElement && part.dataset.act !== undefined);
      if (button instanceof HTMLElement) void this.#acts.press(button).catch((error) => this.#complain(error));
    });
    root.addEventListener("submit", (event) => {
      const form = event.target;
      if (!(form instanceof HTMLFormElement) || !form.dataset.form) return;
      event.preventDefault();
      void this.#acts.send().catch((error) => this.#complain(error));
    });
    root.addEventListener("keydown", (event) => this.#key(event));
    root.addEventListener("pointerdown", (event) => {
      const { menu } = this.#shell;
      if (menu.open && !event.composedPath().includes(menu)) menu.open = false;
    });
    scroll.addEventListener("scroll", () => this.#wake());
    const composer = this.#composer;
    composer.addEventListener("say", (event) => void this.#writing.write("text", detail(event)));
    composer.addEventListener("change", (event) => this.#acts.change(detail(event)));
    composer.addEventListener("files", (event) => void this.#attach(detail(event)));
    composer.addEventListener("written", (event) => this.#stay && (this.#stay.memory.draft = detail(event)));
    composer.addEventListener("typing", (event) => this.#talk?.signal({ type: "typing", on: detail(event) }));
    composer.addEventListener("draft", (event) => this.#talk?.signal({ type: "draft", text: detail(event) }));
    composer.addEventListener("refused", (event) => {
      if (detail(event) === "too_long") this.#shell.complain(this.#say("too_long", { count: composer.max }));
    });
  }

  /** @param {File[]} files */
  async #attach(files) {
    if (this.#words && this.#settings) await this.#writing.attach(files, this.#words, this.#settings.max_upload_bytes);
  }

  /** The same visitor, another room; what the last one did not take goes back into the field. */
  #startNew() {
    const before = this.#stay;
    const room = this.#talk?.room.id;
    this.#talk?.close();
    if (before && room) before.takeBack(room);
    this.#leave();
    const stay = this.#arrive();
    stay.api.token = before?.api.token ?? null;
    stay.renew();
    this.#composer.restore(stay.memory.draft);
    this.#shell.complain("");
    this.#showState();
    this.focus();
  }

  // --- what is seen

  /** Draws soon, and once for all that comes till then. */
  #draw() {
    this.#drawTimer ??= setTimeout(() => this.#paint(), this.#isHidden ? COUNT_EVERY : DRAW_EVERY);
  }

  #paint() {
    clearTimeout(this.#drawTimer);
    this.#drawTimer = undefined;
    // What nobody sees is drawn once somebody does.
    if (!this.#isHidden) {
      this.#log?.show(this.#thread, Date.now());
      this.#showTyping();
      if (this.#words) this.#shell.offer.show(this.#words, this.#thread.messages.some((message) => this.#thread.isMine(message)));
    }
    // The past is not read out, what comes is.
    const talk = this.#talk;
    if (talk?.online && talk.thread.cursor >= talk.past) setTimeout(() => this.#shell.scroll.setAttribute("aria-live", "polite"));
    this.#wake();
  }

  /** Nobody is here, and a message can be left. */
  get #isAway() {
    return this.#settings !== null && !this.#settings.is_open && this.#settings.has_offline_form;
  }

  #showState() {
    const { talk, words, shell } = { talk: this.#talk, words: this.#words, shell: this.#shell };
    const isClosed = talk?.room.state === "closed";
    const isSilent = this.#thread.pending.length === 0 && (talk === null || (talk.room.seq_head === 0 && talk.thread.head === 0));
    const isForm = this.#stay !== null && this.#isAway && isSilent && !isClosed;
    shell.menu.hidden = talk === null;
    shell.composer.hidden = isClosed || isForm;
    if (isForm && words && this.#forms.name !== "offline") this.#forms.open(offlineSheet(words, this.#say("offline")));
    if (isClosed && shell.ended.hidden && words) {
      const again = make("button", { type: "button", "data-act": "new" }, this.#say("start_new"));
      shell.ended.replaceChildren(make("p", { role: "status" }, this.#say("ended")), again);
      if (!talk?.isRated) this.#forms.open(ratingSheet(words));
      this.#note("queue", "");
    }
    const isStray = (!isForm && this.#forms.name === "offline") || (!isClosed && this.#forms.name === "rating");
    if (isStray) this.#forms.fold();
    shell.ended.hidden = !isClosed;
  }

  #showTyping() {
    const isTyped = this.#thread.typing(Date.now()).length > 0;
    const text = isTyped ? this.#say("typing") : "";
    if (this.#shell.typing.textContent !== text) this.#shell.typing.textContent = text;
    clearTimeout(this.#typingTimer);
    if (isTyped) this.#typingTimer = setTimeout(() => this.#showTyping(), TYPING_FOR);
  }

  /** @param {"line" | "queue" | "memory"} name @param {string} text */
  #note(name, text) {
    this.#notes[name] = text;
    this.#shell.announce(this.#notes.line || this.#notes.queue || this.#notes.memory);
    this.#update();
  }

  /** A frame, or a message, was refused. @param {{ code: string }} error */
  #trouble(error) {
    if (error.code === "rate_limited") return;
    this.#acts.takeBack();
    this.#shell.complain(this.#say(TROUBLES[error.code] ?? "failed"));
  }

  /** @param {unknown} error */
  #complain(error) {
    if (!(error instanceof Left)) this.#shell.complain(this.#sentence(error) || "The chat is not available.");
  }

  /** What to say of a request that failed. @param {unknown} error */
  #sentence(error) {
    if (!(error instanceof Refused)) return this.#say("failed");
    if (error.status === 429) return this.#say("slow_down", { seconds: error.retryAfter ?? 60 });
    const isStranger = error.status === 401 && this.#settings?.identity === "verified";
    return this.#say(isStranger ? "sign_in" : (TROUBLES[error.code] ?? "failed"));
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    if (event.key === "Escape" && this.#shell.menu.open) {
      this.#shell.menu.open = false;
      return this.#shell.menu.querySelector("summary")?.focus();
    }
    if (!this.#isWidget) return;
    if (event.key === "Escape") this.dispatchEvent(new Event("chatclose"));
    if (event.key === "Tab") this.#shell.keepFocus(event);
  }

  #update() {
    this.dispatchEvent(new CustomEvent("chatchange", { detail: this.view, bubbles: true }));
  }
}

/** @param {Event} event */
function detail(event) {
  return /** @type {CustomEvent} */ (event).detail;
}

if (!customElements.get("tandem-chat")) customElements.define("tandem-chat", TandemChat);
