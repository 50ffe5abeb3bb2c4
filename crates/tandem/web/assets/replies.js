// @ts-check
/** The page `/console/chat/replies`: canned replies, macros and tags, over the routes of `/v1/chat`. */

import { make } from "./make.js";
import { MacroSteps, wordsOfStep } from "./replies-steps.js";

/** @typedef {{ id: string, shortcut: string, title: string, text: string, team: string | null }} Canned */
/** @typedef {import("./replies-steps.js").Step} Step */
/** @typedef {{ id: string, name: string, steps: Step[] }} Macro */
/** @typedef {{ teams: { id: string, name: string }[], agents: { person: string, name: string }[] }} Names */

const NO_CONTENT = 204;

/** @param {string} method @param {string} path @param {unknown} [body] @returns {Promise<any>} */
async function ask(method, path, body) {
  const init = body === undefined ? {} : { body: JSON.stringify(body), headers: { "content-type": "application/json" } };
  const answer = await fetch(`/v1/chat/${path}`, { method, credentials: "same-origin", ...init });
  if (answer.ok) return answer.status === NO_CONTENT ? null : answer.json();
  const problem = await answer.json().catch(() => ({}));
  const first = problem.errors?.[0];
  throw new Error(first ? `${first.pointer.replace(/^\//, "")}: ${first.message}` : (problem.detail ?? problem.title ?? "The server does not answer."));
}

const root = /** @type {HTMLElement} */ (document.getElementById("replies"));
const problem = /** @type {HTMLElement} */ (document.getElementById("problem"));
const manages = "manages" in root.dataset;
/** @type {Names} */
let names = { teams: [], agents: [] };

/** Does something, and says why when it was not done. @param {() => Promise<unknown>} act */
async function attempt(act) {
  try {
    await act();
    problem.hidden = true;
    return true;
  } catch (error) {
    problem.textContent = error instanceof Error ? error.message : String(error);
    problem.hidden = false;
    return false;
  }
}

/** A field under its words. @param {string} label @param {HTMLElement} field @param {string} [hint] */
function labelled(label, field, hint) {
  const parts = [make("label", { for: field.id }, label), field];
  if (hint) {
    field.setAttribute("aria-describedby", `${field.id}-hint`);
    parts.push(make("p", { class: "hint", id: `${field.id}-hint` }, hint));
  }
  return make("div", { class: "field" }, ...parts);
}

/** A button that does something. @param {string} words @param {() => unknown} act @param {string} [name] for who cannot see what it stands beside */
function button(words, act, name) {
  const element = make("button", { type: "button", class: "small", ...(name ? { "aria-label": name } : {}) }, words);
  element.addEventListener("click", () => void act());
  return element;
}

/** @param {string} caption @param {string[]} columns @param {(Node | string)[][]} rows */
function table(caption, columns, rows) {
  const head = make("tr", {}, ...columns.map((column) => make("th", { scope: "col" }, column)));
  const cell = (/** @type {Node | string} */ content, /** @type {number} */ at) => make("td", { "data-label": columns[at] ?? "" }, content);
  const body = rows.map((row) => make("tr", {}, ...row.map(cell)));
  return make("div", { class: "card flush" }, make("table", {}, make("caption", { class: "unseen" }, caption), make("thead", {}, head), make("tbody", {}, ...body)));
}

/** @param {string} words */
const empty = (words) => make("div", { class: "empty" }, make("p", {}, words));

/** A list with a form below it: what all three parts of the page have in common. */
class Part {
  #list = make("div");
  #place = make("div");
  #load;

