// @ts-check
/** The forms beside the messages: a message for later, the transcript, the rating. One at a time, and each is sent once. */

import { randomName } from "./chat-name.js";

/** @typedef {import("./chat-view.js").Sheet} Sheet */
/**
 * What the forms need to know.
 * @typedef {{ api: import("./chat-api.js").ChatApi, words: import("./chat-words.js").Words, room: string | null,
 *             product: string, page: string }} Place
 */

export class Forms {
  #shell;
  /** @type {Sheet | null} */
  sheet = null;
  /** What the one that is open is called, so that the server takes it once. */
  #cid = "";

  /** @param {import("./chat-view.js").Shell} shell */
  constructor(shell) {
    this.#shell = shell;
  }

  /** What the one that is open is for; null = none is. */
  get name() {
    return this.sheet?.form.dataset.form ?? null;
  }

  /** @param {Sheet} sheet */
  open(sheet) {
    this.sheet = sheet;
    this.#cid = randomName();
    this.#shell.sheet.replaceChildren(sheet.form);
    this.#shell.sheet.hidden = false;
  }

  fold() {
    this.sheet = null;
    this.#shell.sheet.hidden = true;
    this.#shell.sheet.replaceChildren();
  }

  /** Sends the one that is open. @param {Place} place */
  async send(place) {
    const { sheet, name } = this;
    if (!sheet || !name) return;
    sheet.busy = true;
    try {
      const answer = await this.#bring(name, sheet, place);
      if (answer) sheet.done(answer);
    } finally {
      sheet.busy = false;
    }
  }

  /** @param {string} name @param {Sheet} sheet @param {Place} place @returns {Promise<string | null>} what to answer */
  async #bring(name, sheet, { api, words, room, product, page }) {
    const email = sheet.value("email");
    if (name === "offline") {
      await api.leaveMessage({ cid: this.#cid, name: sheet.value("name"), email, message: sheet.value("message"), product, page });
      return words.say("offline_done", { email });
    }
    if (room === null) return null;
    if (name === "transcript") {
      await api.transcript(room, { email, locale: words.locale, zone: Intl.DateTimeFormat().resolvedOptions().timeZone });
      return words.say("transcript_done", { email });
    }
    await api.rate(room, { score: Number(sheet.value("score")), comment: sheet.value("comment") });
    return words.say("rate_done");
  }
}
