// @ts-check
/**
 * Canned replies in the field: a text that begins with `/` opens their list, what follows narrows it down, Enter or Tab
 * takes the marked one, Escape closes it.
 */

import { make } from "./make.js";

/** @typedef {import("./inbox-api.js").Canned} Canned */

/** Replies that the list shows. */
const MOST = 8;

/** What fits the words after the `/`: those whose shortcut begins so come first. @param {Canned[]} all @param {string} wanted */
export function fitting(all, wanted) {
  const words = wanted.toLowerCase();
  const begins = all.filter(({ shortcut }) => shortcut.startsWith(words));
  const holds = all.filter((canned) => !begins.includes(canned) && `${canned.title} ${canned.shortcut}`.toLowerCase().includes(words));
  return [...begins, ...holds].slice(0, MOST);
}

/** The list is asked for again when it is older, ms. */
const LIST_HOLDS = 60_000;

/** Dispatches `pick` with a reply. */
export class CannedList extends EventTarget {
  #field;
  #list;
  #load;
  /** @type {Canned[]} */
  #all = [];
  /** When it was fetched, ms. */
  #fetchedAt = -Infinity;
  /** @type {Canned[]} */
  #shown = [];
  #at = 0;
  /** Until the text changes it stays closed. */
  #isDismissed = false;

  /**
   * @param {HTMLTextAreaElement} field
   * @param {HTMLElement} list
   * @param {() => Promise<Canned[]>} load the replies
   */
  constructor(field, list, load) {
    super();
    this.#field = field;
    this.#list = list;
    this.#load = load;
    field.addEventListener("input", () => {
      this.#isDismissed = false;
      void this.#look();
    });
    // Before the field's own keys.
    field.addEventListener("keydown", (event) => this.#key(event), { capture: true });
    field.addEventListener("blur", () => this.close());
    list.addEventListener("pointerdown", (event) => {
      event.preventDefault();
      const option = event.target instanceof Element ? event.target.closest("[role=option]") : null;
      const index = option === null ? -1 : [...list.children].indexOf(option);
      if (index >= 0) this.#pick(index);
    });
  }

  get isOpen() {
    return !this.#list.hidden;
  }

  close() {
    this.#list.hidden = true;
    this.#list.replaceChildren();
    this.#field.removeAttribute("aria-activedescendant");
  }

  async #look() {
    const text = this.#field.value;
    if (!/^\/[^\s]*$/.test(text)) return this.close();
    if (Date.now() - this.#fetchedAt > LIST_HOLDS) {
      this.#all = await this.#load();
      this.#fetchedAt = Date.now();
    }
    // It may have been typed on meanwhile.
    if (this.#field.value !== text || this.#isDismissed) return;
    this.#shown = fitting(this.#all, text.slice(1));
    this.#at = 0;
    this.#draw();
  }

  #draw() {
    if (this.#shown.length === 0) return this.close();
    const option = (/** @type {Canned} */ canned, /** @type {number} */ index) =>
      make(
        "li",
        { role: "option", id: `canned-${index}`, "aria-selected": String(index === this.#at) },
        make("span", {}, make("code", {}, `/${canned.shortcut}`), ` ${canned.title}`),
        make("span", { class: "quiet" }, canned.text.slice(0, 120)),
      );
    this.#list.replaceChildren(...this.#shown.map(option));
    this.#list.hidden = false;
    this.#field.setAttribute("aria-activedescendant", `canned-${this.#at}`);
    this.#list.children[this.#at]?.scrollIntoView({ block: "nearest" });
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    if (!this.isOpen || event.isComposing) return;
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step !== undefined) {
      this.#at = (this.#at + step + this.#shown.length) % this.#shown.length;
      this.#draw();
    } else if (event.key === "Enter" || event.key === "Tab") {
      this.#pick(this.#at);
    } else if (event.key === "Escape") {
      this.#isDismissed = true;
      this.close();
    } else return;
    event.preventDefault();
    event.stopImmediatePropagation();
  }

  /** @param {number} index */
  #pick(index) {
    const canned = this.#shown[index];
    this.close();
    if (canned) this.dispatchEvent(new CustomEvent("pick", { detail: canned }));
  }
}
