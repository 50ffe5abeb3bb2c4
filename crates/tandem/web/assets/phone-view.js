// @ts-check
/**
 * What a browser phone looks like: its parts as elements, and nothing about what they do.
 */

import { make } from "./make.js";

/** @typedef {import("./phone-call.js").PhoneCall} PhoneCall */

export const KEYS = ["1", "2", "3", "4", "5", "6", "7", "8", "9", "*", "0", "#"];
/** How the two that are no digits are called. @type {Record<string, string>} */
const NAMES = { "*": "star", "#": "hash" };

/** @type {Record<import("./phone-call.js").State, string>} */
const STATES = { calling: "Calling", ringing: "Ringing", incoming: "Calls you", up: "Connected", ended: "Ended" };

/** The parts of the phone that stay. */
export class Shell {
  owner = make("span", { class: "owner" }, "Phone");
  status = make("span", { class: "status", role: "status" }, "Connecting …");
  news = make("p", { class: "unseen", role: "status", "aria-live": "assertive" });
  problem = make("p", { class: "problem", role: "alert", hidden: "" });
  calls = make("ul", { class: "calls", "aria-label": "Calls" });
  number = make("input", { type: "tel", id: "number", autocomplete: "off", spellcheck: "false", required: "" });
  dial = make("button", { type: "submit", class: "call" }, "Call");
  form = make("form", { class: "dial" }, make("label", { for: "number" }, "Number"), this.number, this.dial);
  pad = make("div", { class: "pad", role: "group", "aria-label": "Keypad" });
  microphones = make("select", { id: "microphone" });
  speakers = make("select", { id: "speaker" });
  voice = make("meter", { "aria-label": "How loud you are", min: "0", max: "1" });
  far = make("meter", { "aria-label": "How loud the other side is", min: "0", max: "1" });
  audio = make("audio", { autoplay: "" });
  root;

  constructor() {
    this.pad.append(...KEYS.map((key) => make("button", { type: "button", value: key, ...label(key) }, key)));
    const sound = make(
      "details",
      { class: "sound" },
      make("summary", {}, "Sound"),
      make("label", { for: "microphone" }, "Microphone"),
      this.microphones,
      make("label", { for: "speaker" }, "Speaker"),
      this.speakers,
    );
    const levels = make("div", { class: "levels" }, make("span", {}, "You"), this.voice, make("span", {}, "They"), this.far);
    const head = make("div", { class: "head" }, this.owner, this.status);
    this.root = make(
      "section",
      { "aria-label": "Phone", part: "phone" },
      head,
      this.news,
      this.problem,
      this.calls,
      this.form,
      this.pad,
      levels,
      sound,
      this.audio,
    );
  }

  /** Leaves what a phone needs that dials nothing, and is not seen before there is something to see. */
  reduce() {
    this.form.remove();
    this.pad.remove();
    this.root.hidden = true;
  }

  /** Says something to those who do not see the page. @param {string} text */
  announce(text) {
    this.news.textContent = text;
  }

  /**
   * Says what is wrong, or with "" that nothing is.
   * @param {string} text
   * @param {...Node} more a way out
   */
  complain(text, ...more) {
    this.problem.replaceChildren(text, ...more.flatMap((node) => [" ", node]));
    this.problem.hidden = text === "";
  }

  /**
   * Fills a list of devices.
   * @param {HTMLSelectElement} select
   * @param {MediaDeviceInfo[]} devices
   * @param {string} chosen
   */
  offer(select, devices, chosen) {
    const options = devices.map((device, index) => new Option(device.label || `Device ${index + 1}`, device.deviceId));
    select.replaceChildren(new Option("As the system prefers", ""), ...options);
    select.value = devices.some((device) => device.deviceId === chosen) ? chosen : "";
    select.disabled = devices.length === 0;
  }
}

/** @param {string} key @returns {Record<string, string>} */
function label(key) {
  const name = NAMES[key];
  return name ? { "aria-label": name } : {};
}

