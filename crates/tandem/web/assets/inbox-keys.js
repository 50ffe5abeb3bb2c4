// @ts-check
/**
 * Single keys for what is done most; each can be done without them too.
 *
 * None counts while somebody writes, with Ctrl, Alt or Meta, or while a dialog is open, and all of them can be switched off
 * (WCAG 2.1.4), which this browser remembers.
 */

const MEMORY = "tandem-inbox-keys";

/** A key that ends something counts when it is pressed twice within this, ms. */
const TWICE_WITHIN = 3_000;

/** What a key means. @type {Record<string, string>} */
const MEANINGS = { j: "next", ArrowDown: "next", k: "previous", ArrowUp: "previous", r: "reply", n: "note", a: "take", e: "close", "/": "search", "?": "keys" };
/** What is done at the second press only, and what is said at the first. @type {Record<string, string>} */
const DOUBTED = { close: "Press e once more to close this room." };
/** Keys that move a region where it has the focus. */
const ARROWS = ["ArrowDown", "ArrowUp"];

/** Whether what has the focus takes characters itself. @param {EventTarget | null} target */
function isWrittenIn(target) {
  return target instanceof HTMLElement && (target.isContentEditable || target.matches("input, textarea, select"));
}

/** Dispatches `act` with what is to be done, and `doubt` with what a key would do at its second press. */
export class Keys extends EventTarget {
  /** What was pressed once, and when, ms. */
  #doubted = { meaning: "", at: -TWICE_WITHIN };

  /** @param {HTMLElement} list in which arrows go from room to room */
  constructor(list) {
    super();
    document.addEventListener("keydown", (event) => {
      const meaning = MEANINGS[event.key];
      if (meaning === undefined || !this.areOn || event.ctrlKey || event.altKey || event.metaKey || event.isComposing) return;
      if (isWrittenIn(event.target) || document.querySelector("dialog[open]") !== null) return;
      const inList = event.target === document.body || (event.target instanceof Node && list.contains(event.target));
      if (ARROWS.includes(event.key) && !inList) return;
      event.preventDefault();
      if (!event.repeat || DOUBTED[meaning] === undefined) this.#mean(meaning, event.timeStamp);
    });
  }

  /** @param {string} meaning @param {number} at ms */
  #mean(meaning, at) {
    const question = DOUBTED[meaning];
    const isSure = question === undefined || (this.#doubted.meaning === meaning && at - this.#doubted.at < TWICE_WITHIN);
    this.#doubted = { meaning: isSure ? "" : meaning, at };
    this.dispatchEvent(isSure ? new CustomEvent("act", { detail: meaning }) : new CustomEvent("doubt", { detail: question }));
  }

  get areOn() {
    return localStorage.getItem(MEMORY) !== "off";
  }

  set areOn(on) {
    if (on) localStorage.removeItem(MEMORY);
    else localStorage.setItem(MEMORY, "off");
  }
}
