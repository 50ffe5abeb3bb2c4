// @ts-check
/** What is asked for before a room is handed over, or a macro runs. */

import { make } from "./make.js";

/** @typedef {import("./inbox-floor.js").Floor} Floor */
/** @typedef {import("./inbox-api.js").Macro} Macro */

/** The word for nobody in particular. */
const ANYBODY = "team:";

/** @param {HTMLFormElement} form @param {(data: FormData) => void} take */
function taking(form, take) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    take(new FormData(form));
  });
  return form;
}

/** A form's buttons. @param {string} submit */
const buttons = (submit) => make("p", { class: "row" }, make("button", { class: "primary" }, submit), make("button", { type: "button", "data-act": "fold" }, "Cancel"));

/**
 * To whom a room is handed over, with a note.
 * @param {Floor} floor
 * @param {(to: { person?: string, team?: string | null, note?: string }) => void} transfer
 */
export function transferSheet(floor, transfer) {
  const person = (/** @type {import("./inbox-api.js").Agent} */ { person, name, state, online, load, capacity }) =>
    make("option", { value: `person:${person}` }, `${name} (${online ? state : "offline"}, ${load} of ${capacity})`);
  const team = (/** @type {import("./inbox-api.js").Team} */ { id, name }) => make("option", { value: `team:${id}` }, name);
  const to = make(
    "select",
    { name: "to", id: "transfer-to" },
    make("optgroup", { label: "People" }, ...floor.others.map(person)),
    make("optgroup", { label: "Teams" }, ...floor.teams.map(team), make("option", { value: ANYBODY }, "Anybody")),
  );
  const note = make("textarea", { name: "note", id: "transfer-note", rows: "2", maxlength: "8000" });
  const form = make(
    "form",
    { class: "fields", "aria-label": "Transfer" },
    make("p", { class: "field" }, make("label", { for: "transfer-to" }, "Hand over to"), to),
    make("p", { class: "field" }, make("label", { for: "transfer-note" }, "Note for them ", make("span", { class: "quiet" }, "(optional)")), note),
    buttons("Transfer"),
  );
  return taking(form, (data) => {
    const [kind, ...rest] = String(data.get("to")).split(":");
    const id = rest.join(":");
    const words = String(data.get("note") ?? "").trim();
    transfer({ ...(kind === "person" ? { person: id } : { team: id === "" ? null : id }), ...(words === "" ? {} : { note: words }) });
  });
}

/** Which macro is to run. @param {Macro[]} macros @param {(macro: string) => void} run */
export function macroSheet(macros, run) {
  if (macros.length === 0) {
    const none = make("p", {}, "There is no macro yet.");
    return make("form", { class: "fields", "aria-label": "Macros" }, none, make("p", { class: "row" }, make("button", { type: "button", "data-act": "fold" }, "Cancel")));
  }
  const option = (/** @type {Macro} */ { id, name, steps }) => make("option", { value: id }, `${name} (${steps.map((step) => step.do).join(", ")})`);
  const which = make("select", { name: "macro", id: "macro" }, ...macros.map(option));
  const form = make("form", { class: "fields", "aria-label": "Macros" }, make("p", { class: "field" }, make("label", { for: "macro" }, "Macro"), which), buttons("Run it"));
  return taking(form, (data) => run(String(data.get("macro"))));
}

/** What the ways of a call are called. @type {Record<import("./chat-calling.js").Mode, string>} */
const MODES = { browser: "In the visitor's page", phone: "On the visitor's telephone" };

/**
 * Which way the visitor is called, and at which number.
 * @param {import("./chat-calling.js").Mode[]} modes
 * @param {(wish: { mode: import("./chat-calling.js").Mode, phone?: string }) => void} call
 */
export function callSheet(modes, call) {
  const way = make("select", { name: "mode", id: "call-mode" }, ...modes.map((mode) => make("option", { value: mode }, MODES[mode])));
  const phone = make("input", { name: "phone", id: "call-phone", type: "tel", autocomplete: "off", maxlength: "40", placeholder: "+14155550123", dir: "ltr", "aria-describedby": "call-phone-hint" });
  const hint = make("span", { class: "hint", id: "call-phone-hint" }, "With its country code. It is kept nowhere, and the visitor does not see yours.");
  const number = make("p", { class: "field" }, make("label", { for: "call-phone" }, "Number"), phone, hint);
  const ways = make("p", { class: "field" }, make("label", { for: "call-mode" }, "Call the visitor"), way);
  const fit = () => {
    number.hidden = way.value !== "phone";
    phone.required = way.value === "phone";
  };
  way.addEventListener("change", fit);
  ways.hidden = modes.length < 2;
  fit();
  const form = make("form", { class: "fields", "aria-label": "Call" }, ways, number, buttons("Call"));
  return taking(form, (data) => {
    const isPhone = String(data.get("mode")) === "phone";
    call(isPhone ? { mode: "phone", phone: String(data.get("phone")).trim() } : { mode: "browser" });
  });
}
