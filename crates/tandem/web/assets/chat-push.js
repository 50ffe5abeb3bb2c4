// @ts-check
/**
 * The quiet offer below the messages of the chat's own page: to be told when somebody answers, while the page is closed. It
 * stands there once the visitor has written, where the browser can do it.
 */

import { make } from "./make.js";
import { Push } from "./push.js";

const SCOPE = "/c/";

export class Offer {
  #button = make("button", { type: "button", "data-act": "tell-me" });
  #said = make("span", {});
  root = make("p", { class: "offer", role: "status", hidden: "" }, this.#button, this.#said);
  /** @type {Push | null} */
  #push = null;
  #word = "";
  /** @type {import("./chat-words.js").Words | null} */
  #words = null;

  /**
   * Somebody is here: who has said yes before is told again where this browser is.
   * @param {string} memory under which the visitor stands
   * @param {string} token
   * @param {string} locale
   */
  join(memory, token, locale) {
    const headers = () => ({ authorization: `Bearer ${token}` });
    const page = () => ({ locale, page: location.pathname + location.search });
    this.#push = new Push(SCOPE, `${memory}:push`, headers, page);
    this.#word = "";
    if (this.#push.isOn) void this.#push.renew();
  }

  /** Nobody is here. */
  leave() {
    this.#push = null;
    this.root.hidden = true;
  }

  /** The visitor has signed out: this browser is told nothing more. */
  async end() {
    const push = this.#push;
    this.leave();
    if (push?.isOn) await push.off();
  }

  /** By a click. */
  async accept() {
    const trouble = await this.#push?.on();
    this.#word = { denied: "push_denied", failed: "push_failed", "": "push_on" }[trouble ?? "failed"];
    if (this.#words) this.show(this.#words, true);
  }

  /** @param {import("./chat-words.js").Words} words @param {boolean} hasWritten */
  show(words, hasWritten) {
    this.#words = words;
    const isOpen = this.#push !== null && !this.#push.isOn && Notification.permission !== "denied";
    this.#button.textContent = words.say("push_offer");
    this.#button.hidden = this.#word !== "" || !isOpen;
    this.#said.textContent = this.#word && words.say(this.#word);
    this.root.hidden = !hasWritten || (this.#button.hidden && this.#word === "");
  }
}

/** Whether this page may ask: the chat's own page, in a browser that can. @param {string} server */
export function isOffered(server) {
  return parent === window && server === location.origin && location.pathname.startsWith(SCOPE) && Push.isPossible;
}
