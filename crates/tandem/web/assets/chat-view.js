// @ts-check
/**
 * What a chat looks like: its parts as elements, and nothing about what they do.
 */

import { make, icon } from "./make.js";
import { CallBar } from "./chat-call.js";
import { Offer } from "./chat-push.js";
import { clock } from "./chat-calling.js";
import { draw } from "./chat-text.js";

/** @typedef {import("./chat-thread.js").Message} Message */
/** @typedef {import("./chat-thread.js").Pending} Pending */
/** @typedef {import("./chat-words.js").Words} Words */

const CLOSE = "M6 6l12 12M18 6L6 18";
const CLIP = "M20 11l-8.5 8.5a5 5 0 0 1-7-7L13 4a3.4 3.4 0 0 1 5 5l-8.6 8.5a1.7 1.7 0 0 1-2.4-2.4L15 7";
const SEND = "M4 12l16-8-6 16-3-7z";
const MORE = "M5 12h.01M12 12h.01M19 12h.01";

/** Types of pictures that are shown where they stand; others are offered as files. */
export const PICTURES = ["image/png", "image/jpeg", "image/gif", "image/webp"];
/** Marks of the rating. */
const SCORES = [1, 2, 3, 4, 5];

/** The parts of the chat that stay. */
export class Shell {
  title = make("h2", { id: "title", dir: "auto" });
  status = make("p", { class: "status", role: "status" });
  close = make("button", { type: "button", class: "bare", "data-act": "close" }, icon(CLOSE));
  #summary = make("summary", { class: "bare" }, icon(MORE));
  menu = make("details", { class: "menu" }, this.#summary);
  #end = make("button", { type: "button", "data-act": "end" });
  #transcript = make("button", { type: "button", "data-act": "transcript" });
  call = new CallBar();
  problem = make("p", { class: "problem", role: "alert", hidden: "" });
  /** It stays in the tree: what is filled while it is not there is not read out. */
  banner = make("p", { class: "banner", role: "status" });
  /** A region that moves must be reached by keys. */
  scroll = make("div", { class: "scroll", tabindex: "0", role: "log", "aria-live": "polite", "aria-relevant": "additions", "aria-labelledby": "title" });
  greeting = make("div", { class: "message theirs greeting" });
  /** What is not sent yet is not read out: it will be, once it is a message. */
  waiting = make("div", { class: "waiting", "aria-live": "off" });
  jump = make("button", { type: "button", class: "jump", "data-act": "jump", hidden: "" });
  typing = make("p", { class: "typing", role: "status" });
  offer = new Offer();
  composer = make("form", { class: "composer" });
  #messageLabel = make("label", { for: "message", class: "unseen" });
  message = make("textarea", { id: "message", rows: "1", autocomplete: "off", dir: "auto", enterkeyhint: "send" });
  files = make("input", { type: "file", id: "files", class: "unseen", multiple: "", tabindex: "-1", "aria-hidden": "true" });
  attach = make("button", { type: "button", class: "bare", "data-act": "attach" }, icon(CLIP));
  send = make("button", { type: "submit", class: "send" }, icon(SEND));
  cancel = make("button", { type: "button", class: "bare", "data-act": "cancel-edit", hidden: "" }, icon(CLOSE));
  ended = make("div", { class: "ended", hidden: "" });
  sheet = make("div", { class: "sheet", hidden: "" });
  root;

  constructor() {
    this.menu.append(make("div", { class: "choices" }, this.#transcript, this.#end));
    this.composer.append(this.#messageLabel, this.attach, this.files, this.message, this.cancel, this.send);
    const names = make("div", { class: "names" }, this.title, this.status);
    const head = make("header", {}, names, this.call.button, this.menu, this.close);
    this.scroll.append(this.greeting, this.waiting);
    const body = make("div", { class: "body" }, this.scroll, this.jump);
    this.root = make(
      "section",
      { "aria-labelledby": "title", part: "chat" },
      head,
      this.problem,
      this.banner,
      this.call.root,
      body,
      this.typing,
      this.offer.root,
      this.ended,
      this.sheet,
      this.composer,
    );
    this.#watch();
  }

  /** Puts the words of a language everywhere. @param {Words} words */
  speak(words) {
    this.root.lang = words.locale;
    this.root.dir = words.direction;
    this.close.setAttribute("aria-label", words.say("close"));
    this.#summary.setAttribute("aria-label", words.say("menu"));
    this.#end.textContent = words.say("end");
    this.#transcript.textContent = words.say("transcript");
    this.attach.setAttribute("aria-label", words.say("attach"));
    this.send.setAttribute("aria-label", words.say("send"));
    this.cancel.setAttribute("aria-label", words.say("cancel"));
    this.#messageLabel.textContent = words.say("message");
    this.message.placeholder = words.say("placeholder");
    this.jump.textContent = words.say("new_messages");
  }

  /** Looks as the application wishes, and says whether anybody is there. @param {import("./chat-api.js").Settings} settings @param {Words} words */
  dress(settings, words) {
    const { title, greeting, status, root } = this;
    title.textContent = settings.title || words.say("title");
    greeting.replaceChildren(draw(settings.greeting || words.say("greeting")));
    const back = settings.opens_at ? words.say("back", { time: words.moment(new Date(settings.opens_at), new Date()) }) : words.say("closed");
    status.textContent = settings.is_open ? words.say("open") : back;
    status.dataset.open = String(settings.is_open);
    if (settings.theme !== "auto") root.dataset.theme = settings.theme;
    if (!settings.accent) return;
    // Under names of their own: a page that sets the colours of chat.css has the last word.
    root.style.setProperty("--set-accent", settings.accent);
    root.style.setProperty("--set-accent-text", settings.accent_text);
  }

  /**
   * From the last control the focus goes to the first: a widget is left by its button, or by Escape.
   * @param {KeyboardEvent} event
   */
  keepFocus(event) {
    const wanted = "a[href], button:enabled, summary, input:enabled:not([tabindex='-1']), textarea:enabled, [tabindex='0']";
    const isShown = (/** @type {Element} */ control) => control.checkVisibility?.() ?? control.getClientRects().length > 0;
    const controls = [...this.root.querySelectorAll(wanted)].filter(isShown);
    const [first, last] = event.shiftKey ? [controls.at(-1), controls[0]] : [controls[0], controls.at(-1)];
    const { activeElement } = /** @type {ShadowRoot} */ (this.root.getRootNode());
    if (activeElement !== last || !(first instanceof HTMLElement)) return;
    event.preventDefault();
    first.focus();
  }

  /** Says what is wrong, or with "" that nothing is. @param {string} text */
  complain(text) {
    this.problem.textContent = text;
    this.problem.hidden = text === "";
  }

  /** A line that stands above all, or none with "". @param {string} text */
  announce(text) {
    if (this.banner.textContent !== text) this.banner.textContent = text;
  }

  /** Whether the end of the messages is seen. */
  get isAtEnd() {
    const { scrollHeight, scrollTop, clientHeight } = this.scroll;
    return scrollHeight - scrollTop - clientHeight < 60;
  }

  /** What comes is shown, unless one has gone back to read what was before. */
  follows = true;

  toEnd() {
    this.follows = true;
    this.scroll.scrollTop = this.scroll.scrollHeight;
    this.jump.hidden = true;
  }

  /** Notes where one has scrolled to, or that there is another height: a page that was not shown had none. */
  #watch() {
    this.scroll.addEventListener("scroll", () => {
      if (this.scroll.clientHeight > 0) this.follows = this.isAtEnd;
      if (this.follows) this.jump.hidden = true;
    });
    new ResizeObserver(() => this.follows && this.toEnd()).observe(this.scroll);
  }

  /** As high as what is written, within limits. */
  fit() {
    this.message.style.height = "auto";
    this.message.style.height = `${Math.min(this.message.scrollHeight, 160)}px`;
  }
}

/** A field under its words. @param {string} label @param {HTMLElement} field */
function labelled(label, field) {
  return make("label", {}, label, field);
}

/** A form in the place of the messages' end. */
export class Sheet {
  form;
  /** The words that it answers with. */
  answer = make("p", { role: "status", class: "answer" });

  /**
   * @param {string} name what it is for
   * @param {string} title
   * @param {HTMLElement[]} fields
   * @param {string} submit words of its button
   * @param {string | null} cancel words of the button that closes it; null where it stays
   */
  constructor(name, title, fields, submit, cancel) {
    const buttons = [make("button", { type: "submit", class: "primary" }, submit)];
    if (cancel) buttons.push(make("button", { type: "button", "data-act": "fold" }, cancel));
    this.answer.tabIndex = -1;
    this.form = make("form", { "data-form": name }, make("h3", { tabindex: "-1" }, title), ...fields, make("div", { class: "row" }, ...buttons), this.answer);
  }

  /** What stands in a field. @param {string} name */
  value(name) {
    return String(new FormData(this.form).get(name) ?? "").trim();
  }

  /** Nothing is left to do but to read. @param {string} text */
  done(text) {
    for (const child of [...this.form.children]) if (child !== this.answer) child.remove();
    this.answer.textContent = text;
    this.answer.focus();
  }

  /** While it is on its way it is not sent a second time. @param {boolean} isBusy */
  set busy(isBusy) {
    for (const button of this.form.querySelectorAll("button")) button.disabled = isBusy;
  }
}

/** @param {Words} words @param {string} sentence */
export function offlineSheet(words, sentence) {
  const fields = [
    make("p", {}, sentence),
    labelled(words.say("name"), make("input", { name: "name", autocomplete: "name", required: "", maxlength: "200" })),
    labelled(words.say("email"), make("input", { name: "email", type: "email", autocomplete: "email", required: "", maxlength: "320" })),
    labelled(words.say("message"), make("textarea", { name: "message", rows: "4", required: "", maxlength: "8000", dir: "auto" })),
  ];
  return new Sheet("offline", words.say("offline_title"), fields, words.say("offline_send"), null);
}

/** @param {Words} words */
export function transcriptSheet(words) {
  const email = make("input", { name: "email", type: "email", autocomplete: "email", required: "", maxlength: "320" });
  return new Sheet("transcript", words.say("transcript"), [labelled(words.say("email"), email)], words.say("transcript_send"), words.say("cancel"));
}

/** @param {Words} words */
export function ratingSheet(words) {
  const choice = (/** @type {number} */ score) => {
    const button = make("input", { type: "radio", name: "score", value: String(score), required: "" });
    return make("label", {}, button, make("span", {}, words.say(`score_${score}`)));
  };
  const scores = make("fieldset", { class: "scores" }, make("legend", {}, words.say("rate_legend")), ...SCORES.map(choice));
  const comment = make("textarea", { name: "comment", rows: "2", maxlength: "2000", dir: "auto" });
  return new Sheet("rating", words.say("rate"), [scores, labelled(words.say("comment"), comment)], words.say("rate_send"), words.say("cancel"));
}

/** What a message says, as elements. @typedef {{ content: Node[], file: import("./chat-api.js").Attachment | null }} Drawn */

/** Whether a body names an attachment. @param {any} body @returns {body is import("./chat-api.js").Attachment} */
function isAttachment(body) {
  return typeof body === "object" && body !== null && typeof body.file === "string" && typeof body.name === "string";
}

/**
 * @param {string} kind
 * @param {any} body
 * @param {Words} words
 * @returns {Drawn}
 */
function drawBody(kind, body, words) {
  if ((kind === "image" || kind === "file") && isAttachment(body)) {
    const name = make("span", { class: "name", dir: "auto" }, body.name);
    const size = make("span", { class: "size" }, body.size ? words.size(body.size) : "");
    const button = make("button", { type: "button", class: "file", "data-act": "download", "aria-label": words.say("download", { name: body.name }) }, icon(CLIP), name);
    // The size beside the button: its name is what is read on it.
    return { content: [button, size], file: body };
  }
  if (kind === "call" && typeof body === "object" && body !== null) return { content: drawCall(body, words), file: null };
  if (typeof body === "string") return { content: [draw(body)], file: null };
  return { content: [make("pre", { dir: "ltr", tabindex: "0" }, make("code", {}, JSON.stringify(body, null, 1)))], file: null };
}

/** What a call of each state is called. @type {Record<import("./chat-calling.js").CallState, string>} */
const CALLS = { ringing: "call_ringing", talking: "call_talking", ended: "call_ended", missed: "call_missed", failed: "call_failed", canceled: "call_canceled" };

/** A call, and its recording where the visitor may hear it. @param {import("./chat-calling.js").Call} call @param {Words} words */
function drawCall(call, words) {
  const length = call.duration_s === undefined ? "" : ` · ${clock(call.duration_s)}`;
  const parts = [make("span", {}, `${words.say(CALLS[call.state])}${length}`)];
  if (call.recording) parts.push(make("button", { type: "button", class: "hear", "data-act": "hear" }, words.say("call_hear")));
  return parts;
}

/** One message in the list. Its buttons carry what they do in `data-act`. */
export class MessageItem {
  #words;
  #author = make("span", { class: "author" });
  #content = make("div", { class: "content" });
  /** When, and how far it has come: seen, not read out. */
  #meta = make("p", { class: "meta", "aria-live": "off" });
  #acts = make("div", { class: "acts" });
  /** What is drawn, so that it is not drawn twice. */
  #drawn = "";
  #noted = "";
  /** @type {import("./chat-api.js").Attachment | null} */
  file = null;
  element = make("div", { class: "message" });

  /** @param {Words} words */
  constructor(words) {
    this.#words = words;
    this.element.append(this.#author, this.#content, this.#acts, this.#meta);
  }

  /**
   * @param {Message} message
   * @param {{ isMine: boolean, mayChange: boolean, author: string, state: string }} seen
   */
  show(message, { isMine, mayChange, author, state }) {
    const words = this.#words;
    this.element.dataset.seq = String(message.seq);
    const side = message.kind === "system" || message.kind === "call" ? "system" : isMine ? "mine" : "theirs";
    const look = `message ${side}`;
    if (this.element.className !== look) this.element.className = look;
    if (this.#author.textContent !== author) this.#author.textContent = author;
    const signature = JSON.stringify([message.body, message.kind, message.deleted_at]);
    if (signature !== this.#drawn) {
      this.#drawn = signature;
      this.#drawMessage(message);
    }
    const notes = [message.edited_at && !message.deleted_at && message.kind !== "call" ? words.say("edited") : "", state].filter(Boolean);
    const noted = JSON.stringify([message.at, notes]);
    if (noted !== this.#noted) {
      this.#noted = noted;
      const time = make("time", { datetime: message.at }, words.time(new Date(message.at)));
      this.#meta.replaceChildren(time, ...notes.map((note) => make("span", { class: "note" }, note)));
    }
    this.#showActs(mayChange ? (typeof message.body === "string" ? ["edit", "delete"] : ["delete"]) : []);
  }

  /** @param {Message} message */
  #drawMessage(message) {
    this.element.toggleAttribute("data-deleted", message.deleted_at !== undefined);
    if (message.deleted_at !== undefined) {
      this.file = null;
      this.#content.replaceChildren(make("em", {}, this.#words.say("deleted")));
      return;
    }
    const { content, file } = drawBody(message.kind, message.body, this.#words);
    this.file = file;
    this.#content.replaceChildren(...content);
  }

  /** @param {string[]} acts */
  #showActs(acts) {
    const present = [...this.#acts.children].map((button) => /** @type {HTMLElement} */ (button).dataset.act);
    if (present.join() === acts.join()) return;
    this.#acts.replaceChildren(...acts.map((act) => make("button", { type: "button", "data-act": act }, this.#words.say(act))));
  }

  /** Asks once more before a message is taken back. */
  doubt() {
    const button = this.#acts.querySelector('[data-act="delete"]');
    if (!(button instanceof HTMLElement)) return;
    button.dataset.act = "delete-really";
    button.textContent = this.#words.say("delete_really");
  }

  /** Plays a recording in the place of its button. @param {string} url */
  play(url) {
    const audio = make("audio", { controls: "", autoplay: "", src: url });
    this.#content.querySelector(".hear")?.replaceWith(audio);
  }

  /** Shows a picture that was fetched, in the place of its name. @param {string} url @param {string} name */
  picture(url, name) {
    const image = make("img", { src: url, alt: this.#words.say("picture", { name }) });
    this.#content.querySelector(".file")?.prepend(image);
    this.#content.querySelector(".file")?.classList.add("picture");
    return image;
  }
}

/** A message that is on its way, or could not be brought there. */
export class PendingItem {
  #words;
  #state = make("span", { class: "note" });
  element = make("div", { class: "message mine pending" });

  /** @param {Words} words @param {Pending} pending */
  constructor(words, pending) {
    this.#words = words;
    const { content } = drawBody(pending.kind, pending.body, words);
    this.element.dataset.cid = pending.cid;
    this.element.append(make("span", { class: "author" }, words.say("you")), make("div", { class: "content" }, ...content), make("p", { class: "meta" }, this.#state));
    this.show(pending);
  }

  /** @param {Pending} pending */
  show(pending) {
    this.#state.textContent = this.#words.say(pending.failed ? "not_sent" : "sending");
    this.element.classList.toggle("failed", pending.failed !== undefined);
    const button = this.element.querySelector("button[data-act=again]");
    if (pending.failed && !button) this.element.append(make("div", { class: "acts" }, make("button", { type: "button", "data-act": "again" }, this.#words.say("again"))));
    if (!pending.failed) button?.parentElement?.remove();
  }
}

/** A file that is being brought to the server. */
export class UploadItem {
  #words;
  #name;
  #bar = make("progress", { max: "1", value: "0" });
  #state = make("span", { class: "note" });
  element = make("div", { class: "message mine pending" });

  /** @param {Words} words @param {string} name */
  constructor(words, name) {
    this.#words = words;
    this.#name = name;
    this.#bar.setAttribute("aria-label", words.say("uploading", { name, percent: "" }));
    this.element.append(make("div", { class: "content" }, make("span", { class: "name", dir: "auto" }, name), this.#bar), make("p", { class: "meta" }, this.#state));
    this.progress(0);
  }

  /** @param {number} part from 0 to 1 */
  progress(part) {
    this.#bar.value = part;
    this.#state.textContent = this.#words.say("uploading", { name: this.#name, percent: this.#words.percent(part) });
  }
}
