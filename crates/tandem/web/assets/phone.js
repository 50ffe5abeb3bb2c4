// @ts-check
/**
 * `<tandem-phone>`: a phone in the page.
 *
 *     <script type="module" src="/assets/phone.js"></script>
 *     <tandem-phone></tandem-phone>
 *
 * It opens `/v1/rtc` of the server that the page came from, by the session's cookie; the attribute `socket` names
 * another address, the property `token` a person's token. `call(number)`, `answer()`, `hangUp()` and `press(keys)` do
 * what its buttons do. Every change is told by the event `phonechange`, whose detail is what {@link TandemPhone.view}
 * gives. Colours and measures are custom properties, listed in phone.css.
 *
 * With `mode="party"` it is the phone of a meeting's page: it dials nothing and is seen while there is a call or something
 * to say. The page asks the server for the call; `expect(ms)` opens the microphone for it before, and the call that comes
 * within that time is answered by itself. A call that waits for another one to end is taken back when that has ended.
 */

import { make } from "./make.js";
import { causeText, PhoneCall } from "./phone-call.js";
import { PhoneLine } from "./phone-line.js";
import { Bell, Level, listDevices, openMicrophone, SoundError } from "./phone-sound.js";
import { CallItem, KEYS, nameOf, Shell } from "./phone-view.js";

/** How long a call that has ended is shown, ms. */
const EPILOGUE = 30_000;
/** Where the chosen devices are kept. */
const DEVICES = "tandem-phone-devices";

const LOST = "The connection to the server is lost. Trying again …";

export class TandemPhone extends HTMLElement {
  /** A person's token; null where the session's cookie speaks for them. @type {string | null} */
  token = null;

  #shell = new Shell();
  #bell = new Bell();
  /** @type {Map<string, { call: PhoneCall, item: CallItem }>} */
  #calls = new Map();
  /** @type {PhoneLine | null} */
  #line = null;
  /** @type {import("./phone-line.js").Ready | null} */
  #ready = null;
  /** @type {MediaStream | null} */
  #microphone = null;
  /** @type {Level | null} */
  #voice = null;
  /** @type {Level | null} */
  #far = null;
  /** The call that is heard. @type {string | null} */
  #heard = null;
  /** A call is about to be placed. */
  #dialling = false;
  /** Until then a call that comes is the one that was asked for, ms. */
  #expectedUntil = 0;
  /** The call that came so. @type {string | null} */
  #expected = null;
  /** Whoever answers here still waits for the other one. */
  #awaits = false;
  /** @type {number | undefined} */
  #clock;
  /** @type {{ microphone: string, speaker: string }} */
  #chosen = { microphone: "", speaker: "" };

  constructor() {
    super();
    const style = make("link", { rel: "stylesheet", href: new URL("phone.css", import.meta.url).href });
    this.attachShadow({ mode: "open" }).append(style, this.#shell.root);
    this.#listen();
  }

  /** Whether it is the phone of a meeting's page. */
  get #isParty() {
    return this.getAttribute("mode") === "party";
  }

