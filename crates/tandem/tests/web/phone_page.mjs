// @ts-check
/**
 * The page /phone. The task: `url` of the server, `link` that signs in. Tells `walked` with the phone's text, what axe
 * finds, and by how much the page is wider than the window at each width.
 */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { open, task, tell } from "./browser.mjs";

const WIDTHS = [360, 768, 1440];
const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

const { browser, context, page } = await open();
await page.goto(new URL(task.link, task.url).href);
await page.locator("form button").first().click();
await page.goto(new URL("/phone", task.url).href);
await page.getByText("Ready", { exact: true }).waitFor();

// What axe does to a page, the page's own policy forbids: it looks at another one of the same person.
const free = await browser.newContext({ bypassCSP: true, storageState: await context.storageState() });
const looked = await free.newPage();
await looked.goto(page.url());
await looked.getByText("Ready", { exact: true }).waitFor();
await looked.evaluate(AXE);
const seen = [];
for (const width of WIDTHS) {
  await page.setViewportSize({ width, height: 800 });
  await looked.setViewportSize({ width, height: 800 });
  const over = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  const { violations } = await looked.evaluate(() => /** @type {any} */ (globalThis).axe.run());
  const found = violations.map((/** @type {any} */ { id, impact, nodes }) => ({ id, impact, html: nodes[0]?.html }));
  seen.push({ width, over, found });
}
const text = await page.locator("tandem-phone").evaluate((phone) => phone.shadowRoot?.querySelector("section")?.innerText);
tell("walked", { seen, text });
await browser.close();
