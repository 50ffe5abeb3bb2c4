// @ts-check
/**
 * Walks pages. The task: `url` of the server; `visitors`, each with the `link` that signs them in (none: a stranger; `enter`:
 * that of a party to a meeting) and the `pages` they visit; `keys`: whether each page is
 * walked by Tab too; `pictures`: a folder for one picture of each page, with `every`: of each width, light and dark.
 * A page is `{name, path}`, with `shows`: a selector to wait for, `status` when it is not 200, and, for what a form answers,
 * `fill`: what is typed by the names of the fields, and `press`: the button by its words.
 * Tells `page` for each, with what is `wrong` with it in sentences, and `walked` at the end.
 */
import { join } from "node:path";
import { look, picture, walkByKeys } from "./looks.mjs";
import { enter, open, signIn, task, tell, watch } from "./browser.mjs";

/** What a picture for readers shows: px. */
const FRAME = { width: 1200, height: 800 };

/** @typedef {{ name: string, path: string, shows?: string, status?: number, fill?: Record<string, string>, press?: string }} Place */

const { browser } = await open();

/** @param {import("playwright-core").Page} page @param {Place} place */
async function visit(page, { name, path, shows, status = 200, fill = {}, press }) {
  const wrong = /** @type {string[]} */ ([]);
  const failed = (/** @type {import("playwright-core").Request} */ request) => {
    const why = request.failure()?.errorText ?? "";
    // A page that is left gives up what it had asked for.
    if (why !== "net::ERR_ABORTED") wrong.push(`${request.url()}: ${why}`);
  };
  const refused = (/** @type {import("playwright-core").Response} */ response) => {
    const isThePage = response.request().isNavigationRequest();
    if (isThePage ? response.status() !== status && response.status() !== 303 : response.status() >= 400) wrong.push(`${response.url()}: ${response.status()}`);
  };
  page.on("requestfailed", failed);
  page.on("response", refused);
  await page.setViewportSize(FRAME);
  await page.emulateMedia({ colorScheme: "light", reducedMotion: "reduce" });
  await page.goto(new URL(path, task.url).href);
  for (const [field, text] of Object.entries(fill)) await page.locator(`[name="${field}"]`).fill(text);
  if (press) {
    const answered = page.waitForEvent("load");
    await page.getByRole("button", { name: press, exact: true }).click();
    await answered;
  }
  if (shows) await page.locator(shows).first().waitFor();
  await page.evaluate(() => document.fonts.ready);
  if (task.pictures) await picture(page, join(task.pictures, `${name}.webp`));
  const each = async (/** @type {{ width: number }} */ { width }, /** @type {string} */ theme) => {
    await picture(page, join(task.pictures, `${name}-${width}-${theme}.png`), "png", true);
  };
  wrong.push(...(await look(page, task.every ? each : undefined)));
  if (task.keys) wrong.push(...(await walkByKeys(page)));
  page.off("requestfailed", failed);
  page.off("response", refused);
  tell("page", { path, wrong });
}

for (const { link, enter: way, pages } of task.visitors) {
  const context = await browser.newContext({ viewport: FRAME });
  const page = await context.newPage();
  watch(page);
  if (link) await signIn(page, link);
  if (way) await enter(page, way);
  for (const place of pages) await visit(page, place);
  await context.close();
}
tell("walked");
await browser.close();
