// @ts-check
/** Who answers at this moment, one's own state among them, and how many wait. */

import { Refused } from "./chat-api.js";

/** @typedef {import("./inbox-api.js").Agent} Agent */
/** @typedef {import("./inbox-api.js").Team} Team */

/** What happens within so many ms is one question. */
const LOOK_AFTER = 400;

/** Dispatches `change` and `problem`. */
export class Floor extends EventTarget {
  /** @type {Agent[]} */
  agents = [];
  /** @type {Team[]} */
  teams = [];
  #waiting = 0;
  #api;
  #me;
  #queue = document.getElementById("queue");
  #capacity = /** @type {HTMLInputElement | null} */ (document.getElementById("capacity"));
  #buttons = [...document.querySelectorAll("[data-state]")].filter((button) => button instanceof HTMLElement);
  /** @type {number | undefined} */
  #timer;

  /** @param {import("./inbox-api.js").InboxApi} api @param {string} me */
  constructor(api, me) {
    super();
    this.#api = api;
    this.#me = me;
    for (const button of this.#buttons) button.addEventListener("click", () => void this.#say(button.dataset.state === "available" ? "available" : "away"));
    this.#capacity?.addEventListener("change", () => void this.#say(this.#own?.state ?? "away"));
  }

  async start() {
    const teams = this.#api.teams().then(({ teams }) => (this.teams = teams));
    await Promise.all([teams, this.#fetch()]).catch((error) => this.#complain(error));
  }

  /** Something may have changed. */
  look() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.#fetch().catch(() => undefined), LOOK_AFTER);
  }

  /** What somebody is called. @param {string | null | undefined} id */
  nameOf(id) {
    if (!id) return "the server";
    return this.agents.find(({ person }) => person === id)?.name ?? (id.startsWith("app_") ? "a program" : "a colleague");
  }

  /** For whom a room waits. @param {string | null} team */
  waitingWords(team) {
    const name = this.teams.find(({ id }) => id === team)?.name;
    return name === undefined ? "Waiting" : `Waiting for ${name}`;
  }

  /** Who answers beside oneself. */
  get others() {
    return this.agents.filter(({ person }) => person !== this.#me);
  }

  get #own() {
    return this.agents.find(({ person }) => person === this.#me);
  }

  async #fetch() {
    const { agents, waiting } = await this.#api.floor();
    this.agents = agents;
    this.#waiting = waiting.reduce((sum, { rooms }) => sum + rooms, 0);
    this.#show();
  }

  /** @param {"available" | "away"} state */
  async #say(state) {
    const capacity = Number(this.#capacity?.value ?? "");
    try {
      const own = await this.#api.sayState({ state, ...(Number.isInteger(capacity) && capacity > 0 ? { capacity } : {}) });
      this.agents = this.agents.map((agent) => (agent.person === own.person ? own : agent));
    } catch (error) {
      this.#complain(error);
    }
    this.#show();
  }

  #show() {
    const own = this.#own;
    for (const button of this.#buttons) button.setAttribute("aria-pressed", String(button.dataset.state === (own?.state ?? "away")));
    if (own && this.#capacity && document.activeElement !== this.#capacity) this.#capacity.value = String(own.capacity);
    const load = own ? `, you have ${own.load} of ${own.capacity}` : "";
    const words = `${this.#waiting} waiting${load}`;
    if (this.#queue && this.#queue.textContent !== words) this.#queue.textContent = words;
    this.dispatchEvent(new Event("change"));
  }

  /** @param {unknown} error */
  #complain(error) {
    const words = error instanceof Refused && error.message !== "" ? error.message : "The server does not answer.";
    this.dispatchEvent(new CustomEvent("problem", { detail: words }));
  }
}
