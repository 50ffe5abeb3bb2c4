// @ts-check
/** The steps of a macro: what each does, as words and as fields. */

import { make } from "./make.js";

/**
 * @typedef {{ do: "reply" | "note", text: string } | { do: "tag", tag: string } | { do: "team", team: string | null }
 *           | { do: "assign", person: string } | { do: "close" }} Step
 * @typedef {{ teams: { id: string, name: string }[], agents: { person: string, name: string }[] }} Names
 */

/** What a step may do. @type {[Step["do"], string][]} */
const KINDS = [
  ["reply", "Write to the visitor"],
  ["note", "Write a note"],
  ["tag", "Add a tag"],
  ["team", "Hand over to a team"],
  ["assign", "Assign to a person"],
  ["close", "Close the room"],
];

/** @param {Step} step @param {Names} names */
export function wordsOfStep(step, names) {
  switch (step.do) {
    case "reply":
      return `Write: ${step.text}`;
    case "note":
      return `Note: ${step.text}`;
    case "tag":
      return `Tag: ${step.tag}`;
    case "team":
      return `Hand over to ${names.teams.find(({ id }) => id === step.team)?.name ?? "anybody"}`;
    case "assign":
      return `Assign to ${step.person === "me" ? "whoever runs it" : (names.agents.find(({ person }) => person === step.person)?.name ?? "somebody")}`;
    case "close":
      return "Close the room";
  }
}

/** @param {string} value @param {string} words @param {boolean} isChosen */
const option = (value, words, isChosen) => make("option", { value, ...(isChosen ? { selected: "" } : {}) }, words);

/** The fields of all steps. */
export class MacroSteps {
  #names;
  #list = make("ol", { class: "lines" });
  element;

  /** @param {Names} names @param {Step[]} steps */
  constructor(names, steps) {
    this.#names = names;
    const add = make("button", { type: "button", class: "small" }, "Add a step");
    add.addEventListener("click", () => this.#add({ do: "reply", text: "" }).focus());
    this.element = make("fieldset", { class: "field" }, make("legend", {}, "Steps"), this.#list, make("p", { class: "row" }, add));
    for (const step of steps.length > 0 ? steps : [/** @type {Step} */ ({ do: "reply", text: "" })]) this.#add(step);
  }

  /** As the server takes them. @returns {Step[]} */
  get value() {
    return [...this.#list.children].map((line) => {
      const kind = /** @type {HTMLSelectElement} */ (line.querySelector("[data-kind]")).value;
      const field = line.querySelector("[data-value]");
      const value = field instanceof HTMLInputElement || field instanceof HTMLTextAreaElement || field instanceof HTMLSelectElement ? field.value : "";
      return stepOf(/** @type {Step["do"]} */ (kind), value);
    });
  }

  /** @param {Step} step */
  #add(step) {
    const kind = make("select", { "data-kind": "", "aria-label": "What is done" }, ...KINDS.map(([word, words]) => option(word, words, word === step.do)));
    const place = make("div");
    const remove = make("button", { type: "button", class: "small" }, "Remove the step");
    const line = make("li", { class: "fields" }, kind, place, make("p", { class: "row" }, remove));
    remove.addEventListener("click", () => line.remove());
    const show = (/** @type {Step} */ shown) => place.replaceChildren(...this.#fields(shown));
    kind.addEventListener("change", () => show(stepOf(/** @type {Step["do"]} */ (kind.value), "")));
    show(step);
    this.#list.append(line);
    return kind;
  }

  /** @param {Step} step @returns {HTMLElement[]} */
  #fields(step) {
    const { teams, agents } = this.#names;
    switch (step.do) {
      case "reply":
      case "note":
        return [make("textarea", { "data-value": "", rows: "2", maxlength: "8000", required: "", "aria-label": "Text" }, step.text)];
      case "tag":
        return [make("input", { "data-value": "", maxlength: "50", required: "", autocomplete: "off", "aria-label": "Tag", value: step.tag })];
      case "team":
        return [make("select", { "data-value": "", "aria-label": "Team" }, option("", "Anybody", step.team === null), ...teams.map(({ id, name }) => option(id, name, id === step.team)))];
      case "assign":
        return [make("select", { "data-value": "", "aria-label": "Person" }, option("me", "Whoever runs it", step.person === "me"), ...agents.map(({ person, name }) => option(person, name, person === step.person)))];
      case "close":
        return [];
    }
  }
}

/** @param {Step["do"]} kind @param {string} value @returns {Step} */
function stepOf(kind, value) {
  switch (kind) {
    case "reply":
    case "note":
      return { do: kind, text: value };
    case "tag":
      return { do: kind, tag: value };
    case "team":
      return { do: kind, team: value === "" ? null : value };
    case "assign":
      return { do: kind, person: value === "" ? "me" : value };
    case "close":
      return { do: kind };
  }
}
