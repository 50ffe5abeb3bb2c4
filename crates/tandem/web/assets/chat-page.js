// @ts-check
/**
 * The chat's own page: the whole window on a phone, or the frame of a widget.
 *
 * In a frame it talks with the page around it, and only with one: the first that says hello from an origin that the
 * application allows. What is said bears that origin and no other, in both ways.
 */

import { TandemChat } from "./chat.js";

const chat = document.querySelector("tandem-chat");
if (!(chat instanceof TandemChat)) throw new Error("the page has no chat");

/** @type {string[]} */
const allowed = JSON.parse(document.body.dataset.origins ?? "[]");
/** The page around, once it has said hello. @type {string | null} */
let host = null;

/** @param {string} type @param {object} [more] */
function tell(type, more = {}) {
  if (host !== null) parent.postMessage({ tandem: type, ...more }, host);
}

/** What the page around may know: which room it is would be the key to it for every script of that page. */
function seen() {
  const { ready, online, unread, room } = /** @type {TandemChat} */ (chat).view;
  return { ready, online, unread, has_room: room !== null };
}

/** @param {string} origin */
function isAllowed(origin) {
  return origin === location.origin || allowed.includes("*") || allowed.includes(origin);
}

/** What the page around may ask. @type {Record<string, (message: any) => unknown>} */
const orders = {
  hello: async ({ identity, page, leaves }) => {
    if (typeof page === "string") chat.setAttribute("page", page.slice(0, 500));
    tell("view", { view: seen() });
    // The visitor signed out before the frame was there.
    if (leaves) await chat.signOut();
    if (identity) await chat.identify(identity);
  },
  identify: ({ identity }) => chat.identify(identity),
  "sign-out": () => chat.signOut(),
  show: () => {
    chat.concealed = false;
    chat.focus();
  },
  hide: () => (chat.concealed = true),
  // The console shows how it would look; no other site dresses it.
  look: ({ look }) => {
    if (host === location.origin) chat.look = look;
  },
};

if (parent !== window) {
  chat.concealed = true;
  addEventListener("message", ({ source, origin, data }) => {
    if (source !== parent || typeof data?.tandem !== "string") return;
    if (host === null && data.tandem === "hello" && isAllowed(origin)) host = origin;
    if (origin === host) void orders[data.tandem]?.(data);
  });
  chat.addEventListener("chatchange", () => tell("view", { view: seen() }));
  chat.addEventListener("chatclose", () => tell("close"));
}
if (parent === window && globalThis.visualViewport) {
  const { visualViewport: seenPart } = globalThis;
  // Where the keyboard lies over the page (iOS), the page ends above it; a page that is enlarged stays as it is.
  const fit = () => {
    if (seenPart.scale > 1.01) return;
    document.documentElement.style.setProperty("--seen-height", `${seenPart.height}px`);
    if (seenPart.offsetTop > 0) scrollTo(0, 0);
  };
  seenPart.addEventListener("resize", fit);
  fit();
}
document.body.classList.add("is-live");
