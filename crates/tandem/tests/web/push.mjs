// @ts-check
/**
 * A browser that is told while no page is open. The task: `url` of the server, and for the console `link` that signs in. There
 * is no push service here: the protocol of the browser's own tools hands the service worker what one would bring.
 */
import { open, serve, signIn, task, tell } from "./browser.mjs";

const { browser, context, page } = await open();
await context.grantPermissions(["notifications"], { origin: task.url });
const tools = await context.newCDPSession(page);
/** Ids of registrations by their scopes. @type {Map<string, string>} */
const registrations = new Map();
tools.on("ServiceWorker.workerRegistrationUpdated", ({ registrations: all }) => {
  for (const { scopeURL, registrationId } of all) registrations.set(scopeURL, registrationId);
});
if (task.link) await signIn(page, task.link);
tell("ready");

const address = (/** @type {string} */ path) => new URL(path, task.url).href;

/** The service worker of a scope, once it is there. @param {string} scope */
async function workerOf(scope) {
  for (;;) {
    for (const worker of context.serviceWorkers()) {
      const own = await worker.evaluate(() => /** @type {any} */ (globalThis).registration.scope);
      if (own === address(scope) && registrations.has(own)) return worker;
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** In the worker: what it shows once a notice says this; null when none does within a second. @param {string} body */
async function shownOf(body) {
  const { registration } = /** @type {any} */ (globalThis);
  for (let looks = 0; looks < 50; looks++) {
    const notices = await registration.getNotifications();
    const shown = notices.map((/** @type {any} */ notice) => [notice.title, notice.body, notice.tag]);
    if (shown.some((/** @type {any} */ [, said]) => said === body)) return shown;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return null;
}

await serve(browser, {
  go: async ({ path }) => {
    await page.goto(address(path));
  },
  see: ({ what }) => page.locator(what).first().waitFor({ timeout: 40_000 }),
  choose: ({ what }) => page.locator(what).first().click(),
  fill: ({ what, text }) => page.locator(what).fill(text),
  key: ({ key }) => page.keyboard.press(key),
  count: ({ what }) => page.locator(what).filter({ visible: true }).count(),
  /** What the service worker of a scope shows once it was told something: title, words and mark of each notice. */
  push: async ({ scope, data }) => {
    // Once there is a page of the server: before, the browser tells of no registration.
    await tools.send("ServiceWorker.enable");
    const worker = await workerOf(scope);
    const registrationId = registrations.get(address(scope)) ?? "";
    const message = { origin: task.url, registrationId, data: JSON.stringify(data) };
    for (;;) {
      // What comes in the moment in which a worker begins its work is lost, as a push service's would not be.
      await tools.send("ServiceWorker.deliverPushMessage", message);
      const shown = await worker.evaluate(shownOf, data.body);
      if (shown) return shown;
    }
  },
  /** Where a click on the notice leads: the addresses that are opened; none of another site ever is. */
  click: async ({ scope }) => {
    const worker = await workerOf(scope);
    return worker.evaluate(async () => {
      const own = /** @type {any} */ (globalThis);
      const [notification] = await own.registration.getNotifications();
      /** @type {string[]} */
      const opened = [];
      // A browser opens windows for people alone.
      own.clients.openWindow = async (/** @type {string} */ url) => void opened.push(url);
      const event = new own.NotificationEvent("notificationclick", { notification });
      /** @type {Promise<unknown>[]} */
      const work = [];
      event.waitUntil = (/** @type {Promise<unknown>} */ part) => work.push(part);
      own.dispatchEvent(event);
      await Promise.all(work);
      return { opened, left: (await own.registration.getNotifications()).length };
    });
  },
});
