// @ts-check
/**
 * The field in which a message is written: what is typed becomes events.
 *
 * `say` (a text), `change` (a message that says something else now: seq and text), `files`, `typing` (whether), `draft`
 * (the text so far, not more often than the server takes it), `written` (the text so far, each time).
 */

/** A sign of typing, and a draft, leave at most so often, ms: a little slower than the server's limit. */
const SIGN_EVERY = 2_200;
/** The code of a key that is a part of a composed character. */
const COMPOSING = 229;
/** Characters that nobody sees, and that no message may hold; line ends and tabs aside. */
const CONTROLS = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f]/g;

export class Composer extends EventTarget {
  #shell;
  /** The number of the message that is being changed. @type {number | null} */
  #editing = null;
  /** What stood in the field before. */
  #before = "";
  #typed = false;
  /** @type {number | undefined} */
  #timer;
  #signedAt = 0;
  #draft = "";
  /** Longest message, characters. */
  max = 8_000;

  /** @param {import("./chat-view.js").Shell} shell */
  constructor(shell) {
    super();
    this.#shell = shell;
    const { composer, message, files, root } = shell;
    composer.addEventListener("submit", (event) => {
      event.preventDefault();
      this.submit();
    });
    message.addEventListener("keydown", (event) => this.#key(event));
    message.addEventListener("input", () => this.#typing());
    // A part of a table is text and a picture of it: the text is meant.
    message.addEventListener("paste", (event) => event.clipboardData?.types.includes("text/plain") || this.#offer(event, event.clipboardData?.files));
    root.addEventListener("dragover", (event) => event.preventDefault());
    root.addEventListener("drop", (event) => this.#offer(event, event.dataTransfer?.files));
    files.addEventListener("change", () => {
      this.#tell("files", [...(files.files ?? [])]);
      files.value = "";
    });
  }

  /** Whether a message is being changed. */
  get isEditing() {
    return this.#editing !== null;
  }

  /** Takes what is written on its way. */
  submit() {
    const { message } = this.#shell;
    const text = message.value.replace(CONTROLS, "").trim();
    if (text === "" || [...text].length > this.max) return this.#tell("refused", text === "" ? "empty" : "too_long");
    const seq = this.#editing;
    if (seq === null) {
      message.value = "";
      this.#tell("written", "");
      this.#tell("say", text);
    } else {
      // The text stays until it is known that it has left.
      return this.#tell("change", { seq, text });
    }
    this.#quiet();
    this.#shell.fit();
  }

  /** Begins to change a message. @param {number} seq @param {string} text */
  edit(seq, text) {
    const { message, cancel, composer } = this.#shell;
    if (this.#editing === null) this.#before = message.value;
    this.#editing = seq;
    message.value = text;
    cancel.hidden = false;
    composer.classList.add("editing");
    this.#shell.fit();
    message.focus();
  }

  cancelEdit() {
    this.#endEdit();
    this.#shell.message.focus();
  }

  #endEdit() {
    if (!this.isEditing) return;
    const { message, cancel, composer } = this.#shell;
    this.#editing = null;
    message.value = this.#before;
    this.#before = "";
    cancel.hidden = true;
    composer.classList.remove("editing");
    this.#shell.fit();
  }

  /** What stands in the field, but for a message that is being changed. */
  get text() {
    return this.isEditing ? this.#before : this.#shell.message.value;
  }

  /** Puts words before those that stand there, and ends a change. @param {string} text */
  restore(text) {
    if (this.isEditing) this.#endEdit();
    this.#shell.message.value = [text, this.#shell.message.value].filter(Boolean).join("\n\n");
    this.#shell.fit();
  }

  /** Nothing stands there. */
  reset() {
    this.#endEdit();
    this.#shell.message.value = "";
    this.#quiet();
    this.#shell.fit();
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    // A composed character (Japanese, Chinese) is finished with Enter, and given up with Escape; Safari tells it by 229.
    if (event.isComposing || event.keyCode === COMPOSING) return event.stopPropagation();
    if (event.key === "Escape" && this.isEditing) {
      event.stopPropagation();
      return this.cancelEdit();
    }
    if (event.key !== "Enter" || event.shiftKey) return;
    event.preventDefault();
    this.submit();
  }

  /** @param {Event} event @param {FileList | undefined} list */
  #offer(event, list) {
    if (!list || list.length === 0) return;
    event.preventDefault();
    if (!this.#shell.composer.hidden) this.#tell("files", [...list]);
  }

  #typing() {
    this.#shell.fit();
    if (this.isEditing) return;
    this.#tell("written", this.text);
    this.#draft = this.#shell.message.value;
    if (this.#draft.trim() === "") return this.#quiet();
    if (this.#timer !== undefined) return;
    const wait = Math.max(0, this.#signedAt + SIGN_EVERY - Date.now());
    this.#timer = setTimeout(() => this.#sign(), wait);
  }

  #sign() {
    this.#timer = undefined;
    this.#signedAt = Date.now();
    this.#typed = true;
    this.#tell("typing", true);
    this.#tell("draft", this.#draft.slice(0, this.max));
  }

  /** Nothing is being written any more. */
  #quiet() {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (!this.#typed) return;
    this.#typed = false;
    this.#draft = "";
    this.#tell("typing", false);
    this.#tell("draft", "");
  }

  /** @param {string} name @param {unknown} detail */
  #tell(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}
