// @ts-check
/**
 * What every browser script is made of: Chromium with a fresh profile, and a talk with the test that started it.
 *
 * The test gives a task as the first argument, JSON. The script tells what happens as lines of JSON on stdout, each with
 * an `event`; commands come as lines of JSON on stdin, each with `id` and `do`, and are answered by `done` or `failed`.
 * When the test is gone, stdin ends and so does the browser.
 */
import { createInterface } from "node:readline";
import { chromium } from "playwright-core";

/** What the test wants. @type {any} */
export const task = JSON.parse(process.argv[2] ?? "{}");

const FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--autoplay-policy=no-user-gesture-required",
];

/**
 * Tells the test.
 * @param {string} event
 * @param {object} [more]
 */
export function tell(event, more = {}) {
  process.stdout.write(`${JSON.stringify({ event, ...more })}\n`);
}

/**
 * The flags for a microphone.
 * @param {string} kind `none`, `refused`, `fake`, or a WAV file that it speaks again and again
 */
function microphoneFlags(kind) {
  const agree = "--use-fake-ui-for-media-stream";
  const fake = "--use-fake-device-for-media-stream";
  switch (kind) {
    case "none":
      return [agree];
    case "refused":
      return [fake];
    case "fake":
      return [agree, fake];
    default:
      return [agree, fake, `--use-file-for-fake-audio-capture=${kind}`];
  }
}

/**
 * Tells what goes wrong in a page as `console`, with its text and where it was: what its console complains about, what
 * fails in it, what it asks the server for in vain.
 * @param {import("playwright-core").Page} page
 */
export function watch(page) {
  const complain = (/** @type {string} */ text) => tell("console", { text, url: page.url() });
  page.on("console", (message) => {
    // A browser asks every site for this one by itself.
    if (message.location().url.endsWith("/favicon.ico")) return;
    // Our own ear is of the old kind.
    if (message.text().startsWith("The ScriptProcessorNode is deprecated")) return;
    const { url, lineNumber } = message.location();
    if (["error", "warning"].includes(message.type())) complain(`${message.text()} (${url}:${lineNumber + 1})`);
  });
  page.on("pageerror", (error) => complain(String(error)));
}

/**
 * Opens a browser with one page, which is watched.
 * @param {{ microphone?: string, flags?: string[], context?: import("playwright-core").BrowserContextOptions }} [options]
 */
export async function open({ microphone = "fake", flags = [], context: options = {} } = {}) {
  const executablePath = process.env.TANDEM_TEST_CHROMIUM ?? "/usr/bin/chromium";
  const args = [...FLAGS, ...microphoneFlags(microphone), ...flags];
  const browser = await chromium.launch({ executablePath, args });
  const context = await browser.newContext(options);
  const page = await context.newPage();
  watch(page);
  return { browser, context, page };
}

/**
 * The same with an extension in it.
 * @param {string} folder of the extension, and of nothing else
 */
export async function openWith(folder) {
  const executablePath = process.env.TANDEM_TEST_CHROMIUM ?? "/usr/bin/chromium";
  const args = [...FLAGS, `--disable-extensions-except=${folder}`, `--load-extension=${folder}`];
  // A profile of its own, which goes with the browser.
  const context = await chromium.launchPersistentContext("", { executablePath, args, locale: "en-GB" });
  const page = await context.newPage();
  watch(page);
  return { browser: context, context, page };
}

/** Signs the page in by a link of the console. @param {import("playwright-core").Page} page @param {string} link */
export async function signIn(page, link) {
  await page.goto(new URL(link, task.url).href);
  await page.locator("form button").first().click();
  await page.waitForURL((url) => !url.pathname.includes("/link/"));
}

/** Follows the link of a party to a meeting; its page signs in by itself. @param {import("playwright-core").Page} page @param {string} link */
export async function enter(page, link) {
  await page.goto(new URL(link, task.url).href);
  await page.waitForURL((url) => url.pathname === "/meetings");
}

/**
 * Carries out the test's commands until it is gone.
 * @param {{ close: () => Promise<void> }} browser
 * @param {Record<string, (command: any) => unknown>} commands
 */
export async function serve(browser, commands) {
  for await (const line of createInterface({ input: process.stdin })) {
    const command = JSON.parse(line);
    try {
      const carryOut = commands[command.do];
      if (!carryOut) throw new Error(`no command ${command.do}`);
      tell("done", { id: command.id, value: (await carryOut(command)) ?? null });
    } catch (error) {
      tell("failed", { id: command.id, message: String(error) });
    }
  }
  await browser.close();
}
