// @ts-check
/** The visitor's card beside a thread: who it is, tags, earlier rooms. */

import { make } from "./make.js";
import { outward } from "./inbox-log.js";
import { Refused } from "./chat-api.js";

/** @typedef {import("./inbox-api.js").InboxApi} InboxApi */
/** @typedef {import("./inbox-api.js").Card} Visitor */

/** A term and what it says. @param {string} term @param {...(Node | string)} words */
const fact = (term, ...words) => [make("dt", {}, term), make("dd", {}, ...words)];

/** Dispatches `open` with a room, `named` with the visitor's new name, and `problem` with a sentence. */
export class Card extends EventTarget {
  #api;
  #root;
  #mayWork;
  /** @type {string | null} */
  #room = null;
  /** @type {string[]} */
  #tags = [];
  #facts = make("dl", { class: "facts" });
  #form = make("form", { class: "fields", hidden: "" });
  #edit = make("button", { type: "button", class: "small" }, "Edit");
  #name = make("input", { name: "name", autocomplete: "off", maxlength: "200" });
  #email = make("input", { name: "email", type: "email", autocomplete: "off", maxlength: "320" });
  #chips = make("ul", { class: "tags" });
  #tag = make("input", { id: "tag", list: "known-tags", autocomplete: "off", maxlength: "50", placeholder: "Add a tag" });
  #known = make("datalist", { id: "known-tags" });
  #earlier = make("ul", { class: "lines" });

  /** @param {HTMLElement} root @param {InboxApi} api @param {boolean} mayWork */
  constructor(root, api, mayWork) {
    super();
    this.#root = root;
    this.#api = api;
    this.#mayWork = mayWork;
    this.#form.append(make("label", {}, "Name", this.#name), make("label", {}, "E-mail", this.#email), make("p", { class: "row" }, make("button", { class: "primary small" }, "Save")));
    const add = make("form", { class: "add-tag" }, make("label", { for: "tag", class: "unseen" }, "Add a tag"), this.#tag, this.#known);
    add.hidden = !mayWork;
    this.#edit.hidden = !mayWork;
    root.append(
      make("div", { class: "row spread" }, make("h2", { id: "card-title" }, "Visitor"), this.#edit),
      this.#facts,
      this.#form,
      make("h3", {}, "Tags"),
      this.#chips,
      add,
      make("h3", {}, "Earlier rooms"),
      this.#earlier,
    );
    this.#edit.addEventListener("click", () => {
      this.#form.hidden = !this.#form.hidden;
      if (!this.#form.hidden) this.#name.focus();
    });
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.#try(() => this.#save());
    });
    add.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.#try(() => this.#add());
    });
    this.#earlier.addEventListener("click", (event) => {
      const link = event.target instanceof Element ? event.target.closest("a") : null;
      if (!(link instanceof HTMLElement) || event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      this.dispatchEvent(new CustomEvent("open", { detail: { room: link.dataset.room, seq: null } }));
    });
    root.hidden = true;
  }

  /** Another room, or none. @param {string | null} room */
  async show(room) {
    this.#room = room;
    this.#root.hidden = room === null;
    this.#form.hidden = true;
    this.#facts.replaceChildren();
    this.#chips.replaceChildren();
    this.#earlier.replaceChildren();
    if (room === null) return;
    await this.#try(async () => {
      const [card, { tags }, known] = await Promise.all([this.#api.card(room), this.#api.tags(room), this.#api.knownTags()]);
      if (room !== this.#room) return;
      this.#draw(card);
      this.tags = tags;
      this.#known.replaceChildren(...known.tags.map(({ tag }) => make("option", { value: tag })));
    });
  }

  /** The room's tags, as they are now. @param {string[]} tags */
  set tags(tags) {
    this.#tags = tags;
    const chip = (/** @type {string} */ tag) => {
      const remove = make("button", { type: "button", class: "bare", "aria-label": `Remove the tag ${tag}` }, "×");
      remove.addEventListener("click", () => void this.#try(() => this.#set(this.#tags.filter((one) => one !== tag))));
      return make("li", { class: "state" }, tag, ...(this.#mayWork ? [remove] : []));
    };
    this.#chips.replaceChildren(...tags.map(chip));
  }

  /** @param {Visitor} card */
  #draw(card) {
    const badge = make("span", { class: `state ${card.verified ? "good" : "plain"}` }, card.verified ? "verified" : "not verified");
    this.#facts.replaceChildren(
      ...fact("Name", card.name || "not known"),
      ...fact("E-mail", card.email ?? "not known"),
      ...fact("User", card.user_id || "not known", " ", badge),
      ...fact("Product", card.product || "none"),
      ...(card.page ? fact("Page", outward(card.page)) : []),
      ...(card.locale ? fact("Language", card.locale) : []),
      ...(card.rating ? fact("Rating", `${card.rating.score} of 5`, card.rating.comment ? `: ${card.rating.comment}` : "") : []),
    );
    this.#name.value = card.name;
    this.#email.value = card.email ?? "";
    const others = card.rooms.filter(({ id }) => id !== this.#room);
    const line = (/** @type {import("./inbox-rooms.js").Room} */ room) => {
      const at = new Date(room.created_at).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
      return make("li", {}, make("a", { href: `/console/inbox/${room.id}`, "data-room": room.id }, at), ` ${room.product} `, make("span", { class: "state" }, room.state));
    };
    this.#earlier.replaceChildren(...(others.length > 0 ? others.map(line) : [make("li", { class: "quiet" }, "This is the first.")]));
  }

  async #save() {
    if (this.#room === null) return;
    const [name, email] = [this.#name.value.trim(), this.#email.value.trim()];
    // What is not known stays so: an empty line is no name, and no address.
    const card = await this.#api.describe(this.#room, { ...(name === "" ? {} : { name }), ...(email === "" ? {} : { email }) });
    this.#form.hidden = true;
    this.#draw(card);
    this.#edit.focus();
    this.dispatchEvent(new CustomEvent("named", { detail: { room: this.#room, name: card.name } }));
  }

  async #add() {
    const tag = this.#tag.value.trim();
    if (tag === "") return;
    await this.#set([...this.#tags, tag]);
    this.#tag.value = "";
  }

  /** @param {string[]} tags */
  async #set(tags) {
    const room = this.#room;
    if (room === null) return;
    const now = await this.#api.tag(room, tags);
    if (room === this.#room) this.tags = now.tags;
  }

  /** @param {() => Promise<void>} act */
  async #try(act) {
    try {
      await act();
    } catch (error) {
      const words = error instanceof Refused ? error.message : "The server does not answer.";
      this.dispatchEvent(new CustomEvent("problem", { detail: words }));
    }
  }
}
