// @ts-check
/**
 * The visitor's side of a call in a chat: the button, the phone in the page, and the bar that stands while there is a call.
 *
 * The server rings whoever answers first; the page's phone is opened for one call and closed with it, and so is the
 * microphone. Which call there is, the thread tells: a message of kind `call`.
 */

import { callOptions, clock, endCall, isLive, phoneSocket, phoneToken, startCall, CallRefused } from "./chat-calling.js";
import { make, icon } from "./make.js";
import { PhoneCall } from "./phone-call.js";
import { PhoneLine } from "./phone-line.js";
import { Bell, openMicrophone, SoundError } from "./phone-sound.js";

/** @typedef {import("./chat-words.js").Words} Words */
/** @typedef {import("./chat-calling.js").Call} Call */
/** @typedef {import("./chat-calling.js").Mode} Mode */

const RECEIVER = "M5 4h4l2 5-2.5 1.5a11 11 0 0 0 5 5L15 13l5 2v4a2 2 0 0 1-2 2A16 16 0 0 1 3 6a2 2 0 0 1 2-2";
/** Refusals that have words of their own. @type {Record<string, string>} */
const REFUSALS = { no_agent: "call_away", agent_away: "call_away", calls_off: "call_away", not_allowed: "call_number_bad" };
/** Where the number of this page's phone waits while the page is loaded anew (see phone-line.js). */
const PHONE_MEMORY = "tandem-phone";

/** The parts of a call that are seen. */
export class CallBar {
  button = make("button", { type: "button", class: "bare", "data-act": "call", hidden: "" }, icon(RECEIVER));
  said = make("p", { role: "status" });
  time = make("span", { class: "time", role: "timer", "aria-live": "off" });
  accept = make("button", { type: "button", class: "primary", "data-act": "call-accept" });
  decline = make("button", { type: "button", "data-act": "call-decline" });
  mute = make("button", { type: "button", "data-act": "call-mute", "aria-pressed": "false" });
  hangUp = make("button", { type: "button", class: "hang-up", "data-act": "call-end" });
  audio = make("audio", { autoplay: "" });
  root = make("div", { class: "call", role: "group", hidden: "" });

  constructor() {
    const row = make("div", { class: "row" }, this.accept, this.decline, this.mute, this.hangUp);
    this.root.append(make("div", { class: "said" }, this.said, this.time), row, this.audio);
  }

  /** Puts the words of a language everywhere. @param {Words} words */
  speak(words) {
    this.button.setAttribute("aria-label", words.say("call"));
    this.root.setAttribute("aria-label", words.say("call"));
    this.accept.textContent = words.say("call_accept");
    this.decline.textContent = words.say("call_decline");
    this.mute.textContent = words.say("call_mute");
    this.hangUp.textContent = words.say("call_hang_up");
  }
}

/** The form in which the way of a call is chosen. @param {Words} words @param {Mode[]} modes */
export function callFields(words, modes) {
  const fields = [];
  if (modes.includes("browser") && modes.includes("phone")) {
    const choice = (/** @type {Mode} */ mode, /** @type {string} */ key) =>
      make("label", {}, make("input", { type: "radio", name: "mode", value: mode, required: "", ...(mode === "browser" ? { checked: "" } : {}) }), make("span", {}, words.say(key)));
    fields.push(make("fieldset", { class: "scores" }, make("legend", {}, words.say("call_how")), choice("browser", "call_here"), choice("phone", "call_phone")));
  }
  const number = make("input", { name: "phone", type: "tel", autocomplete: "tel", maxlength: "40", placeholder: "+14155550123", dir: "ltr" });
  fields.push(make("label", {}, words.say("call_number"), number));
  return fields;
}

/** Dispatches `change`; `problem` with what is wrong, in the visitor's words, as detail. */
export class Calling extends EventTarget {
  #bar;
  #words;
  #room;
  #token;
  /** What can be begun. @type {Mode[]} */
  modes = [];
  /** Whether the visitor may hear recordings. */
  hears = false;
  /** As the thread tells it. @type {Call | null} */
  #told = null;
  /** @type {PhoneLine | null} */
  #line = null;
  /** The line is being opened. */
  #opening = false;
  /** @type {RTCIceServer[]} */
  #ways = [];
  /** @type {PhoneCall | null} */
  #call = null;
  /** @type {MediaStream | null} */
  #microphone = null;
  /** The visitor has asked for the call: it is answered by itself. */
  #isExpected = false;
  #bell = new Bell();
  /** @type {number | undefined} */
  #clock;
  #isOver = false;

