// @ts-check
/** The call of a room: begun and ended by a button, its recording heard in the thread. */

import { callOptions, endCall, isLive, recordingUrl, startCall } from "./chat-calling.js";
import { make } from "./make.js";

/** @typedef {import("./chat-thread.js").Thread} Thread */

/** The newest call of a thread, if it goes on. @param {Thread} thread @returns {boolean} */
export function isCalling(thread) {
  return isLive(thread.messages.findLast(({ kind }) => kind === "call")?.body);
}

/** The ways in which a call can be begun in a room. @param {string} room @returns {Promise<import("./chat-calling.js").Mode[]>} */
export async function waysToCall(room) {
  const { modes } = await callOptions(room);
  if (modes.length === 0) throw new Error("No call can be begun now: your phone must be online, and calls allowed for this application.");
  return modes;
}

/**
 * Begins a call: whoever has the room is rung first, then the visitor.
 * @param {string} room
 * @param {{ mode: import("./chat-calling.js").Mode, phone?: string }} wish
 */
export const call = (room, wish) => startCall(room, wish);

/** @param {string} room */
export const hangUp = (room) => endCall(room);

/** Puts the recording of a call into its message. @param {Thread} thread @param {number} seq @param {Element} place */
export async function listen(thread, seq, place) {
  const body = thread.get(seq)?.body;
  if (!body?.recording) return;
  const { url } = await recordingUrl(thread.room, body.call);
  place.replaceWith(make("audio", { controls: "", src: url, "aria-label": "Recording of the call" }));
}