  /**
   * @param {string} id
   * @param {string} title
   * @param {() => Promise<Node[]>} load what there is
   * @param {(() => HTMLElement) | null} add makes the form for a new one
   */
  constructor(id, title, load, add) {
    this.#load = load;
    const head = make("div", { class: "row spread" }, make("h2", { id }, title));
    if (add && manages) head.append(button("New", () => this.open(add()), `New: ${title}`));
    root.append(make("section", { "aria-labelledby": id }, head, this.#list, this.#place));
  }

  async show() {
    this.#list.replaceChildren(...(await this.#load()));
  }

  /** @param {HTMLElement} form */
  open(form) {
    this.#place.replaceChildren(make("div", { class: "card form" }, form));
    const first = form.querySelector("input, select, textarea");
    if (first instanceof HTMLElement) first.focus();
  }

  close() {
    this.#place.replaceChildren();
  }

  /** Saves, closes the form and shows what there is then. @param {() => Promise<unknown>} save */
  async save(save) {
    if (!(await attempt(save))) return;
    this.close();
    await attempt(() => this.show());
  }

  /** @param {string} path @param {string} what */
  async remove(path, what) {
    if (window.confirm(`Remove ${what}?`)) await this.save(() => ask("DELETE", path));
  }
}

// --- canned replies

/** @param {Canned | null} canned the one that is changed; none = a new one */
function cannedForm(canned) {
  const shortcut = make("input", { id: "shortcut", maxlength: "41", required: "", autocomplete: "off", value: canned?.shortcut ?? "" });
  const title = make("input", { id: "title", maxlength: "200", required: "", autocomplete: "off", value: canned?.title ?? "" });
  const text = make("textarea", { id: "text", rows: "5", maxlength: "8000", required: "" }, canned?.text ?? "");
  const option = (/** @type {{ id: string, name: string }} */ { id, name }) => make("option", { value: id, ...(id === canned?.team ? { selected: "" } : {}) }, name);
  const team = make("select", { id: "team" }, make("option", { value: "" }, "Everybody"), ...names.teams.map(option));
  const form = make(
    "form",
    { class: "fields", "aria-label": canned ? "Change the reply" : "New reply" },
    labelled("Shortcut", shortcut, "What is typed after the slash: a-z, 0-9, - and _."),
    labelled("Title", title),
    labelled("Text", text, "{visitor.name|there}, {visitor.email}, {agent.name} and {product} are filled in."),
    labelled("Whose it is", team),
    make("p", { class: "row" }, make("button", { class: "primary" }, "Save"), button("Cancel", () => replies.close())),
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const words = { shortcut: shortcut.value.trim(), title: title.value, text: text.value, team: team.value || null };
    void replies.save(() => (canned ? ask("PATCH", `canned/${canned.id}`, words) : ask("POST", "canned", words)));
  });
  return form;
}

/** @type {Part} */
const replies = new Part(
  "canned-heading",
  "Canned replies",
  async () => {
    const { canned: all } = /** @type {{ canned: Canned[] }} */ (await ask("GET", "canned"));
    if (all.length === 0) return [empty("No reply is kept yet.")];
    const row = (/** @type {Canned} */ canned) => [
      make("code", {}, `/${canned.shortcut}`),
      canned.title,
      make("span", { class: "letter" }, canned.text),
      names.teams.find(({ id }) => id === canned.team)?.name ?? "Everybody",
      acts(canned.title, () => replies.open(cannedForm(canned)), () => replies.remove(`canned/${canned.id}`, `the reply ${canned.title}`)),
    ];
    return [table("Canned replies", ["Shortcut", "Title", "Text", "Whose", ""], all.map(row))];
  },
  () => cannedForm(null),
);

/** @param {string} name @param {() => void} edit @param {() => unknown} remove */
function acts(name, edit, remove) {
  return manages ? make("span", { class: "row" }, button("Edit", edit, `Edit ${name}`), button("Remove", remove, `Remove ${name}`)) : "";
}

// --- macros

/** @param {Macro | null} macro the one that is changed; none = a new one */
function macroForm(macro) {
  const name = make("input", { id: "macro-name", maxlength: "200", required: "", autocomplete: "off", value: macro?.name ?? "" });
  const steps = new MacroSteps(names, macro?.steps ?? []);
  const form = make(
    "form",
    { class: "fields", "aria-label": macro ? "Change the macro" : "New macro" },
    labelled("Name", name),
    steps.element,
    make("p", { class: "row" }, make("button", { class: "primary" }, "Save"), button("Cancel", () => macros.close())),
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const words = { name: name.value, steps: steps.value };
    void macros.save(() => (macro ? ask("PATCH", `macros/${macro.id}`, words) : ask("POST", "macros", words)));
  });
  return form;
}

/** @type {Part} */
const macros = new Part(
  "macros-heading",
  "Macros",
  async () => {
    const { macros: all } = /** @type {{ macros: Macro[] }} */ (await ask("GET", "macros"));
    if (all.length === 0) return [empty("There is no macro yet: steps that are done one after the other.")];
    const row = (/** @type {Macro} */ macro) => [
      macro.name,
      make("ol", { class: "attempts" }, ...macro.steps.map((step) => make("li", {}, wordsOfStep(step, names)))),
      acts(macro.name, () => macros.open(macroForm(macro)), () => macros.remove(`macros/${macro.id}`, `the macro ${macro.name}`)),
    ];
    return [table("Macros", ["Name", "Steps", ""], all.map(row))];
  },
  () => macroForm(null),
);

// --- tags

/** @type {Part} */
const tags = new Part(
  "tags-heading",
  "Tags",
  async () => {
    const { tags: all } = /** @type {{ tags: { tag: string, rooms: number }[] }} */ (await ask("GET", "tags"));
    if (all.length === 0) return [empty("No room has a tag yet. Tags are given in the inbox, on the visitor's card.")];
    const remove = (/** @type {string} */ tag) => tags.remove(`tags/${encodeURIComponent(tag)}`, `the tag ${tag} from every room`);
    const row = (/** @type {{ tag: string, rooms: number }} */ { tag, rooms }) => [tag, String(rooms), manages ? button("Remove", () => remove(tag), `Remove the tag ${tag}`) : ""];
    return [table("Tags", ["Tag", "Rooms", ""], all.map(row))];
  },
  null,
);

await attempt(async () => {
  const [{ teams }, { agents }] = await Promise.all([ask("GET", "teams"), ask("GET", "agents")]);
  names = { teams, agents };
  await Promise.all([replies.show(), macros.show(), tags.show()]);
});
document.body.classList.add("is-live");
