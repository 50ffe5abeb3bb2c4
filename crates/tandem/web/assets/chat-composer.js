// @ts-check
/**
 * The field in which a message is written: what is typed becomes events.
 *
 * `say` (a text), `change` (a message that says something else now: seq and text), `files`, `typing` (whether), `draft`
 * (the text so far, not more often than the server takes it).
 */

/** A sign of typing, and a draft, leave at most so often, ms: a little slower than the server's limit. */
const SIGN_EVERY = 2_200;

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
    message.addEventListener("paste", (event) => this.#offer(event, event.clipboardData?.files));
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
    const text = message.value.trim();
    if (text === "" || [...text].length > this.max) return this.#tell("refused", text === "" ? "empty" : "too_long");
    const seq = this.#editing;
    if (seq === null) {
      message.value = "";
      this.#tell("say", text);
    } else {
      this.cancelEdit();
      this.#tell("change", { seq, text });
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
    const { message, cancel, composer } = this.#shell;
    this.#editing = null;
    message.value = this.#before;
    this.#before = "";
    cancel.hidden = true;
    composer.classList.remove("editing");
    this.#shell.fit();
    message.focus();
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    if (event.key === "Escape" && this.isEditing) {
      event.stopPropagation();
      return this.cancelEdit();
    }
    // A composed character (Japanese, Chinese) is finished with Enter too.
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    this.submit();
  }

  /** @param {Event} event @param {FileList | undefined} list */
  #offer(event, list) {
    if (!list || list.length === 0) return;
    event.preventDefault();
    this.#tell("files", [...list]);
  }

  #typing() {
    this.#shell.fit();
    if (this.isEditing) return;
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
