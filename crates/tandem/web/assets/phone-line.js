// @ts-check
/**
 * The line of a browser phone: a WebSocket to the server that carries frames of JSON, opened again whenever it is lost.
 *
 * The frames stand in crates/voice/src/rtc/frame.rs. Whoever uses a line sees two states, online and offline; frames
 * that are sent while it is offline are dropped, because the server forgets nothing and tells all when it is back.
 */

/** Between two attempts to open the socket, ms: the first, and the most. */
const FIRST_PAUSE = 500;
const LONGEST_PAUSE = 8_000;
/** So often the server is asked for a sign of life, and so long it may take, ms. */
const PING_EVERY = 15_000;
const PONG_WITHIN = 5_000;
/** Where the phone's name waits while a page is loaded anew. */
const MEMORY = "tandem-phone";
/**
 * Refusals that another attempt does not change, by the close frame's code, and what they are called.
 * @type {Record<number, string>}
 */
const FINAL = { 4401: "unauthorized", 4403: "no_extension" };

/**
 * @typedef {{ type: string, [member: string]: any }} Frame
 * @typedef {{ phone: string, extension: string, name: string, ice_servers: RTCIceServer[],
 *             calls: { id: string, state: "calling" | "ringing" | "up", held: boolean }[] }} Ready
 */

/**
 * Dispatches `ready` and `frame` (both with the frame as detail), `offline`, and `refused` with the reason as detail when
 * no attempt will help.
 */
export class PhoneLine extends EventTarget {
  /** @type {WebSocket | null} */
  #socket = null;
  /** The name that the server gave this phone. @type {string | null} */
  #phone = null;
  #pause = FIRST_PAUSE;
  /** @type {number | undefined} */
  #timer;
  /** @type {number | undefined} */
  #pinger;
  /** @type {number | undefined} */
  #patience;
  #open = false;
  #closed = true;
  #url;
  #token;

  /**
   * @param {string} url of the socket
   * @param {string | null} token of the person; null where a cookie speaks for them
   */
  constructor(url, token) {
    super();
    this.#url = url;
    this.#token = token;
  }

  /** Whether the server answers. */
  get online() {
    return this.#open;
  }

  /** Opens the line, and keeps it open until {@link close}. */
  open() {
    if (!this.#closed) return;
    this.#closed = false;
    // A name that was kept is used once: a copy of this tab must not claim the same phone.
    this.#phone ??= sessionStorage.getItem(MEMORY);
    sessionStorage.removeItem(MEMORY);
    addEventListener("online", this.#hurry);
    addEventListener("offline", this.#doubt);
    addEventListener("pagehide", this.#remember);
    this.#connect();
  }

  /** Closes it for good: the phone is gone. */
  close() {
    this.#closed = true;
    removeEventListener("online", this.#hurry);
    removeEventListener("offline", this.#doubt);
    removeEventListener("pagehide", this.#remember);
    clearTimeout(this.#timer);
    this.#drop();
  }

  /**
   * Sends a frame.
   * @param {Frame} frame
   * @returns {boolean} whether it left
   */
  send(frame) {
    if (!this.#open || this.#socket?.readyState !== WebSocket.OPEN) return false;
    this.#socket.send(JSON.stringify(frame));
    return true;
  }

  /** Asks whether the server is still there; if it does not answer, the socket is opened anew. */
  probe() {
    if (!this.#open) {
      this.#hurry();
      return;
    }
    if (this.#patience !== undefined) return;
    this.send({ type: "ping" });
    this.#patience = setTimeout(() => this.#lost(), PONG_WITHIN);
  }

  #remember = () => {
    if (this.#phone) sessionStorage.setItem(MEMORY, this.#phone);
  };

  #doubt = () => this.probe();

  #hurry = () => {
    if (this.#open) {
      this.probe();
      return;
    }
    this.#pause = FIRST_PAUSE;
    if (this.#socket === null) this.#connect();
  };

  #connect() {
    clearTimeout(this.#timer);
    const socket = new WebSocket(this.#url);
    this.#socket = socket;
    socket.onopen = () => {
      const hello = { type: "hello", phone: this.#phone ?? undefined, token: this.#token ?? undefined };
      socket.send(JSON.stringify(hello));
    };
    socket.onmessage = (message) => this.#take(JSON.parse(message.data));
    socket.onclose = ({ code }) => (FINAL[code] ? this.#refused(FINAL[code]) : this.#lost());
    this.#patience = setTimeout(() => this.#lost(), PONG_WITHIN * 2);
  }

  /** @param {Frame} frame */
  #take(frame) {
    // Whatever came, the server is there.
    clearTimeout(this.#patience);
    this.#patience = undefined;
    if (frame.type === "pong") return;
    if (frame.type === "ready") {
      this.#open = true;
      this.#phone = frame.phone;
      this.#pause = FIRST_PAUSE;
      this.#pinger = setInterval(() => this.probe(), PING_EVERY);
    }
    this.dispatchEvent(new CustomEvent(frame.type === "ready" ? "ready" : "frame", { detail: frame }));
  }

  /** @param {string} reason */
  #refused(reason) {
    this.close();
    this.dispatchEvent(new CustomEvent("refused", { detail: reason }));
  }

  #drop() {
    clearInterval(this.#pinger);
    clearTimeout(this.#patience);
    this.#patience = undefined;
    const socket = this.#socket;
    this.#socket = null;
    if (socket) {
      socket.onopen = socket.onmessage = socket.onclose = null;
      socket.close();
    }
    this.#open = false;
  }

  #lost() {
    this.#drop();
    if (this.#closed) return;
    this.dispatchEvent(new Event("offline"));
    // Half of the pause is chance, so that a thousand phones do not come back in one moment.
    const pause = this.#pause * (0.5 + Math.random() / 2);
    this.#pause = Math.min(this.#pause * 2, LONGEST_PAUSE);
    this.#timer = setTimeout(() => this.#connect(), pause);
  }
}
