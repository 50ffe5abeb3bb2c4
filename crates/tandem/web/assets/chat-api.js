// @ts-check
/**
 * What a chat asks the server outside its socket: opening a room, reading it, files, the forms beside it.
 */

/**
 * @typedef {{ title: string, greeting: string, accent: string, accent_text: string, theme: "auto" | "light" | "dark",
 *             position: "left" | "right", locale: string, product: string, is_open: boolean, opens_at: string | null,
 *             has_offline_form: boolean, identity: string, max_characters: number, max_upload_bytes: number,
 *             origins: string[] }} Settings
 * @typedef {{ id: string, state: "open" | "closed", seq_head: number }} Room
 * @typedef {{ room: Room, token?: string }} Opened
 * @typedef {{ read: number, delivered: number }} Mark
 * @typedef {{ marks: { visitor: Mark, support: Mark }, rated: boolean }} Standing
 * @typedef {{ token?: string, user_id?: string, user_hash?: string, name?: string, email?: string }} Identity
 * @typedef {{ file: string, name: string, type: string, size: number }} Attachment
 */

/** Answers without a body: 202 Accepted, 204 No Content. */
const EMPTY = [202, 204];
/** A file that takes longer has lost its line, ms. */
const UPLOAD_WITHIN = 130_000;

/** A request that the server refused, with the word for it. */
export class Refused extends Error {
  /** @param {number} status @param {string} code @param {string} message @param {number | null} retryAfter seconds */
  constructor(status, code, message, retryAfter) {
    super(message);
    this.status = status;
    this.code = code;
    this.retryAfter = retryAfter;
  }

  /** Whether the credential is no longer good, or never was. */
  get isStale() {
    return this.status === 401 || this.status === 403 || this.status === 404;
  }
}

export class ChatApi {
  /** The visitor's token, once there is one. @type {string | null} */
  token = null;
  #base;
  #app;

  /**
   * @param {string} base origin of the server
   * @param {string} app id of the application
   */
  constructor(base, app) {
    this.#base = base;
    this.#app = app;
  }

  /** Where the socket is. */
  get socketUrl() {
    const url = new URL("/v1/chat/socket", this.#base);
    url.protocol = url.protocol.replace("http", "ws");
    return url.href;
  }

  /** What everybody may know of the widget. @returns {Promise<Settings>} */
  settings() {
    return this.#ask("GET", `/v1/chat/widget/${this.#app}`);
  }

  /**
   * Opens a room, or finds the visitor's own.
   * @param {{ product?: string, link?: string, identity?: Identity, page?: string, locale?: string, fresh?: boolean, look?: boolean }} wish `look`: none is made, 404 where there is none
   * @returns {Promise<Opened>}
   */
  open(wish) {
    return this.#ask("POST", `/v1/chat/widget/${this.#app}/rooms`, wish);
  }

  /** @param {string} room @returns {Promise<Room>} */
  room(room) {
    return this.#ask("GET", `/v1/chat/rooms/${room}`);
  }

  /** What a visitor's page must know of a room beside that. @param {string} room @returns {Promise<Standing>} */
  standing(room) {
    return this.#ask("GET", `/v1/chat/rooms/${room}/standing`);
  }

  /** Ends the chat. @param {string} room */
  end(room) {
    return this.#ask("POST", `/v1/chat/rooms/${room}/end`, {});
  }

  /**
   * The messages after a number.
   * @param {string} room
   * @param {number} after
   * @returns {Promise<{ messages: import("./chat-thread.js").Message[], head: number }>}
   */
  messages(room, after) {
    return this.#ask("GET", `/v1/chat/rooms/${room}/messages?after=${after}&limit=200`);
  }

  /** @param {string} room @param {{ score: number, comment?: string }} rating */
  rate(room, rating) {
    return this.#ask("POST", `/v1/chat/rooms/${room}/rating`, rating);
  }

  /** @param {string} room @param {{ email: string, locale: string, zone?: string }} wish */
  transcript(room, wish) {
    return this.#ask("POST", `/v1/chat/rooms/${room}/transcript`, wish);
  }

  /** @param {{ cid: string, name: string, email: string, message: string, product?: string, page?: string }} form `cid`: by it the server takes a form once */
  leaveMessage(form) {
    return this.#ask("POST", `/v1/chat/widget/${this.#app}/offline`, form);
  }

  /**
   * Brings a file to the server: a place is asked for, then filled.
   * @param {string} room
   * @param {File} file
   * @param {(part: number) => void} progress from 0 to 1
   * @returns {Promise<Attachment>}
   */
  async upload(room, file, progress) {
    const place = { room, name: file.name, type: file.type, size: file.size };
    const { upload_url: url } = await this.#ask("POST", "/v1/chat/uploads", place);
    return put(new URL(url, this.#base).href, file, progress);
  }

  /** The content of an attachment. @param {string} file its id @returns {Promise<Blob>} */
  async file(file) {
    const answer = await fetch(new URL(`/v1/chat/files/${file}`, this.#base), { headers: this.#headers(), credentials: "same-origin" });
    if (!answer.ok) throw await refusal(answer);
    return answer.blob();
  }

  #headers() {
    return this.token ? { authorization: `Bearer ${this.token}` } : /** @type {Record<string, string>} */ ({});
  }

  /** @param {string} method @param {string} path @param {unknown} [body] @returns {Promise<any>} */
  async #ask(method, path, body) {
    const init = body === undefined ? {} : { body: JSON.stringify(body) };
    const headers = { ...this.#headers(), ...(body === undefined ? {} : { "content-type": "application/json" }) };
    const answer = await fetch(new URL(path, this.#base), { method, headers, credentials: "same-origin", ...init });
    if (!answer.ok) throw await refusal(answer);
    return EMPTY.includes(answer.status) ? null : answer.json();
  }
}

/** @param {Response} answer */
async function refusal(answer) {
  const problem = await answer.json().catch(() => ({}));
  const wait = answer.headers.get("retry-after");
  return new Refused(answer.status, problem.code ?? "", problem.detail ?? problem.title ?? "", wait === null ? null : Number(wait));
}

/** @param {string} url @param {File} file @param {(part: number) => void} progress @returns {Promise<Attachment>} */
function put(url, file, progress) {
  // `fetch` does not tell how much has gone.
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("PUT", url);
    // What it is, the server knows by its content.
    request.responseType = "json";
    request.upload.onprogress = ({ loaded, total }) => progress(total > 0 ? loaded / total : 0);
    request.onload = () => (request.status < 300 ? resolve(request.response) : reject(new Refused(request.status, "", request.statusText, null)));
    request.timeout = UPLOAD_WITHIN;
    request.onerror = request.ontimeout = request.onabort = () => reject(new Refused(0, "network", "", null));
    request.send(file);
  });
}
