// @ts-check
/** By what the server knows a message, or a form, that is sent to it twice. */

/** Bytes of chance in it. */
const NAME_BYTES = 12;

/** A name that nothing else has: `randomUUID` is not there on pages without HTTPS. */
export function randomName() {
  const bytes = crypto.getRandomValues(new Uint8Array(NAME_BYTES));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
