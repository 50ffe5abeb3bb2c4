// @ts-check
/**
 * Single keys for what is done most; each can be done without them too.
 *
 * None counts while somebody writes, with Ctrl, Alt or Meta, or while a dialog is open, and all of them can be switched off
 * (WCAG 2.1.4), which this browser remembers.
 */

const MEMORY = "tandem-inbox-keys";

/** What a key means. @type {Record<string, string>} */
const MEANINGS = { j: "next", ArrowDown: "next", k: "previous", ArrowUp: "previous", r: "reply", n: "note", a: "take", e: "close", "/": "search", "?": "keys" };
/** Keys that move a region where it has the focus. */
const ARROWS = ["ArrowDown", "ArrowUp"];

/** Whether what has the focus takes characters itself. @param {EventTarget | null} target */
function isWrittenIn(target) {
  return target instanceof HTMLElement && (target.isContentEditable || target.matches("input, textarea, select"));
}

/** Dispatches `act` with what is to be done. */
export class Keys extends EventTarget {
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
      this.dispatchEvent(new CustomEvent("act", { detail: meaning }));
    });
  }

  get areOn() {
    return localStorage.getItem(MEMORY) !== "off";
  }

  set areOn(on) {
    if (on) localStorage.removeItem(MEMORY);
    else localStorage.setItem(MEMORY, "off");
  }
}
