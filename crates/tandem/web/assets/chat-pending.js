// @ts-check
/** Messages that are on their way, or could not be brought there, below those that have arrived. */

import { PendingItem } from "./chat-view.js";

export class PendingList {
  #place;
  #words;
  /** By their names. @type {Map<string, PendingItem>} */
  #items = new Map();

  /** @param {HTMLElement} place @param {import("./chat-words.js").Words} words */
  constructor(place, words) {
    this.#place = place;
    this.#words = words;
  }

  /** Draws what there is, each once. @param {import("./chat-thread.js").Pending[]} pending */
  show(pending) {
    const alive = new Set(pending.map(({ cid }) => cid));
    for (const [cid, item] of this.#items) {
      if (alive.has(cid)) continue;
      item.element.remove();
      this.#items.delete(cid);
    }
    for (const one of pending) this.#draw(one);
  }

  /** Nothing is left, nor a file that is being brought. */
  clear() {
    this.#items.clear();
    this.#place.replaceChildren();
  }

  /** @param {import("./chat-thread.js").Pending} pending */
  #draw(pending) {
    const known = this.#items.get(pending.cid);
    if (known) return known.show(pending);
    const item = new PendingItem(this.#words, pending);
    this.#items.set(pending.cid, item);
    this.#place.append(item.element);
  }
}
