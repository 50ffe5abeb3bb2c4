// @ts-check
/**
 * The line of a chat: a WebSocket that carries frames of JSON, opened again whenever it is lost; server-sent events and
 * requests where no WebSocket passes (chat-stream.js).
 *
 * The frames stand in crates/tandem/src/chat/socket/wire.rs. What is said waits here until the server has acknowledged it,
 * one message after the other, and is said again under the same name when the line was lost: so it arrives once and in
 * order. What was missed the server tells from the cursors that the hello names.
 */

import { ChatStream } from "./chat-stream.js";

/** Between two attempts to open the socket, ms: the first, and the most. */
const FIRST_PAUSE = 400;
const LONGEST_PAUSE = 15_000;
/** So often the server is asked for a sign of life, and so long it may take, ms. */
const PING_EVERY = 25_000;
const PONG_WITHIN = 8_000;
/** An acknowledgement that takes longer than this is asked for again on a fresh socket, ms. */
const ACK_WITHIN = 12_000;
/** What is done when the server asks for patience and does not say how long, ms. */
const PATIENCE = 3_000;
/** Refusals that pass, and how often a message is tried again after them, or after no answer at all. */
const PASSING = ["rate_limited", "internal", "unavailable", "conflict"];
const MOST_TRIES = 3;
/** Refusals that another attempt does not change: the credential is not good. */
const FINAL = ["unauthorized", "forbidden", "foreign_origin"];
/** The same as the code of a close frame. */
const FINAL_CLOSE = [4401, 4403];
/** The words of a close frame: the visitor has opened so many newer lines that this one had to give way. */
const OUTED = "too many sockets";
/** A WebSocket that failed so often before the server answered does not pass here; where it did, the network is down first of all. */
const MISSES = 3;
const MISSES_AFTER = 12;
/** After so long by another way the WebSocket is tried again, ms. */
const SOCKET_AGAIN = 5 * 60_000;
/** Such a line comes back when its page is looked at; and if it is looked at all the time, after this, ms. */
const REST = 30_000;

/**
 * @typedef {{ type: string, [member: string]: any }} Frame
 * @typedef {{ room: string, cid: string, kind: string, body: any }} Said
 */

/**
 * Dispatches `ready` and `frame` (both with the frame as detail), `offline`, `failed` (a message that the server does not
 * take, with `said` and the `error`), `waiting` (the server asks for patience: seconds), and `refused` with a word as detail
 * when no attempt will help.
 */
export class ChatLine extends EventTarget {
  /** @type {WebSocket | ChatStream | null} */
  #socket = null;
  /** How often in a row the WebSocket was not answered, and how often it takes to try the other way. */
  #misses = 0;
  #patienceWithSocket = MISSES;
  /** @type {number | undefined} */
  #againTimer;
  /** A WebSocket that is tried while the stream works. @type {WebSocket | null} */
  #trial = null;
  #pause = FIRST_PAUSE;
  /** @type {number | undefined} */
  #timer;
  /** @type {number | undefined} */
  #pinger;
  /** @type {number | undefined} */
  #patience;
  /** @type {number | undefined} */
  #ackTimer;
  #ready = false;
  #closed = true;
  #url;
  #token;
  #cursors;
  /** What is to be said, oldest first. @type {Said[]} */
  #queue = [];
  /** Whether the first of the queue is on its way. */
  #underWay = false;
  /** How often the first was tried. */
  #tries = 0;
  /** A newer line of the visitor has its place. */
  #isResting = false;

  /**
   * @param {string} url of the socket
   * @param {string | null} token of whoever speaks; null where a cookie speaks for them
   * @param {() => Record<string, number>} cursors the last number seen of each room
   */
  constructor(url, token, cursors) {
    super();
    this.#url = url;
    this.#token = token;
    this.#cursors = cursors;
  }

  /** Whether the server answers. */
  get online() {
    return this.#ready;
  }