  /**
   * @param {CallBar} bar
   * @param {Words} words
   * @param {string} room
   * @param {string} token of the visitor
   */
  constructor(bar, words, room, token) {
    super();
    this.#bar = bar;
    this.#words = words;
    this.#room = room;
    this.#token = token;
    bar.speak(words);
  }

  get #by() {
    return { token: this.#token };
  }

  /** What the call is doing, for the page around. */
  get view() {
    return { modes: this.modes, state: this.#told?.state ?? "none", phone: this.#call?.state ?? "none", sound: this.#call?.sound ?? "never", muted: this.#call?.muted ?? false };
  }

  /** What is heard. */
  get remote() {
    return this.#bar.audio.srcObject;
  }

  /** Asks what can be begun, and takes up a call that outlived the page. */
  async look() {
    try {
      const { modes, call, hears_recordings: hears } = await callOptions(this.#room, this.#by);
      if (this.#isOver) return;
      this.modes = modes;
      this.hears = hears;
      if (isLive(call)) this.told(call);
    } catch {
      // Without an answer there is no button; the next news of the room asks again.
      this.modes = [];
    }
    this.#show();
  }

  /** What the thread says of a call of this room. @param {Call | null} call */
  told(call) {
    if (call === null || this.#isOver) return;
    const isSame = this.#told?.call === call.call;
    if (!isSame && !isLive(call)) return;
    this.#told = call;
    if (!isLive(call)) this.#close();
    else if (call.mode === "browser" && this.#isOurs(call)) void this.#openLine();
    this.#show();
  }

  /** A call that the visitor asked for belongs to the page where it did. @param {Call} call */
  #isOurs(call) {
    return call.by !== "visitor" || this.#isExpected || sessionStorage.getItem(PHONE_MEMORY) !== null;
  }

  /** Begins a call. @param {{ mode: Mode, phone?: string }} wish */
  async begin({ mode, phone }) {
    this.#complain("");
    if (this.#isExpected) return;
    if (mode === "browser") {
      this.#isExpected = true;
      if (!(await this.#open())) return this.#close();
    }
    try {
      const call = await startCall(this.#room, { mode, phone }, this.#by);
      this.told(call);
      // The one that was on may be by phone.
      if (call.mode !== mode) this.#closeMicrophone();
    } catch (error) {
      this.#close();
      this.#complain(this.#wordsOf(error));
    }
    this.#show();
  }

  async accept() {
    const call = this.#call;
    if (call?.state !== "incoming") return;
    this.#complain("");
    const microphone = await this.#open();
    if (microphone && call.state === "incoming") await call.answer(microphone);
  }

  decline() {
    this.#call?.reject();
    this.#show();
  }

  mute() {
    this.#call?.mute(!this.#call.muted);
    this.#show();
  }

  /** Ends the call, wherever it is. */
  async end() {
    this.#call?.hangUp();
    try {
      this.told(await endCall(this.#room, this.#by));
    } catch (error) {
      this.#complain(this.#wordsOf(error));
    }
    this.#close();
    this.#show();
  }

  /** Nothing is left of it: the chat has gone. */
  leave() {
    this.#isOver = true;
    this.modes = [];
    this.#told = null;
    this.#close();
    this.#show();
  }

  // --- the phone

  async #openLine() {
    if (this.#line || this.#opening) return;
    this.#opening = true;
    try {
      const token = await phoneToken(this.#room, this.#by);
      if (!isLive(this.#told) || this.#isOver) return;
      const line = new PhoneLine(phoneSocket(), token);
      this.#line = line;
      line.addEventListener("ready", (event) => void this.#began(line, /** @type {CustomEvent} */ (event).detail));
      line.addEventListener("frame", (event) => void this.#take(line, /** @type {CustomEvent} */ (event).detail));
      line.addEventListener("refused", () => this.#close());
      line.open();
    } catch (error) {
      this.#complain(this.#wordsOf(error));
    } finally {
      this.#opening = false;
    }
  }

  /** @param {PhoneLine} line @param {import("./phone-line.js").Ready} ready */
  async #began(line, ready) {
    this.#ways = ready.ice_servers;
    const known = this.#call;
    if (known && !known.ended) {
      if (ready.calls.some(({ id }) => id === known.id)) await known.restart(true);
      else known.end("");
      return;
    }
    // A call that outlived the page it was answered on; one that rings is announced anew.
    const up = ready.calls.find(({ state }) => state === "up");
    if (!up) return;
    const microphone = await this.#open();
    if (!microphone) return void line.send({ type: "hangup", id: up.id });
    await this.#add(line, up.id, "up").resume(microphone);
  }

  /** @param {PhoneLine} line @param {import("./phone-line.js").Frame} frame */
  async #take(line, frame) {
    if (frame.type === "ice_servers") {
      this.#ways = frame.ice_servers;
      return;
    }
    const known = this.#call?.id === frame.id ? this.#call : null;
    if (frame.type !== "incoming") return known?.take(frame);
    if (known) return known.repeatAnswer();
    const call = this.#add(line, frame.id, "incoming");
    line.send({ type: "ringing", id: frame.id });
    try {
      await call.receive(frame.sdp);
    } catch {
      return call.reject();
    }
    if (this.#isExpected) await this.accept();
  }

  /** @param {PhoneLine} line @param {string} id @param {import("./phone-call.js").State} state */
  #add(line, id, state) {
    const call = new PhoneCall(line, id, { number: "" }, state, this.#ways);
    this.#call = call;
    call.addEventListener("change", () => this.#show());
    this.#show();
    return call;
  }

  /** The microphone, or null after the reason is said. */
  async #open() {
    try {
      this.#microphone ??= await openMicrophone("");
    } catch (error) {
      this.#complain(this.#words.say(error instanceof SoundError && !isSecureContext ? "mic_insecure" : "mic_blocked"));
      return null;
    }
    if (!this.#isOver) return this.#microphone;
    this.#closeMicrophone();
    return null;
  }

  #closeMicrophone() {
    for (const track of this.#microphone?.getTracks() ?? []) track.stop();
    this.#microphone = null;
  }

  #close() {
    this.#isExpected = false;
    if (this.#call && !this.#call.ended) this.#call.hangUp();
    this.#call = null;
    this.#line?.close();
    this.#line = null;
    this.#closeMicrophone();
    this.#bar.audio.srcObject = null;
  }

  // --- what is seen

  #show() {
    const { button, root, said, accept, decline, mute, hangUp, audio } = this.#bar;
    const told = this.#told;
    const call = this.#call;
    const isOn = isLive(told);
    const rings = call?.state === "incoming" && !this.#isExpected;
    button.hidden = this.modes.length === 0 || isOn;
    root.hidden = !isOn;
    const key = rings ? "call_incoming" : told?.state === "talking" ? "call_talking" : "call_ringing";
    const text = isOn ? this.#words.say(key) : "";
    // A live region that is written again speaks again.
    if (said.textContent !== text) said.textContent = text;
    accept.hidden = decline.hidden = !rings;
    hangUp.hidden = rings;
    mute.hidden = call?.state !== "up";
    mute.setAttribute("aria-pressed", String(call?.muted ?? false));
    if (rings) this.#bell.ring(false);
    else this.#bell.stop();
    const sound = call && !call.ended && call.state !== "incoming" && call.remote.getTracks().length > 0 ? call.remote : null;
    if (audio.srcObject !== sound) audio.srcObject = sound;
    clearInterval(this.#clock);
    this.#tick();
    if (isOn) this.#clock = setInterval(() => this.#tick(), 1_000);
    this.dispatchEvent(new Event("change"));
  }

  #tick() {
    const since = this.#told?.state === "talking" ? this.#told.started_at : undefined;
    this.#bar.time.textContent = since ? clock((Date.now() - Date.parse(since)) / 1_000) : "";
  }

  /** @param {unknown} error */
  #wordsOf(error) {
    if (!(error instanceof CallRefused)) return this.#words.say("failed");
    if (error.status === 429) return this.#words.say("call_limit");
    return this.#words.say(REFUSALS[error.code] ?? (error.status === 422 ? "call_number_bad" : "failed"));
  }

  /** @param {string} text */
  #complain(text) {
    this.dispatchEvent(new CustomEvent("problem", { detail: text }));
  }
}