  /** Whether the page has asked for a call that has not come yet. */
  get #isExpecting() {
    return Date.now() < this.#expectedUntil;
  }

  connectedCallback() {
    if (this.#isParty) this.#shell.reduce();
    this.#chosen = { ...this.#chosen, ...JSON.parse(localStorage.getItem(DEVICES) ?? "{}") };
    const url = new URL(this.getAttribute("socket") ?? "/v1/rtc", location.href);
    url.protocol = url.protocol.replace("http", "ws");
    const line = new PhoneLine(url.href, this.token);
    line.addEventListener("ready", (event) => this.#began(detail(event)));
    line.addEventListener("frame", (event) => this.#take(detail(event)));
    line.addEventListener("offline", () => this.#say(LOST));
    line.addEventListener("refused", (event) => this.#refused(detail(event)));
    this.#line = line;
    this.#say("Connecting …");
    line.open();
    this.#clock = setInterval(() => this.#tick(), 1_000);
    navigator.mediaDevices?.addEventListener("devicechange", this.#showDevices);
    addEventListener("online", this.#lookForWays);
    void this.#showDevices();
  }

  disconnectedCallback() {
    for (const { call } of this.#calls.values()) if (!call.ended) call.hangUp();
    this.#line?.close();
    this.#line = null;
    clearInterval(this.#clock);
    navigator.mediaDevices?.removeEventListener("devicechange", this.#showDevices);
    removeEventListener("online", this.#lookForWays);
    this.#update();
  }

  /** What the phone is doing: whether it is online, and its calls. */
  get view() {
    const calls = [...this.#calls.values()].map(({ call }) => ({
      id: call.id,
      number: call.party.number,
      state: call.state,
      sound: call.sound,
      muted: call.muted,
      held: call.held,
      holdsUs: call.holdsUs,
      reason: call.reason,
    }));
    return { online: this.#line?.online ?? false, extension: this.#ready?.extension ?? "", calls };
  }

  /**
   * Calls a number.
   * @param {string} number
   */
  async call(number) {
    if (!this.#line?.online) return this.#shell.complain("The phone is not connected to the server yet.");
    // A second click means the same call.
    if (this.#dialling) return;
    this.#dialling = true;
    this.#update();
    try {
      const microphone = await this.#open();
      if (!microphone || !this.#line) return;
      this.#holdOthers(null);
      const call = this.#add(crypto.randomUUID(), { number }, "calling");
      await call.place(microphone);
    } catch (error) {
      this.#shell.complain(`The browser could not begin the call: ${error}`);
    } finally {
      this.#dialling = false;
      this.#update();
    }
  }

  /** Answers the call with this id, or the one that rings. @param {string} [id] */
  async answer(id) {
    const call = this.#find(id, (call) => call.state === "incoming");
    if (!call) return;
    const microphone = await this.#open();
    // The caller may have given up while the browser asked for the microphone.
    if (!microphone || call.state !== "incoming") return;
    this.#holdOthers(call);
    call.awaits = this.#awaits;
    await call.answer(microphone);
  }

  /**
   * Opens the microphone for a call that is about to come, and answers it by itself when it comes within so many ms.
   * @param {number} ms
   * @returns {Promise<boolean>} whether it can be answered; why not is said
   */
  async expect(ms) {
    if (!this.#line?.online) {
      this.#shell.complain("This page is not connected to the server yet. Wait a moment, then try again.");
      this.#update();
      return false;
    }
    this.#expectedUntil = Date.now() + ms;
    this.#awaits = true;
    const isOpen = (await this.#open()) !== null;
    if (isOpen) this.#update();
    else this.forget();
    return isOpen;
  }

  /** The call that was expected does not come. */
  forget() {
    this.#expectedUntil = 0;
    this.#awaits = false;
    this.#update();
  }

  /** Whether the other one of a call that is answered here is still being rung: the page knows. @param {boolean} is */
  set awaits(is) {
    this.#awaits = is;
    if (!is) for (const { call } of this.#calls.values()) call.join();
  }

  /** Hangs up the call with this id, or the one that is up. @param {string} [id] */
  hangUp(id) {
    this.#find(id, (call) => !call.ended)?.hangUp();
  }

  /** Sends keys into the call that is heard. @param {string} keys */
  press(keys) {
    const entry = this.#heard ? this.#calls.get(this.#heard) : undefined;
    if (entry?.call.press(keys)) entry.item.pressed(keys);
  }

  // --- what the server says

  /** @param {import("./phone-line.js").Ready} ready */
  #began(ready) {
    this.#ready = ready;
    if (!this.#isParty) this.#shell.owner.textContent = `${ready.name} · ${ready.extension}`;
    this.#say("Ready");
    const alive = new Set(ready.calls.map(({ id }) => id));
    for (const { call } of this.#calls.values()) {
      if (!alive.has(call.id)) call.end("The call ended while the server could not be reached.");
      // What was said while nobody could hear it.
      else if (call.ended) this.#line?.send({ type: "hangup", id: call.id });
      else void call.restart(true);
    }
    void this.#resumeAll(ready.calls.filter(({ id }) => !this.#calls.has(id)));
    this.#update();
  }

  /** Calls that outlived the page they were made on: the one that is talked on first. @param {import("./phone-line.js").Ready["calls"]} calls */
  async #resumeAll(calls) {
    for (const call of calls.toSorted((a, b) => Number(a.held) - Number(b.held))) await this.#resume(call);
  }

  /** @param {{ id: string, state: string, held: boolean }} known */
  async #resume({ id, state, held }) {
    // One that rings is announced by `incoming`.
    if (state === "ringing") return;
    const microphone = state === "up" ? await this.#open() : null;
    if (!microphone) return void this.#line?.send({ type: "hangup", id });
    const call = this.#add(id, { number: "", name: "The call from before" }, "up");
    call.since = Date.now();
    call.held = held;
    call.awaits = this.#awaits;
    await call.resume(microphone);
  }

  /** @param {import("./phone-line.js").Frame} frame */
  #take(frame) {
    if (frame.type === "incoming") return void this.#incoming(frame);
    if (frame.type === "ice_servers") {
      if (this.#ready) this.#ready.ice_servers = frame.ice_servers;
      return;
    }
    const call = this.#calls.get(frame.id)?.call;
    if (frame.type === "error") return this.#fault(frame, call);
    call?.take(frame);
  }

  /** @param {import("./phone-line.js").Frame} frame */
  async #incoming({ id, from, sdp }) {
    const known = this.#calls.get(id)?.call;
    if (known) return known.repeatAnswer();
    const isExpected = this.#isExpecting;
    if (isExpected) this.#expected = id;
    this.#expectedUntil = 0;
    const call = this.#add(id, this.#isParty ? { number: "", name: from.name || "The other side" } : from, "incoming");
    if (!isExpected) this.#shell.announce(`${nameOf(call.party)} calls you.`);
    this.#line?.send({ type: "ringing", id });
    try {
      await call.receive(sdp);
    } catch {
      return call.reject();
    }
    if (isExpected) await this.answer(id);
  }

  /**
   * @param {import("./phone-line.js").Frame} frame
   * @param {PhoneCall | undefined} call
   */
  #fault(frame, call) {
    if (frame.code === "transfer_refused") return this.#shell.complain("The transfer was refused: the call goes on.");
    if (call && frame.code === "rate_limited") return call.offerLater();
    if (call && ["unknown_call", "bad_sdp", "too_many_calls", "call_exists"].includes(frame.code)) {
      return call.end(frame.code === "too_many_calls" ? "This phone has too many calls." : causeText("normal"));
    }
    this.#shell.complain(frame.message);
  }

  /** No attempt to connect will help. @param {string} reason */
  #refused(reason) {
    for (const { call } of this.#calls.values()) call.end("The call ended: this phone is no longer signed in.");
    if (reason === "no_extension") {
      this.#say("Not connected");
      this.#shell.complain("You have no extension, so there is nothing to ring. Ask an administrator for one.");
    } else if (this.#isParty) {
      this.#say("Signed out");
      this.#shell.complain("You are signed out, so this page does not ring. To come back, open your link again.");
      this.#update();
    } else if (this.token === null) {
      this.#say("Signed out");
      const href = `/console/sign-in?next=${encodeURIComponent(location.pathname)}`;
      this.#shell.complain("You are signed out.", make("a", { href }, "Sign in again"));
    } else {
      this.#say("Not connected");
      this.#shell.complain("The server does not know this token any more.");
    }
  }

  // --- calls

  /**
   * @param {string} id
   * @param {{ number: string, name?: string }} party
   * @param {import("./phone-call.js").State} state
   */
  #add(id, party, state) {
    if (!this.#line) throw new Error("the phone is not in a page");
    const call = new PhoneCall(this.#line, id, party, state, this.#ready?.ice_servers ?? []);
    const item = new CallItem(call, this.#isParty);
    this.#calls.set(id, { call, item });
    this.#shell.calls.append(item.element);
    call.addEventListener("change", () => {
      item.show(call);
      if (call.ended) setTimeout(() => this.#forget(id), EPILOGUE);
      this.#update();
    });
    this.#update();
    return call;
  }

  /** @param {string} id */
  #forget(id) {
    const entry = this.#calls.get(id);
    if (!entry?.call.ended) return;
    entry.item.element.remove();
    this.#calls.delete(id);
    this.#update();
  }

  /**
   * @param {string | undefined} id
   * @param {(call: PhoneCall) => boolean} fits
   */
  #find(id, fits) {
    const all = [...this.#calls.values()].map(({ call }) => call);
    return all.find((call) => (id === undefined || call.id === id) && fits(call));
  }

  /** One call is heard at a time. @param {PhoneCall | null} but */
  #holdOthers(but) {
    for (const { call } of this.#calls.values()) {
      if (call !== but && call.state === "up" && !call.held) call.hold(true);
    }
  }

  /** Whoever was held for another call is talked to again when that has ended. @param {PhoneCall[]} living */
  #takeBack(living) {
    const last = living.at(-1);
    if (last && living.every((call) => call.held)) last.hold(false);
  }

  /** @param {PhoneCall} call @param {string} action */
  #act(call, action) {
    this.#shell.complain("");
    switch (action) {
      case "answer":
        return void this.answer(call.id);
      case "reject":
        return call.reject();
      case "mute":
        return call.mute(!call.muted);
      case "hold":
        // The others after it, so that at no time every call waits.
        call.hold(!call.held);
        return call.held ? this.#holdOthers(call) : undefined;
      case "transfer":
        return this.#calls.get(call.id)?.item.askWhereTo();
      case "hangup":
        return call.hangUp();
      case "dismiss":
        return this.#forget(call.id);
    }
  }

  // --- sound

  /** The microphone, or null after the reason is said. */
  async #open() {
    try {
      this.#microphone ??= await openMicrophone(this.#chosen.microphone);
    } catch (error) {
      this.#shell.complain(error instanceof SoundError ? error.message : String(error));
      return null;
    }
    this.#shell.complain("");
    this.#voice ??= new Level(this.#microphone, (level) => (this.#shell.voice.value = level));
    // Only now the browser tells their names.
    void this.#showDevices();
    return this.#microphone;
  }

  #close() {
    this.#voice?.stop();
    this.#voice = null;
    this.#shell.voice.value = 0;
    for (const track of this.#microphone?.getTracks() ?? []) track.stop();
    this.#microphone = null;
  }

  /** Lets one call be heard: the first that is not on hold. */
  #hear() {
    const call = this.#find(undefined, (call) => !call.ended && call.state !== "incoming" && !call.held);
    const tracks = call?.remote.getTracks().length ?? 0;
    const heard = call && tracks > 0 ? call.id : null;
    if (heard === this.#heard) return;
    this.#heard = heard;
    this.#far?.stop();
    this.#far = null;
    this.#shell.far.value = 0;
    this.#shell.audio.srcObject = call && heard ? call.remote : null;
    if (call && heard) this.#far = new Level(call.remote, (level) => (this.#shell.far.value = level));
  }

  #showDevices = async () => {
    const { microphones, speakers } = await listDevices();
    this.#shell.offer(this.#shell.microphones, microphones, this.#chosen.microphone);
    this.#shell.offer(this.#shell.speakers, speakers, this.#chosen.speaker);
    await this.#speakTo(this.#shell.speakers.value);
  };

  /** What is heard comes from this speaker from now on. @param {string} speaker */
  async #speakTo(speaker) {
    try {
      await this.#shell.audio.setSinkId?.(speaker);
    } catch {
      this.#shell.complain("That speaker cannot be used. Choose another one.");
    }
  }

  async #choose() {
    const microphone = this.#shell.microphones.value;
    const speaker = this.#shell.speakers.value;
    const other = microphone !== this.#chosen.microphone;
    this.#chosen = { microphone, speaker };
    localStorage.setItem(DEVICES, JSON.stringify(this.#chosen));
    await this.#speakTo(speaker);
    if (!other || !this.#microphone) return;
    this.#close();
    const fresh = await this.#open();
    if (!fresh) return;
    for (const { call } of this.#calls.values()) if (!call.ended) await call.speakBy(fresh);
  }

  // --- the page

  #listen() {
    const { form, number, pad, calls, microphones, speakers } = this.#shell;
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#shell.complain("");
      void this.call(number.value.trim());
    });
    pad.addEventListener("click", (event) => this.#key(buttonOf(event)?.value ?? ""));
    calls.addEventListener("click", (event) => {
      const button = buttonOf(event);
      const call = this.#callOf(button);
      if (button && call && button.type === "button") this.#act(call, button.value);
    });
    calls.addEventListener("submit", (event) => {
      event.preventDefault();
      if (!(event.target instanceof HTMLFormElement)) return;
      this.#callOf(event.target)?.transfer(String(new FormData(event.target).get("to")).trim());
    });
    for (const select of [microphones, speakers]) select.addEventListener("change", () => void this.#choose());
    this.shadowRoot?.addEventListener("keydown", (event) => {
      const typed = event.target instanceof HTMLInputElement;
      if (event instanceof KeyboardEvent && !typed && KEYS.includes(event.key)) this.#key(event.key);
    });
  }

  /** A key of the pad: into the call that is heard, else into the number. @param {string} key */
  #key(key) {
    if (this.#heard) this.press(key);
    else this.#shell.number.value += key;
  }

  /** @param {Element | null | undefined} element */
  #callOf(element) {
    const item = element?.closest("li");
    return this.#calls.get(item?.dataset.call ?? "")?.call;
  }

  #lookForWays = () => {
    for (const { call } of this.#calls.values()) void call.restart();
  };

  #tick() {
    for (const { call, item } of this.#calls.values()) item.tick(call);
    // The call that was expected has not come in time: the microphone is not kept for it.
    if (this.#expectedUntil > 0 && !this.#isExpecting) this.forget();
  }

  /** @param {string} status */
  #say(status) {
    this.#write(status);
    this.#update();
  }

  /** @param {string} status */
  #write(status) {
    // A live region that is written again speaks again.
    if (this.#shell.status.textContent !== status) this.#shell.status.textContent = status;
  }

  #update() {
    const living = [...this.#calls.values()].map(({ call }) => call).filter((call) => !call.ended);
    const talks = living.some((call) => call.state !== "incoming");
    if (living.some((call) => call.state === "incoming" && call.id !== this.#expected)) this.#bell.ring(talks);
    else this.#bell.stop();
    this.#hear();
    const isIdle = living.length === 0 && !this.#dialling && !this.#isExpecting;
    if (isIdle && this.#microphone) this.#close();
    if (this.#isParty) {
      this.#takeBack(living);
      this.#showWhenNeeded(isIdle);
    }
    this.#shell.dial.disabled = !this.#line?.online || this.#dialling;
    this.#tell();
  }

  /** The phone of a meeting's page is seen while there is a call, or something to say. @param {boolean} isIdle */
  #showWhenNeeded(isIdle) {
    const online = this.#line?.online ?? false;
    if (online) this.#write(this.#isExpecting ? "Calling you …" : "Ready");
    const isLost = this.#ready !== null && !online;
    this.#shell.root.hidden = isIdle && this.#calls.size === 0 && this.#shell.problem.hidden && !isLost;
  }

  #tell() {
    this.dispatchEvent(new CustomEvent("phonechange", { detail: this.view, bubbles: true, composed: true }));
  }
}

/** @param {Event} event */
function detail(event) {
  return event instanceof CustomEvent ? event.detail : undefined;
}

/** @param {Event} event */
function buttonOf(event) {
  return event.target instanceof Element ? event.target.closest("button") : null;
}

customElements.define("tandem-phone", TandemPhone);