/** One call in the list. Its buttons carry what they do in `value`. */
export class CallItem {
  #name = make("strong", {});
  #state = make("span", { class: "state", role: "status" });
  #time = make("span", { class: "time" });
  #keys = make("span", { class: "keys", "aria-live": "off" });
  #buttons = new Map(
    ["answer", "reject", "mute", "hold", "transfer", "hangup", "dismiss"].map((action) => [
      action,
      make("button", { type: "button", value: action, class: action }),
    ]),
  );
  #transfer = make("form", { class: "transfer", hidden: "" });
  #isReduced;
  element = make("li", {});

  /**
   * @param {PhoneCall} call
   * @param {boolean} isReduced nothing but to answer, to mute, to resume and to hang up
   */
  constructor(call, isReduced) {
    this.#isReduced = isReduced;
    const id = `transfer-${call.id}`;
    this.#transfer.append(
      make("label", { for: id }, "Transfer to"),
      make("input", { type: "tel", id, name: "to", required: "", autocomplete: "off" }),
      make("button", { type: "submit" }, "Transfer"),
    );
    const actions = make("div", { class: "actions" }, ...this.#buttons.values());
    this.element.append(this.#name, this.#state, this.#time, this.#keys, actions, this.#transfer);
    this.element.dataset.call = call.id;
    this.show(call);
  }

  /** Draws what the call is now. @param {PhoneCall} call */
  show(call) {
    this.#name.textContent = nameOf(call.party);
    const text = stateText(call);
    // A live region that is written again speaks again.
    if (this.#state.textContent !== text) this.#state.textContent = text;
    this.element.dataset.state = call.state;
    this.element.toggleAttribute("data-held", call.held);
    const up = call.state === "up";
    const incoming = call.state === "incoming";
    this.#button("answer", incoming, "Answer");
    this.#button("reject", incoming, "Decline");
    this.#button("mute", up, call.muted ? "Unmute" : "Mute", call.muted);
    this.#button("hold", up && (call.held || !this.#isReduced), call.held ? "Resume" : "Hold", call.held);
    this.#button("transfer", up && !this.#isReduced, "Transfer");
    this.#button("hangup", !incoming && !call.ended, "Hang up");
    this.#button("dismiss", call.ended, "Dismiss");
    if (!up) this.#transfer.hidden = true;
    this.tick(call);
  }

  /** Draws how long the call is up. @param {PhoneCall} call */
  tick(call) {
    if (call.since === null || call.ended || call.awaits) return;
    const seconds = Math.floor((Date.now() - call.since) / 1_000);
    this.#time.textContent = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
  }

  /** Shows keys that were sent. @param {string} keys */
  pressed(keys) {
    this.#keys.textContent += keys;
  }

  /** Opens or closes the form for a transfer. */
  askWhereTo() {
    this.#transfer.hidden = !this.#transfer.hidden;
    if (!this.#transfer.hidden) this.#transfer.querySelector("input")?.focus();
  }

  /**
   * @param {string} action
   * @param {boolean} shown
   * @param {string} text
   * @param {boolean} [pressed] for buttons that stay down
   */
  #button(action, shown, text, pressed) {
    const button = this.#buttons.get(action);
    if (!button) return;
    button.hidden = !shown;
    button.textContent = text;
    if (pressed !== undefined) button.dataset.on = String(pressed);
  }
}

/** Who it is, as far as is known. @param {{ number: string, name?: string }} party */
export function nameOf({ number, name }) {
  if (name) return number ? `${name} (${number})` : name;
  return number || "Number withheld";
}

/** @param {PhoneCall} call */
function stateText(call) {
  if (call.ended) return call.reason;
  if (call.state === "up" && call.sound === "never") return "Connecting …";
  if (call.sound === "lost") return "No sound comes through just now. Looking for a way …";
  if (call.held) return "On hold";
  if (call.state === "up" && call.awaits) return "Ringing …";
  if (call.holdsUs) return "The other side holds you";
  return call.muted ? `${STATES[call.state]}, you are muted` : STATES[call.state];
}
