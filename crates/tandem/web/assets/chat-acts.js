// @ts-check
/**
 * What a visitor does with the buttons, forms and fields of a chat: each has its word, and here stands what follows.
 */

import { callFields } from "./chat-call.js";
import { recordingUrl } from "./chat-calling.js";
import { Sheet, transcriptSheet } from "./chat-view.js";

/** @typedef {import("./chat-calling.js").Call} Call */
/** @typedef {import("./chat-forms.js").Forms} Forms */
/**
 * The chat in which it is done.
 * @typedef {{ stay: () => import("./chat-stay.js").Stay | null, talk: () => import("./chat-talk.js").Talk | null,
 *             calling: () => import("./chat-call.js").Calling | null, log: () => import("./chat-log.js").Log | null,
 *             words: () => import("./chat-words.js").Words | null, product: () => string, page: () => string,
 *             focus: () => void, close: () => void, renew: () => void }} Chat
 */

/** The call that a message tells of. @param {import("./chat-thread.js").Message | undefined} message @returns {Call | null} */
export function callOf(message) {
  return message?.kind === "call" && message.body ? message.body : null;
}

export class Acts {
  #shell;
  #composer;
  #forms;
  #writing;
  #chat;
  /** A change of a message that has left and is not there yet. @type {{ seq: number, text: string } | null} */
  #changing = null;

  /**
   * @param {import("./chat-view.js").Shell} shell
   * @param {import("./chat-composer.js").Composer} composer
   * @param {Forms} forms
   * @param {import("./chat-writing.js").Writing} writing
   * @param {Chat} chat
   */
  constructor(shell, composer, forms, writing, chat) {
    this.#shell = shell;
    this.#composer = composer;
    this.#forms = forms;
    this.#writing = writing;
    this.#chat = chat;
  }

  /** What the word of a button stands for. @param {HTMLElement} button */
  async press(button) {
    const { act } = button.dataset;
    const message = button.closest(".message");
    const { seq, cid } = message instanceof HTMLElement ? message.dataset : { seq: undefined, cid: undefined };
    const chat = this.#chat;
    const calling = chat.calling();
    /** @type {Record<string, () => unknown>} */
    const acts = {
      close: () => chat.close(),
      attach: () => this.#shell.files.click(),
      jump: () => this.#shell.toEnd(),
      "tell-me": () => this.#shell.offer.accept(),
      "cancel-edit": () => this.#composer.cancelEdit(),
      end: () => this.#end(),
      transcript: () => this.#askForTranscript(),
      fold: () => (this.#forms.fold(), chat.focus()),
      new: () => chat.renew(),
      download: () => seq !== undefined && chat.log()?.download(Number(seq)),
      edit: () => this.#composer.edit(Number(seq), String(chat.talk()?.thread.get(Number(seq))?.body ?? "")),
      delete: () => chat.log()?.doubt(Number(seq)),
      "delete-really": () => this.#tell({ type: "delete", seq: Number(seq) }),
      call: () => this.#askForCall(),
      "call-accept": () => calling?.accept(),
      "call-decline": () => calling?.decline(),
      "call-mute": () => calling?.mute(),
      "call-end": () => calling?.end(),
      hear: () => this.#hear(Number(seq)),
      again: () => cid !== undefined && this.#writing.again(cid),
    };
    await acts[act ?? ""]?.();
  }

  /** Sends the form that is open. */
  async send() {
    const { api } = this.#chat.stay() ?? {};
    const words = this.#chat.words();
    if (!api || !words) return;
    this.#shell.complain("");
    const { name, sheet } = this.#forms;
    const talk = this.#chat.talk();
    if (sheet && name === "call") {
      const phone = sheet.value("phone");
      const isPhone = (sheet.value("mode") || "phone") === "phone";
      this.#forms.fold();
      return this.#chat.calling()?.begin(isPhone ? { mode: "phone", phone } : { mode: "browser" });
    }
    await this.#forms.send({ api, words, room: talk?.room.id ?? null, product: this.#chat.product(), page: this.#chat.page() });
    if (name === "rating" && talk) talk.isRated = true;
  }

  /** A message says something else from now on. @param {{ seq: number, text: string }} change */
  change(change) {
    if (!this.#tell({ type: "edit", seq: change.seq, body: change.text })) return;
    this.#changing = change;
    this.#composer.cancelEdit();
  }

  /** A message was changed. @param {number} seq */
  changed(seq) {
    if (seq === this.#changing?.seq) this.#changing = null;
  }

  /** A change that was not taken is not lost. */
  takeBack() {
    if (this.#changing && this.#chat.talk()?.thread.get(this.#changing.seq)) this.#composer.edit(this.#changing.seq, this.#changing.text);
    this.#changing = null;
  }

  /** The room is left. */
  forget() {
    this.#changing = null;
  }

  async #end() {
    this.#shell.menu.open = false;
    const talk = this.#chat.talk();
    if (!talk) return;
    await this.#chat.stay()?.api.end(talk.room.id);
    await talk.readRoom();
  }

  #askForTranscript() {
    this.#shell.menu.open = false;
    const words = this.#chat.words();
    if (words) this.#forms.open(transcriptSheet(words));
    this.#chat.focus();
  }

  /** Where there is a choice, or a number is needed, it is asked for. */
  async #askForCall() {
    const calling = this.#chat.calling();
    const words = this.#chat.words();
    const modes = calling?.modes ?? [];
    if (!words || modes.length === 0) return;
    if (!modes.includes("phone")) return calling?.begin({ mode: "browser" });
    this.#forms.open(new Sheet("call", words.say("call"), callFields(words, modes), words.say("call_start"), words.say("cancel")));
    this.#chat.focus();
  }

  /** Plays the recording of a call in the place of its button. @param {number} seq */
  async #hear(seq) {
    const talk = this.#chat.talk();
    const call = callOf(talk?.thread.get(seq));
    if (!talk || !call) return;
    const { url } = await recordingUrl(talk.room.id, call.call, { token: this.#chat.stay()?.api.token });
    this.#chat.log()?.play(seq, url);
  }

  /** Tells what must not be lost in silence. @param {{ type: string, [member: string]: any }} frame */
  #tell(frame) {
    const hasLeft = this.#chat.talk()?.signal(frame) ?? false;
    this.#shell.complain(hasLeft ? "" : (this.#chat.words()?.say("lost") ?? ""));
    return hasLeft;
  }
}
