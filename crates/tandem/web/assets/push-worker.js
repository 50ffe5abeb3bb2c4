// @ts-check
/**
 * The service worker of web push: it shows what the server tells while no page is open, and leads to the room. It keeps no
 * page and answers no request. One file, registered for `/console/` by the inbox and for `/c/` by the chat's own page.
 */

const PATH = "/v1/chat/push";
/** Whose session speaks for the browser; the chat's own page says itself who its visitor is. */
const CONSOLE = "/console/";

/** A service worker is no window. */
const worker = /** @type {any} */ (globalThis);

worker.addEventListener("install", () => worker.skipWaiting());
worker.addEventListener("activate", (/** @type {any} */ event) => event.waitUntil(worker.clients.claim()));
worker.addEventListener("push", (/** @type {any} */ event) => event.waitUntil(show(event.data)));
worker.addEventListener("notificationclick", (/** @type {any} */ event) => {
  event.notification.close();
  event.waitUntil(open(event.notification.data?.url));
});
worker.addEventListener("pushsubscriptionchange", (/** @type {any} */ event) => event.waitUntil(renew(event)));

/** Shows what was told: one notice for a room, the newest. @param {any} data */
async function show(data) {
  const { title, body, tag, url } = data?.json() ?? {};
  await worker.registration.showNotification(String(title ?? ""), { body, tag, renotify: tag !== undefined, data: { url } });
}

/** The page of the room: one that is open, else a new one. @param {unknown} path */
async function open(path) {
  const { scope } = worker.registration;
  const url = new URL(typeof path === "string" ? path : scope, scope);
  // What is told leads nowhere else.
  if (!url.href.startsWith(scope)) return;
  const pages = await worker.clients.matchAll({ type: "window", includeUncontrolled: true });
  const there = pages.find((/** @type {any} */ page) => new URL(page.url).pathname === url.pathname);
  if (there) return there.focus();
  return worker.clients.openWindow(url.href);
}

/** The browser has changed its address: it is told under the new one. @param {any} event */
async function renew({ oldSubscription, newSubscription }) {
  const options = oldSubscription?.options;
  const subscription = newSubscription ?? (options ? await worker.registration.pushManager.subscribe(options) : null);
  // The chat's own page tells it when it is opened next: its visitor's token is not kept here.
  if (!subscription || new URL(worker.registration.scope).pathname !== CONSOLE) return;
  await tell("POST", subscription);
  if (oldSubscription) await tell("DELETE", { endpoint: oldSubscription.endpoint });
}

/** @param {string} method @param {unknown} body */
function tell(method, body) {
  return fetch(PATH, { method, body: JSON.stringify(body), headers: { "content-type": "application/json" }, credentials: "same-origin" });
}
