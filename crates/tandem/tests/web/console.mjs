// @ts-check
/**
 * A person at the console, with the phone in its pages. The task: `url` of the server, `link` that signs in. Commands are
 * below; a page is known by the number of its tab, the first is 0.
 */
import { open, serve, signIn, task, tell, watch } from "./browser.mjs";
import { look, picture, walkByKeys } from "./looks.mjs";
import { EAR } from "./ear.mjs";

/** As loud as anything that is not silence, of 32768, root mean square. */
const AUDIBLE = 200;

const { browser, context, page: first } = await open();
await context.addInitScript(EAR);
// In which order the steps of a drawing were lit, from the first moment of the page on.
await context.addInitScript(() => {
  const at = /** @type {any} */ (globalThis);
  at.lit = [];
  const isLit = (/** @type {string | null} */ classes) => (classes ?? "").split(" ").includes("here");
  const see = (/** @type {MutationRecord[]} */ records) => {
    records.forEach((record, index) => {
      const step = /** @type {Element} */ (record.target);
      if (!step.matches?.("[data-step]")) return;
      const later = records.slice(index + 1).find(({ target }) => target === step);
      const now = later ? later.oldValue : step.getAttribute("class");
      if (!isLit(record.oldValue) && isLit(now)) at.lit.push(step.getAttribute("data-step"));
    });
  };
  new MutationObserver(see).observe(document, { subtree: true, attributes: true, attributeFilter: ["class"], attributeOldValue: true });
});

const tabs = [first];
const tab = (/** @type {{ tab?: number }} */ { tab = 0 }) => {
  const page = tabs[tab];
  if (!page) throw new Error(`no tab ${tab}`);
  return page;
};
const address = (/** @type {string} */ path) => new URL(path, task.url).href;

await signIn(first, task.link);
tell("signed in", { path: new URL(first.url()).pathname });

await serve(browser, {
  go: async (command) => {
    await tab(command).goto(address(command.path));
  },
  /** Opens one more tab on a page. */
  open: async ({ path }) => {
    const page = await context.newPage();
    watch(page);
    tabs.push(page);
    await page.goto(address(path));
  },
  close: async (command) => {
    await tab(command).close();
  },
  size: async (command) => {
    await tab(command).setViewportSize({ width: command.width, height: 800 });
  },
  /** Clicks what a person would call so: `role` and `name`. */
  click: (command) => tab(command).getByRole(command.role ?? "button", { name: command.name, exact: true }).first().click(),
  /** Presses a key of the keyboard. */
  key: (command) => tab(command).keyboard.press(command.key),
  /** Waits for something to be seen. */
  see: (command) => tab(command).locator(command.what).first().waitFor({ timeout: 40_000 }),
  gone: (command) => tab(command).locator(command.what).first().waitFor({ state: "hidden", timeout: 40_000 }),
  /** Clicks what a selector finds. */
  choose: (command) => tab(command).locator(command.what).first().click(),
  fill: (command) => tab(command).locator(command.what).fill(command.text),
  select: (command) => tab(command).locator(command.what).selectOption(command.value),
  type: (command) => tab(command).keyboard.type(command.text),
  attach: ({ what, name, kind, base64, ...command }) =>
    tab(command).locator(what).setInputFiles({ name, mimeType: kind, buffer: Buffer.from(base64, "base64") }),
  /** What is wrong with the page as it is, at every width, light and dark, and by keys alone. */
  look: async ({ file, ...command }) => {
    if (file) await picture(tab(command), file);
    const wrong = await look(tab(command));
    return [...wrong, ...(await walkByKeys(tab(command)))];
  },
  path: (command) => new URL(tab(command).url()).pathname,
  texts: (command) => tab(command).locator(command.what).allInnerTexts(),
  /** Runs in the page. */
  run: (command) => tab(command).evaluate(command.script),
  /** Presses keys of the phone's pad. */
  press: async (command) => {
    for (const key of command.keys) {
      await tab(command).getByRole("button", { name: key === "*" ? "star" : key === "#" ? "hash" : key, exact: true }).click();
    }
  },
  /** Begins to listen to what the phone plays. */
  listen: (command) =>
    tab(command).evaluate(() => {
      const audio = document.querySelector("tandem-phone")?.shadowRoot?.querySelector("audio");
      const at = /** @type {any} */ (globalThis);
      at.ear = new at.tandemEar(audio?.srcObject);
    }),
  /** What was heard since, as base 64 of 16-bit samples at 16 kHz. */
  heard: (command) => tab(command).evaluate(() => /** @type {any} */ (globalThis).ear.take()),
  /** Waits for the first sound of the phone that is no silence. */
  sound: (command) =>
    tab(command).evaluate(async (audible) => {
      const audio = document.querySelector("tandem-phone")?.shadowRoot?.querySelector("audio");
      const sounds = new AudioContext();
      while (!audio?.srcObject) await new Promise((resolve) => setTimeout(resolve, 10));
      const analyser = sounds.createAnalyser();
      sounds.createMediaStreamSource(/** @type {MediaStream} */ (audio.srcObject)).connect(analyser);
      const samples = new Float32Array(analyser.fftSize);
      for (;;) {
        analyser.getFloatTimeDomainData(samples);
        const loudness = Math.sqrt(samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length);
        if (loudness * 32_768 > audible) return Math.round(loudness * 32_768);
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
    }, AUDIBLE),
});
