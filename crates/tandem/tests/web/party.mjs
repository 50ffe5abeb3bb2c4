// @ts-check
/**
 * A party to a meeting at its page. The task: `url` of the server, `enter`: the link that signs in, `microphone` (see
 * browser.mjs), `zone` that the browser is in. Every change of the phone is told as `change` with its view.
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
