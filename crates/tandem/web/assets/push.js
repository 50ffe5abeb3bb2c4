// @ts-check
/**
 * Web push, as a page asks for it: this browser is told of news while no page is open. Permission is asked for only by a
 * click; what stays in the browser is whose wish it was.
 */

const WORKER = "/push-worker.js";
const PATH = "/v1/chat/push";

/** Why it is not told. @typedef {"" | "denied" | "failed"} Trouble */

export class Push {
  #scope;
  #memory;
  #headers;
  #more;

  /**
   * @param {string} scope of the pages it is for
   * @param {string} memory under which the wish stands
   * @param {() => Record<string, string>} headers that say who asks
   * @param {() => object} more what the server is told beside the browser's keys
   */
  constructor(scope, memory, headers = () => ({}), more = () => ({})) {
    this.#scope = scope;
    this.#memory = memory;
    this.#headers = headers;
    this.#more = more;
  }

  /** Whether this browser could be told at all. */
  static get isPossible() {
    return isSecureContext && "serviceWorker" in navigator && "PushManager" in globalThis && "Notification" in globalThis;
  }

  /** Whether it is wanted. */
  get isOn() {
    return Push.isPossible && Notification.permission === "granted" && read(this.#memory) === "on";
  }

  /** From now on; by a click. @returns {Promise<Trouble>} */
  async on() {
    if ((await Notification.requestPermission()) !== "granted") return "denied";
    keep(this.#memory, "on");
    if (await this.renew()) return "";
    keep(this.#memory, null);
    return "failed";
  }

  /** Says again that it is wanted: an address changes, and another session speaks for the browser. @returns {Promise<boolean>} */
  async renew() {
    try {
      const registration = await navigator.serviceWorker.register(WORKER, { scope: this.#scope });
      await running(registration);
      const answer = await this.#ask("GET");
      if (!answer.ok) return false;
      const key = decode((await answer.json()).public_key);
      let subscription = await registration.pushManager.getSubscription();
      if (subscription && !isSame(subscription.options.applicationServerKey, key)) {
        // The server has another key than the one that this was made for.
        await subscription.unsubscribe();
        subscription = null;
      }
      subscription ??= await registration.pushManager.subscribe({ userVisibleOnly: true, applicationServerKey: key });
      return (await this.#ask("POST", { ...subscription.toJSON(), ...this.#more() })).ok;
    } catch {
      // No push service, or no network: the page goes on without it.
      return false;
    }
  }

  /** No longer. Others of these pages may go on: the browser keeps its address. */
  async off() {
    keep(this.#memory, null);
    try {
      const registration = await navigator.serviceWorker.getRegistration(this.#scope);
      const subscription = await registration?.pushManager.getSubscription();
      if (!subscription) return;
      const ended = this.#ask("DELETE", { endpoint: subscription.endpoint }).then(({ ok }) => ok, () => false);
      // What the server was not told of ends here: its next message finds nobody.
      if (!(await ended)) await subscription.unsubscribe();
    } catch {
      // The server forgets it with the credential.
    }
  }

  /** @param {string} method @param {object} [body] */
  #ask(method, body) {
    const headers = { ...this.#headers(), ...(body ? { "content-type": "application/json" } : {}) };
    return fetch(PATH, { method, headers, credentials: "same-origin", ...(body ? { body: JSON.stringify(body) } : {}) });
  }
}

/** @param {ServiceWorkerRegistration} registration */
async function running(registration) {
  const worker = registration.active ? null : (registration.installing ?? registration.waiting);
  if (!worker) return;
  await new Promise((resolve) => worker.addEventListener("statechange", () => worker.state !== "installed" && resolve(null)));
}

/** @param {string} text base64url */
function decode(text) {
  return Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (letter) => letter.charCodeAt(0));
}

/** @param {ArrayBuffer | null} one @param {Uint8Array} other */
function isSame(one, other) {
  return one !== null && new Uint8Array(one).join() === other.join();
}

/** @param {string} key */
function read(key) {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}

/** @param {string} key @param {string | null} value */
function keep(key, value) {
  try {
    if (value === null) localStorage.removeItem(key);
    else localStorage.setItem(key, value);
  } catch {
    // A browser that keeps nothing is told until its session ends.
  }
}
