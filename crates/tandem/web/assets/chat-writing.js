// @ts-check
/**
 * What a visitor says: text and files. It is seen at once, and kept until it has arrived, also while there is no room yet:
 * the first words open one.
 */

import { Refused } from "./chat-api.js";
import { randomName } from "./chat-name.js";
import { Left } from "./chat-stay.js";
import { Thread } from "./chat-thread.js";
import { PICTURES, UploadItem } from "./chat-view.js";

/** @typedef {import("./chat-stay.js").Stay} Stay */
/** @typedef {import("./chat-talk.js").Talk} Talk */
/** @typedef {import("./chat-words.js").Words} Words */
/**
 * The chat in which it is said.
 * @typedef {{ stay: () => Stay | null, talk: () => Talk | null, join: (stay: Stay, found: import("./chat-stay.js").Found) => void,
 *             paint: () => void, complain: (error: unknown) => void, sentence: (error: unknown) => string }} Chat
 */

export class Writing {
  /** What was written before there is a room. */
  early = new Thread("", { role: "visitor" });
  #shell;
  #chat;

  /** @param {import("./chat-view.js").Shell} shell @param {Chat} chat */
  constructor(shell, chat) {
    this.#shell = shell;
    this.#chat = chat;
  }

  /** Says something. @param {string} kind @param {any} body */
  async write(kind, body) {
    if (kind === "text") this.#shell.complain("");
    const pending = { cid: randomName(), kind, body, at: new Date().toISOString() };
    const talk = this.#chat.talk();
    if (talk) talk.post(pending);
    else this.#keep([...this.early.pending, pending]);
    this.#chat.paint();
    this.#shell.toEnd();
    await this.#bring();
  }

  /** Says once more what was not taken. @param {string} cid */
  async again(cid) {
    this.#shell.complain("");
    const talk = this.#chat.talk();
    if (talk) return talk.again(cid);
    this.#keep(this.early.pending.map(({ failed, ...one }) => one));
    this.#chat.paint();
    await this.#bring();
  }

  /** @param {File[]} files @param {Words} words @param {number} most bytes of each */
  async attach(files, words, most) {
    this.#shell.complain("");
    const troubles = [];
    for (const file of files) {
      const isLarge = file.size > most;
      const trouble = isLarge ? words.say("too_large", { name: file.name, size: words.size(most) }) : await this.#upload(file, words);
      if (trouble) troubles.push(trouble);
      if (troubles.length > 0) this.#shell.complain(troubles.join(" "));
    }
  }

  /** @param {File} file @param {Words} words @returns {Promise<string>} what went wrong */
  async #upload(file, words) {
    const item = new UploadItem(words, file.name);
    try {
      const talk = await this.#ensureTalk();
      const api = this.#chat.stay()?.api;
      if (!api) return "";
      this.#shell.waiting.append(item.element);
      this.#shell.toEnd();
      const attachment = await api.upload(talk.room.id, file, (part) => item.progress(part));
      if (talk === this.#chat.talk()) await this.write(PICTURES.includes(attachment.type) ? "image" : "file", attachment);
      return "";
    } catch (error) {
      if (error instanceof Left) return "";
      return error instanceof Refused && error.status === 429 ? this.#chat.sentence(error) : words.say("upload_failed", { name: file.name });
    } finally {
      item.element.remove();
    }
  }

  /** Opens a room for what was written before there was one. */
  async #bring() {
    try {
      await this.#ensureTalk();
    } catch (error) {
      if (error instanceof Left) return;
      this.#keep(this.early.pending.map((one) => ({ ...one, failed: "unanswered" })));
      this.#chat.paint();
      this.#chat.complain(error);
    }
  }

  /** A room to write in. @returns {Promise<Talk>} */
  async #ensureTalk() {
    const { stay, talk, join } = this.#chat;
    const known = talk();
    if (known) return known;
    const now = stay();
    if (!now) throw new Left();
    const found = await now.open();
    if (now !== stay()) throw new Left();
    if (!talk()) join(now, found);
    return talk() ?? this.#ensureTalk();
  }

  /** @param {import("./chat-thread.js").Pending[]} pending */
  #keep(pending) {
    this.early.pending = pending;
    this.#chat.stay()?.memory.keepPending(null, pending);
  }
}
