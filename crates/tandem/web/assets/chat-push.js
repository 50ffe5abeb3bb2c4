// @ts-check
/**
 * The quiet offer below the messages of the chat's own page: to be told when somebody answers, while the page is closed. It
 * stands there once the visitor has written, where the browser can do it.
 */

import { make } from "./make.js";
import { Push } from "./push.js";

const SCOPE = "/c/";
/** Of a page's address; the server keeps 500 characters of all. */
const LONGEST_SEARCH = 300;

export class Offer {
  #button = make("button", { type: "button", "data-act": "tell-me" });
  #said = make("span", { role: "status" });
  root = make("p", { class: "offer", hidden: "" }, this.#button, this.#said);
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
    // What advertisements append can be longer than the server keeps.
    const search = location.search.length <= LONGEST_SEARCH ? location.search : "";
    const page = () => ({ locale, page: location.pathname + search });
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
    say(this.#button, words.say("push_offer"));
    this.#button.hidden = this.#word !== "" || !isOpen;
    say(this.#said, this.#word && words.say(this.#word));
    this.root.hidden = !hasWritten || (this.#button.hidden && this.#word === "");
  }
}

/** What stands there already is not said once more by a screen reader. @param {HTMLElement} at @param {string} text */
function say(at, text) {
  if (at.textContent !== text) at.textContent = text;
}

/** Whether this page may ask: the chat's own page, in a browser that can. @param {string} server */
export function isOffered(server) {
  return parent === window && server === location.origin && location.pathname.startsWith(SCOPE) && Push.isPossible;
}
