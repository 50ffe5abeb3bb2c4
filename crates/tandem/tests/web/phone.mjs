// @ts-check
/**
 * A person at <tandem-phone>. The task: `url` of the server, `token` of the person, `microphone` (see browser.mjs),
 * `host` under which the browser knows the server, `relay`: a UDP port to which media goes in place of the server's.
 * Every change of the phone is told as `change` with its view.
 */
import { open, serve, task, tell } from "./browser.mjs";
import { EAR } from "./ear.mjs";

const { browser, page } = await open({
  microphone: task.microphone,
  flags: task.host ? [`--host-resolver-rules=MAP ${task.host} 127.0.0.1`] : [],
});
// Any page of the server's: a browser lets only pages of this machine speak to this machine.
const home = new URL("/healthz", task.url);
await page.exposeFunction("tandemTell", tell);
await page.addInitScript(EAR);
await page.addInitScript(() => {
  const at = /** @type {any} */ (globalThis);
  at.RTCPeerConnection = class extends RTCPeerConnection {
    constructor(/** @type {any} */ configuration) {
      super(configuration);
      at.newestConnection = this;
    }
  };
});
if (task.relay) {
  await page.addInitScript((port) => {
    const original = RTCPeerConnection.prototype.setRemoteDescription;
    RTCPeerConnection.prototype.setRemoteDescription = function (/** @type {any} */ description) {
      const lines = description.sdp.split("\r\n");
      const first = lines.findIndex((/** @type {string} */ line) => line.startsWith("a=candidate:"));
      const kept = lines.filter((/** @type {string} */ line, /** @type {number} */ at) => !line.startsWith("a=candidate:") || at === first);
      const fields = (kept[first] ?? "").split(" ");
      fields[4] = "127.0.0.1";
      fields[5] = String(port);
      if (first >= 0) kept[first] = fields.join(" ");
      return original.call(this, { type: description.type, sdp: kept.join("\r\n") });
    };
  }, task.relay);
}

const call = (/** @type {string} */ method, /** @type {any[]} */ ...parameters) =>
  page.evaluate(
    ([method, parameters]) => /** @type {any} */ (document.querySelector("tandem-phone"))[method](...parameters),
    /** @type {[string, any[]]} */ ([method, parameters]),
  );
/** A button of the phone by its words, as a person finds it. */
const button = (/** @type {string} */ name) => page.getByRole("button", { name, exact: true });

async function load() {
  await page.goto(home.href);
  await page.evaluate(async (token) => {
    await import(new URL("/assets/phone.js", location.href).href);
    const phone = /** @type {any} */ (document.createElement("tandem-phone"));
    phone.token = token;
    phone.addEventListener("phonechange", (/** @type {any} */ event) => {
      /** @type {any} */ (globalThis).tandemTell("change", { view: event.detail });
    });
    document.body.replaceChildren(phone);
  }, task.token);
}

await load();
await serve(browser, {
  call: ({ number }) => call("call", number),
  answer: () => call("answer"),
  click: ({ name }) => button(name).click(),
  fill: ({ label, text }) => page.getByLabel(label, { exact: true }).fill(text),
  /** Presses Enter in a field. */
  submit: ({ label }) => page.getByLabel(label, { exact: true }).press("Enter"),
  /** Takes another device of a list. */
  choose: async ({ label, index }) => {
    await page.getByText("Sound", { exact: true }).click();
    await page.getByLabel(label, { exact: true }).selectOption({ index });
  },
  /** The name of the microphone that speaks in the newest connection. */
  microphone: () =>
    page.evaluate(() => {
      const connection = /** @type {any} */ (globalThis).newestConnection;
      return connection.getSenders()[0]?.track?.label ?? "";
    }),
  /** The device that sound comes from, and what the list shows. */
  speaker: () =>
    page.locator("tandem-phone").evaluate((phone) => {
      const list = /** @type {HTMLSelectElement | null} */ (phone.shadowRoot?.querySelector("#speaker"));
      const sink = /** @type {any} */ (phone.shadowRoot?.querySelector("audio"))?.sinkId;
      return { sink, label: list?.selectedOptions[0]?.label };
    }),
  /** Presses keys of the pad. */
  press: async ({ keys }) => {
    for (const key of keys) await button(key === "*" ? "star" : key === "#" ? "hash" : key).click();
  },
  text: () => page.locator("tandem-phone").evaluate((phone) => phone.shadowRoot?.querySelector("section")?.innerText),
  problem: () => page.getByRole("alert").innerText(),
  reload: load,
  /** Begins to listen to what the phone plays. */
  listen: () =>
    page.evaluate(() => {
      const audio = document.querySelector("tandem-phone")?.shadowRoot?.querySelector("audio");
      const at = /** @type {any} */ (globalThis);
      at.ear = new at.tandemEar(audio?.srcObject);
    }),
  /** What was heard since, as base 64 of 16-bit samples at 16 kHz. */
  heard: () => page.evaluate(() => /** @type {any} */ (globalThis).ear.take()),
  /** Runs in the page. */
  run: ({ script }) => page.evaluate(script),
});