  /** Opens the line, and keeps it open until {@link close}. */
  open() {
    if (!this.#closed) return;
    this.#closed = false;
    addEventListener("online", this.#hurry);
    addEventListener("offline", this.#doubt);
    addEventListener("focus", this.#look);
    document.addEventListener("visibilitychange", this.#look);
    this.#connect();
  }

  /** Closes it for good. */
  close() {
    this.#closed = true;
    removeEventListener("online", this.#hurry);
    removeEventListener("offline", this.#doubt);
    removeEventListener("focus", this.#look);
    document.removeEventListener("visibilitychange", this.#look);
    clearTimeout(this.#timer);
    this.#drop();
  }

  /**
   * Sends a frame that may be lost: typing, a draft, how far was read.
   * @param {Frame} frame
   * @returns {boolean} whether it left
   */
  send(frame) {
    if (!this.#ready || this.#socket?.readyState !== WebSocket.OPEN) return false;
    this.#socket.send(JSON.stringify(frame));
    return true;
  }

  /** Says something that must arrive: once, and after all that was said before. @param {Said} said */
  say(said) {
    if (this.#queue.some(({ cid }) => cid === said.cid)) return;
    this.#queue.push(said);
    if (this.#isResting) this.#hurry();
    this.#next();
  }

  #next() {
    const first = this.#queue[0];
    if (!first || this.#underWay || !this.send({ type: "send", ...first })) return;
    this.#underWay = true;
    clearTimeout(this.#ackTimer);
    this.#ackTimer = setTimeout(() => this.#unanswered(first), ACK_WITHIN);
  }

  /** The server has not answered to a message, though it may be there: others are not to wait for ever. @param {Said} said */
  #unanswered(said) {
    this.#tries += 1;
    if (this.#tries >= MOST_TRIES) this.#giveUp(said, { code: "unanswered" });
    this.#lost();
  }

  /** @param {Said} said @param {any} error */
  #giveUp(said, error) {
    this.#settled(said.cid);
    this.dispatchEvent(new CustomEvent("failed", { detail: { said, error } }));
  }

  /** @param {string} cid */
  #settled(cid) {
    if (this.#queue[0]?.cid !== cid) return;
    this.#queue.shift();
    this.#underWay = false;
    this.#tries = 0;
    clearTimeout(this.#ackTimer);
    this.#next();
  }

  /** @param {Frame} error about a message */
  #refusedMessage(error) {
    const said = this.#queue[0];
    if (!said || said.cid !== error.cid) return;
    const isAsked = error.retry_after !== undefined || error.code === "rate_limited";
    this.#tries += isAsked ? 0 : 1;
    if (!isAsked && (!PASSING.includes(error.code) || this.#tries >= MOST_TRIES)) return this.#giveUp(said, error);
    clearTimeout(this.#ackTimer);
    const wait = error.retry_after === undefined ? PATIENCE : error.retry_after * 1_000;
    this.dispatchEvent(new CustomEvent("waiting", { detail: Math.ceil(wait / 1_000) }));
    this.#ackTimer = setTimeout(() => {
      this.#underWay = false;
      this.#next();
    }, wait);
  }

  #doubt = () => this.#probe();

  #look = () => {
    if (document.visibilityState === "visible") this.#hurry();
  };

  #hurry = () => {
    if (this.#ready) return this.#probe();
    this.#pause = FIRST_PAUSE;
    if (this.#socket === null && !this.#closed) this.#connect();
  };

  #probe() {
    if (!this.#ready || this.#patience !== undefined) return;
    // The stream answers within the call, and whatever comes ends the patience.
    this.#patience = setTimeout(() => this.#lost(), PONG_WITHIN);
    this.send({ type: "ping" });
  }

  #connect() {
    clearTimeout(this.#timer);
    this.#isResting = false;
    const socket = this.#way();
    if (socket === null) return this.#lost();
    this.#socket = socket;
    socket.onopen = () => {
      const hello = { type: "hello", token: this.#token ?? undefined, rooms: this.#cursors() };
      socket.send(JSON.stringify(hello));
    };
    socket.onmessage = (/** @type {{ data: string }} */ { data }) => this.#take(JSON.parse(data));
    socket.onclose = (/** @type {{ code: number, reason: string }} */ { code, reason }) => {
      if (FINAL_CLOSE.includes(code)) return this.#refused("unauthorized");
      return reason === OUTED ? this.#rest() : this.#lost();
    };
    this.#patience = setTimeout(() => this.#lost(), PONG_WITHIN * 2);
  }

  /** A socket, or what takes its place; null where the page may open none. */
  #way() {
    if (this.#misses >= this.#patienceWithSocket) return new ChatStream(this.#url);
    try {
      return new WebSocket(this.#url);
    } catch {
      return null;
    }
  }

  /** A WebSocket passes here. */
  #passed() {
    this.#misses = 0;
    this.#patienceWithSocket = MISSES_AFTER;
  }

  /** The way that was tried did not lead to the server: the other one is next, at last. */
  #missed() {
    this.#misses = this.#socket instanceof ChatStream ? this.#patienceWithSocket - 1 : this.#misses + 1;
  }

  /** @param {Frame} frame */
  #take(frame) {
    // Whatever came, the server is there.
    clearTimeout(this.#patience);
    this.#patience = undefined;
    switch (frame.type) {
      case "pong":
        return;
      case "ready":
        this.#began(frame);
        return;
      case "error":
        if (!this.#ready && FINAL.includes(frame.code)) return this.#refused(frame.code);
        if (frame.cid !== undefined) return this.#refusedMessage(frame);
        // The socket will be closed for it, and the line opened again.
        if (frame.code === "rate_limited") return;
        break;
      case "ack":
        this.dispatchEvent(new CustomEvent("frame", { detail: frame }));
        return this.#settled(frame.cid);
    }
    this.dispatchEvent(new CustomEvent("frame", { detail: frame }));
  }

  /** @param {Frame} frame */
  #began(frame) {
    this.#ready = true;
    if (this.#socket instanceof ChatStream) this.#againTimer = setTimeout(() => this.#trySocket(), SOCKET_AGAIN);
    else this.#passed();
    this.#underWay = false;
    this.#pause = FIRST_PAUSE;
    clearInterval(this.#pinger);
    this.#pinger = setInterval(() => this.#probe(), PING_EVERY);
    this.dispatchEvent(new CustomEvent("ready", { detail: frame }));
    this.#next();
  }

  /** @param {string} reason */
  #refused(reason) {
    this.close();
    this.dispatchEvent(new CustomEvent("refused", { detail: reason }));
  }

  /** The network may be another by now: beside the stream, which works until a WebSocket has come through. */
  #trySocket() {
    this.#endTrial();
    this.#againTimer = setTimeout(() => this.#trySocket(), SOCKET_AGAIN);
    try {
      this.#trial = new WebSocket(this.#url);
    } catch {
      return;
    }
    this.#trial.onopen = () => {
      this.#drop();
      this.#misses = this.#patienceWithSocket - 1;
      this.#connect();
    };
  }

  #endTrial() {
    if (this.#trial === null) return;
    this.#trial.onopen = null;
    this.#trial.close();
    this.#trial = null;
  }

  #drop() {
    this.#endTrial();
    clearInterval(this.#pinger);
    clearTimeout(this.#againTimer);
    clearTimeout(this.#patience);
    clearTimeout(this.#ackTimer);
    this.#patience = undefined;
    this.#underWay = false;
    const socket = this.#socket;
    this.#socket = null;
    if (socket) {
      socket.onopen = socket.onmessage = socket.onclose = null;
      socket.close();
    }
    this.#ready = false;
  }

  #rest() {
    this.#drop();
    this.#isResting = true;
    this.#timer = setTimeout(this.#look, REST);
  }

  #lost() {
    if (!this.#ready) this.#missed();
    this.#drop();
    if (this.#closed) return;
    this.dispatchEvent(new Event("offline"));
    // Half of the pause is chance, so that a thousand visitors do not come back in one moment.
    const pause = this.#pause * (0.5 + Math.random() / 2);
    this.#pause = Math.min(this.#pause * 2, LONGEST_PAUSE);
    this.#timer = setTimeout(() => this.#connect(), pause);
  }
}
