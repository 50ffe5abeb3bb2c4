// @ts-check
/**
 * A visitor of a page of another site that holds the widget. The task: `url` of the page; `locale` and `width`, `height` of
 * the browser, its `microphone` (see browser.mjs). With `full` the page is the chat's own; with `extension`, a folder, the page is one of that extension, and
 * the frame its own. Requests for `fail` (a pattern) fail once; with `shut` no page keeps anything, with `deaf` no WebSocket
 * gets through. Commands act in the chat, wherever it is.
 */
import { look, picture, walkByKeys } from "./looks.mjs";
import { open, openWith, serve, task, tell, watch } from "./browser.mjs";
import { EAR } from "./ear.mjs";

/** What browsers do with the storage of a frame that they do not trust. */
const SHUT = `for (const name of ["localStorage", "sessionStorage"]) Object.defineProperty(globalThis, name, { get() { throw new DOMException("shut", "SecurityError"); } });`;
/** What a proxy does that knows no upgrades. */
const DEAF = `globalThis.sockets = 0; globalThis.WebSocket = class extends EventTarget { static CONNECTING = 0; static OPEN = 1; static CLOSED = 3;
  readyState = 0; constructor() { super(); globalThis.sockets += 1; setTimeout(() => this.onclose?.({ code: 1006, reason: "" })); } send() {} close() {} };`;
const viewport = { width: task.width ?? 1024, height: task.height ?? 800 };
const plain = () => open({ microphone: task.microphone, context: { locale: task.locale ?? "en-GB", viewport } });
const { browser, page: first } = await (task.extension ? openWith(task.extension) : plain());
/** The tab that commands act in. */
let page = first;
const tabs = [first];
/** What the host page was told by postMessage: from where, and what. @type {{ origin: string, data: any }[]} */
const told = [];
async function begin() {
  await page.addInitScript(EAR);
  if (task.shut) await page.addInitScript(SHUT);
  if (task.deaf) await page.addInitScript(DEAF);
  await page.exposeFunction("tandemTold", (/** @type {any} */ message) => void told.push(message));
  await page.addInitScript(() => {
    if (parent !== globalThis.window) return;
    addEventListener("message", ({ origin, data }) => void (/** @type {any} */ (globalThis).tandemTold({ origin, data })));
  });
  await page.goto(task.url);
}
if (task.fail) await page.route(task.fail, (route) => route.abort(), { times: 1 });
await begin();
tell("entered");

/** The document that holds the chat. @returns {import("playwright-core").FrameLocator | import("playwright-core").Page} */
const chat = () => (task.full ? page : page.frameLocator(task.extension ? "iframe" : "tandem-widget iframe"));
const frame = () => (task.full ? page.mainFrame() : page.frames().find((one) => one.url().includes("/frame")));
/** @param {string} script of the element `chat` */
const ask = (script) => frame()?.evaluate(`(() => { const chat = document.querySelector("tandem-chat"); return ${script}; })()`);

await serve(browser, {
  /** Presses the widget's own button. */
  launch: () => page.locator("tandem-widget button").click(),
  /** The words of that button. */
  launcher: () => page.locator("tandem-widget button").getAttribute("aria-label"),
  /** Presses a button of the chat by its words. */
  press: ({ name }) => chat().getByRole("button", { name, exact: true }).first().click(),
  /** Presses what a selector finds. */
  click: ({ what }) => chat().locator(what).first().click(),
  /** Points at something. */
  point: ({ what }) => chat().locator(what).first().hover(),
  see: ({ what }) => chat().locator(what).first().waitFor({ timeout: 40_000 }),
  gone: ({ what }) => chat().locator(what).first().waitFor({ state: "hidden", timeout: 40_000 }),
  text: ({ what }) => chat().locator(what).first().innerText(),
  texts: ({ what }) => chat().locator(what).allInnerTexts(),
  count: ({ what }) => chat().locator(what).count(),
  fill: ({ what, text }) => chat().locator(what).fill(text),
  type: ({ text }) => page.keyboard.type(text),
  key: ({ key }) => page.keyboard.press(key),
  /** Writes a message and sends it. */
  say: async ({ text }) => {
    const field = chat().locator("#message");
    await field.fill(text);
    await field.press("Enter");
  },
  attach: ({ name, kind, base64 }) =>
    chat().locator("#files").setInputFiles({ name, mimeType: kind, buffer: Buffer.from(base64, "base64") }),
  view: () => ask("chat.view"),
  ask: ({ script }) => ask(script),
  /** Runs in the page around. */
  run: ({ script }) => page.evaluate(script),
  told: () => told,
  /** Speaks to the frame as if from the page around. */
  tell: ({ message, origin }) =>
    page.evaluate(
      ([message, origin]) => {
        const frame = document.querySelector("tandem-widget")?.shadowRoot?.querySelector("iframe");
        frame?.contentWindow?.postMessage(message, origin);
      },
      /** @type {[any, string]} */ ([message, origin]),
    ),
  /** What has the focus within the chat. */
  focused: () =>
    ask("(() => { const at = chat.shadowRoot.activeElement; return at ? at.id || at.dataset.act || at.localName : null; })()"),
  /** Begins to listen to what a call plays. */
  listen: () => ask("void (globalThis.ear = new globalThis.tandemEar(chat.sound))"),
  /** What was heard since, as base 64 of 16-bit samples at 16 kHz. */
  heard: () => ask("globalThis.ear.take()"),
  /** Everything that stands in the chat, its own tree included. */
  whole: () => ask("chat.shadowRoot.innerHTML + document.documentElement.outerHTML"),
  reload: () => page.reload(),
  /** Goes to a tab of the same browser, the first is 0; a new one opens the page of the task. */
  tab: async ({ number }) => {
    const known = tabs[number];
    page = known ?? (await first.context().newPage());
    if (known) return page.bringToFront();
    tabs[number] = page;
    watch(page);
    await begin();
  },
  frames: () => page.locator("iframe").count(),
  /** What is wrong with the page as it is. */
  look: async ({ file }) => {
    if (file) await picture(page, file);
    const wrong = await look(page);
    return [...wrong, ...(await walkByKeys(page))];
  },
  picture: ({ file }) => picture(page, file),
});
