// @ts-check
/**
 * The line of a chat where no WebSocket passes: what the server says comes as server-sent events, what is said goes by
 * requests. It has the face of a WebSocket, so that whoever speaks by it need not know which of the two it is.
 *
 * Signs of typing and drafts are lost here: no request brings them.
 */

/** The server says something at least every 20 s, if only that it is there; after so long without it is gone, ms. */
const SILENCE = 50_000;
/** Rooms that a stream can have cursors for. */
const MAX_ROOMS = 50;
/** A request that has no answer after so long has none, ms. */
const ANSWER_WITHIN = 10_000;
/** What an answer without a body is called. */
const NETWORK = "unavailable";
/** What the two credentials that are not good are called. @type {Record<number, string>} */
const REFUSALS = { 401: "unauthorized", 403: "forbidden" };

/** @typedef {import("./chat-line.js").Frame} Frame */

export class ChatStream {
  /** @type {(() => void) | null} */
  onopen = null;
  /** @type {((message: { data: string }) => void) | null} */
  onmessage = null;
  /** @type {((end: { code: number, reason: string }) => void) | null} */
  onclose = null;
  /** @type {number} */
  readyState = WebSocket.CONNECTING;
  #base;
  /** @type {string | undefined} */
  #token;
  #end = new AbortController();
  #heardAt = 0;

  /** @param {string} url of the socket whose place it takes */
  constructor(url) {
    this.#base = new URL(url);
    this.#base.protocol = this.#base.protocol.replace("ws", "http");
    setTimeout(() => {
      if (this.readyState !== WebSocket.CONNECTING) return;
      this.readyState = WebSocket.OPEN;
      this.onopen?.();
    });
  }

  close() {
    this.readyState = WebSocket.CLOSED;
    this.#end.abort();
  }

  /** Takes a frame on its way. @param {string} text */
  send(text) {
    const frame = /** @type {Frame} */ (JSON.parse(text));
    const room = `/v1/chat/rooms/${frame.room}`;
    switch (frame.type) {
      case "hello":
        this.#token = frame.token;
        return void this.#listen(frame.rooms);
      case "ping":
        return Date.now() - this.#heardAt < SILENCE ? this.#say({ type: "pong" }) : undefined;
      case "send":
        return void this.#bring(frame);
      case "read":
        return void this.#ask("POST", `${room}/read`, { read: frame.seq }).catch(() => undefined);
      case "delivered":
        return void this.#ask("POST", `${room}/read`, { delivered: frame.seq }).catch(() => undefined);
      case "edit":
        return void this.#change(frame, "PATCH", `${room}/messages/${frame.seq}`, { body: frame.body });
      case "delete":
        return void this.#change(frame, "DELETE", `${room}/messages/${frame.seq}`);
    }
  }

  /** @param {Frame} frame */
  async #bring({ room, cid, kind, body, author }) {
    try {
      const ack = await this.#ask("POST", `/v1/chat/rooms/${room}/messages`, { cid, kind, body, author });
      this.#say({ type: "ack", room, cid, seq: ack.seq, id: ack.id, at: ack.at });
    } catch (error) {
      this.#say({ type: "error", room, cid, ...codeOf(error) });
    }
  }

  /** @param {Frame} frame @param {string} method @param {string} path @param {unknown} [body] */
  async #change({ room, seq }, method, path, body) {
    await this.#ask(method, path, body).catch((error) => this.#say({ type: "error", room, seq, ...codeOf(error) }));
  }

  /** @param {Record<string, number>} rooms */
  async #listen(rooms) {
    const cursors = Object.entries(rooms).slice(-MAX_ROOMS);
    const query = new URLSearchParams({ rooms: cursors.map(([room, seq]) => `${room}:${seq}`).join(",") });
    try {
      const answer = await fetch(new URL(`/v1/chat/events?${query}`, this.#base), { headers: this.#headers(), credentials: "same-origin", signal: this.#end.signal });
      const refused = REFUSALS[answer.status];
      if (refused) this.#say({ type: "error", code: refused });
      if (answer.ok && answer.body) await this.#read(answer.body);
    } catch {
      // Cut, or closed by whoever listened.
    }
    this.#over();
  }

  /** @param {ReadableStream<Uint8Array>} body */
  async #read(body) {
    const reader = body.getReader();
    const decoder = new TextDecoder();
    let text = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      this.#heardAt = Date.now();
      const events = (text + decoder.decode(value, { stream: true })).split("\n\n");
      text = events.pop() ?? "";
      for (const event of events) this.#take(event);
    }
  }

  /** @param {string} event its lines */
  #take(event) {
    const data = event.split("\n").filter((line) => line.startsWith("data:"));
    if (data.length > 0) this.#hand(data.map((line) => line.slice(5).replace(/^ /, "")).join("\n"));
  }

  /** @param {Frame} frame */
  #say(frame) {
    this.#hand(JSON.stringify(frame));
  }

  /** @param {string} data */
  #hand(data) {
    if (this.readyState === WebSocket.OPEN) this.onmessage?.({ data });
  }

  #over() {
    if (this.readyState === WebSocket.CLOSED) return;
    this.readyState = WebSocket.CLOSED;
    this.onclose?.({ code: 1006, reason: "" });
  }

  #headers() {
    return this.#token ? { authorization: `Bearer ${this.#token}` } : /** @type {Record<string, string>} */ ({});
  }

  /** @param {string} method @param {string} path @param {unknown} [body] @returns {Promise<any>} */
  async #ask(method, path, body) {
    const more = body === undefined ? {} : { body: JSON.stringify(body) };
    const headers = { ...this.#headers(), ...(body === undefined ? {} : { "content-type": "application/json" }) };
    // Not `AbortSignal.timeout`: browsers before 2022 do not have it.
    const late = new AbortController();
    const timer = setTimeout(() => late.abort(), ANSWER_WITHIN);
    const answer = await fetch(new URL(path, this.#base), { method, headers, credentials: "same-origin", signal: late.signal, ...more }).finally(() => clearTimeout(timer));
    const said = await answer.json().catch(() => ({}));
    if (answer.ok) return said;
    const wait = answer.headers.get("retry-after");
    throw Object.assign(new Error(said.detail ?? said.title ?? ""), { code: said.code, retry_after: wait === null ? undefined : Number(wait) });
  }
}

/** The word for what went wrong, as a frame has it. @param {any} error */
function codeOf({ code, retry_after, message }) {
  return { code: typeof code === "string" ? code : NETWORK, message, ...(retry_after === undefined ? {} : { retry_after }) };
}
