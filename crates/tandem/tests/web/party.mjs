// @ts-check
/**
 * A party to a meeting at its page. The task: `url` of the server, `enter`: the link that signs in, `microphone` (see
 * browser.mjs), `zone` that the browser is in. Every change of the phone is told as `change` with its view. What the server
 * sends to the page is kept.
 */
import { enter, open, serve, task, tell } from "./browser.mjs";
import { EAR } from "./ear.mjs";

const { browser, context, page } = await open({
  microphone: task.microphone,
  context: { ...(task.zone ? { timezoneId: task.zone } : {}), locale: "en-GB", viewport: { width: 360, height: 740 } },
});
await context.addInitScript(EAR);
await page.exposeFunction("tandemTell", tell);
await page.addInitScript(() => {
  addEventListener("phonechange", (/** @type {any} */ event) => {
    /** @type {any} */ (globalThis).tandemTell("change", { view: event.detail });
  });
});

/** What the server has sent: frames of the WebSocket, events of the stream, heads and bodies of other answers. */
const got = { frames: [""], events: [""], answers: [""] };
page.on("websocket", (socket) => {
  socket.on("framereceived", ({ payload }) => void got.frames.push(payload.toString()));
});
page.on("response", async (response) => {
  const head = response.headers();
  // A stream never ends, and a redirection has no body.
  const isStream = head["content-type"]?.startsWith("text/event-stream");
  const body = isStream ? "" : await response.text().catch(() => "");
  got.answers.push(`${JSON.stringify(head)}\n${body}`);
});
const wire = await context.newCDPSession(page);
await wire.send("Network.enable");
wire.on("Network.eventSourceMessageReceived", ({ data }) => void got.events.push(data));

await enter(page, task.enter);
await page.locator("body.is-live").waitFor();
tell("entered");

await serve(browser, {
  /** Presses a button by its words. */
  press: ({ name }) => page.getByRole("button", { name, exact: true }).first().click(),
  /** Opens what is folded, by its words. */
  unfold: ({ name }) => page.getByText(name, { exact: true }).first().click(),
  /** Waits for something to be seen. */
  see: ({ what }) => page.locator(what).first().waitFor({ timeout: 40_000 }),
  text: ({ what }) => page.locator(what).first().innerText(),
  value: ({ what }) => page.locator(what).first().inputValue(),
  reload: () => page.reload(),
  /** Runs in the page. */
  run: ({ script }) => page.evaluate(script),
  /** What the server has sent, and what has become of it: the page, with its phone. */
  got: async () => {
    const phone = () => document.querySelector("tandem-phone")?.shadowRoot?.innerHTML;
    return { ...got, page: [await page.content(), await page.evaluate(phone)] };
  },
  /** Begins to listen to what the phone plays. */
  listen: () =>
    page.evaluate(() => {
      const audio = document.querySelector("tandem-phone")?.shadowRoot?.querySelector("audio");
      const at = /** @type {any} */ (globalThis);
      at.ear = new at.tandemEar(audio?.srcObject);
    }),
  /** What was heard since, as base 64 of 16-bit samples at 16 kHz. */
  heard: () => page.evaluate(() => /** @type {any} */ (globalThis).ear.take()),
});
