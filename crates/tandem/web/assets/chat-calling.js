// @ts-check
/**
 * What pages ask the server for a call in a chat. No element stands here: the visitor's chat and the inbox use it alike.
 *
 *     const { modes } = await callOptions(room);
 *     await startCall(room, { mode: "browser" });
 *
 * Where no cookie speaks for the page, its token is the last argument. How a call goes on comes by the chat's own line: one
 * message of kind `call`, edited as it goes on.
 */

const SERVER = new URL(import.meta.url).origin;

/**
 * @typedef {"browser" | "phone"} Mode
 * @typedef {"ringing" | "talking" | "ended" | "missed" | "failed" | "canceled"} CallState
 * @typedef {{ call: string, mode: Mode, state: CallState, by: "visitor" | "agent" | "app", started_at?: string,
 *             ended_at?: string, duration_s?: number, recording?: { id: string, seconds: number } }} Call
 * @typedef {{ modes: Mode[], call: Call | null, hears_recordings: boolean }} Options
 * @typedef {{ token?: string | null }} Credential
 */

/** A call that the server refused, with the word for it. */
export class CallRefused extends Error {
  /** @param {number} status @param {string} code @param {string} message @param {number | null} retryAfter seconds */
  constructor(status, code, message, retryAfter) {
    super(message);
    this.status = status;
    this.code = code;
    this.retryAfter = retryAfter;
  }
}

/** What can be begun in a room, and its newest call. @param {string} room @param {Credential} [by] @returns {Promise<Options>} */
export function callOptions(room, by) {
  return ask("GET", `/v1/chat/rooms/${room}/call`, undefined, by);
}

/**
 * Begins a call: whoever has the room is rung first, then the visitor. A room that has one going on gives that.
 * @param {string} room
 * @param {{ mode?: Mode, phone?: string }} [wish] the visitor's number is kept nowhere
 * @param {Credential} [by]
 * @returns {Promise<Call>}
 */
export async function startCall(room, { mode = "browser", phone } = {}, by) {
  return (await ask("POST", `/v1/chat/rooms/${room}/call`, { mode, ...(phone ? { phone } : {}) }, by)).call;
}

/** Ends the call of a room. @param {string} room @param {Credential} [by] @returns {Promise<Call | null>} */
export async function endCall(room, by) {
  return (await ask("POST", `/v1/chat/rooms/${room}/call/end`, {}, by)).call;
}

/** What opens the visitor's phone. @param {string} room @param {Credential} [by] @returns {Promise<string>} */
export async function phoneToken(room, by) {
  return (await ask("POST", `/v1/chat/rooms/${room}/call/phone`, {}, by)).token;
}

/** Where a recording is heard for the next minutes. @param {string} room @param {string} call @param {Credential} [by] @returns {Promise<{ url: string, seconds: number }>} */
export async function recordingUrl(room, call, by) {
  const { url, seconds } = await ask("POST", `/v1/chat/rooms/${room}/call/recording`, { call }, by);
  return { url: new URL(url, SERVER).href, seconds };
}

/** Where a visitor's phone has its socket. */
export function phoneSocket() {
  const url = new URL("/v1/rtc", SERVER);
  url.protocol = url.protocol.replace("http", "ws");
  return url.href;
}

/** Whether a call goes on. @param {Call | null | undefined} call */
export function isLive(call) {
  return call?.state === "ringing" || call?.state === "talking";
}

/** Seconds as on a clock. @param {number} seconds */
export function clock(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}

/** What a message of kind `call` says, in English for the console. @param {Call} call */
export function callWords({ state, duration_s: seconds, by }) {
  switch (state) {
    case "ringing":
      return by === "visitor" ? "The visitor asks for a call: ringing …" : "Calling …";
    case "talking":
      return "On a call";
    case "ended":
      return seconds === undefined ? "Call" : `Call · ${clock(seconds)}`;
    case "missed":
      return "Missed call";
    case "canceled":
      return "Canceled call";
    default:
      return "The call failed";
  }
}

/** @param {string} method @param {string} path @param {unknown} body @param {Credential} [by] @returns {Promise<any>} */
async function ask(method, path, body, by) {
  const headers = {
    ...(by?.token ? { authorization: `Bearer ${by.token}` } : {}),
    ...(body === undefined ? {} : { "content-type": "application/json" }),
  };
  const init = body === undefined ? {} : { body: JSON.stringify(body) };
  const answer = await fetch(new URL(path, SERVER), { method, headers, credentials: "same-origin", ...init });
  const said = await answer.json().catch(() => ({}));
  if (answer.ok) return said;
  const wait = answer.headers.get("retry-after");
  throw new CallRefused(answer.status, said.code ?? "", said.detail ?? said.title ?? "", wait === null ? null : Number(wait));
}
