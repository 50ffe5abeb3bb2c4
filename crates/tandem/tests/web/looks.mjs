// @ts-check
/** What is looked for in every page: whether everybody can use it, at every width, by keys alone; and its picture. */
import { readFileSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname } from "node:path";

/** @typedef {import("playwright-core").Page} Page */

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
/** A phone, a tablet, a desk: width and height in px. */
export const WINDOWS = [
  { width: 360, height: 740 },
  { width: 768, height: 1024 },
  { width: 1440, height: 900 },
];
export const THEMES = /** @type {const} */ (["light", "dark"]);
/** Of a picture, in percent: text stays sharp, and thirty of them stay small. */
const QUALITY = 75;
/** A small desk, where a flow of three steps beside each other is seen whole: px. */
const SMALL_DESK = { width: 1200, height: 800 };
/** More controls than any page has. */
const MOST_STOPS = 400;

/**
 * What axe finds in the page as it is now. Styles are not loaded a second time, which the page's own policy forbids.
 * @param {Page} page
 */
async function barriers(page) {
  await page.evaluate(AXE);
  return page.evaluate(async () => {
    const { violations } = await /** @type {any} */ (globalThis).axe.run(document, { preload: false, resultTypes: ["violations"] });
    const grave = violations.filter((/** @type {any} */ { impact }) => ["serious", "critical"].includes(impact));
    return grave.map((/** @type {any} */ { id, nodes }) => `${id}: ${nodes[0]?.html} (${nodes[0]?.failureSummary})`);
  });
}

/** Whether a drawn flow is cut off beside. @param {Page} page */
async function cutDrawings(page) {
  await page.setViewportSize(SMALL_DESK);
  return page.evaluate(() =>
    [...document.querySelectorAll(".graph")]
      .filter((graph) => graph.scrollWidth > graph.clientWidth)
      .map((graph) => `its drawing of ${graph.scrollWidth} px is cut to ${graph.clientWidth} px`),
  );
}

/**
 * Looks at a page at every width, light and dark. Gives what is wrong, in sentences.
 * @param {Page} page
 * @param {(window: { width: number, height: number }, theme: "light" | "dark") => Promise<unknown>} [picture]
 */
export async function look(page, picture) {
  const wrong = await cutDrawings(page);
  for (const window of WINDOWS) {
    await page.setViewportSize(window);
    for (const theme of THEMES) {
      await page.emulateMedia({ colorScheme: theme, reducedMotion: "reduce" });
      const over = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      if (over > 0) wrong.push(`${over} px wider than a window of ${window.width} px`);
      for (const found of await barriers(page)) wrong.push(`${window.width} px, ${theme}: ${found}`);
      await picture?.(window, theme);
    }
  }
  return wrong;
}

/**
 * Goes through a page by Tab alone. Gives the controls that it does not reach, and those on which the focus is not seen.
 * @param {Page} page
 */
export async function walkByKeys(page) {
  await page.evaluate(() => {
    const at = /** @type {any} */ (globalThis);
    const wanted = "a[href], button:enabled, input:enabled:not([type=hidden], [tabindex='-1']), select:enabled, textarea:enabled, summary, audio[controls], [tabindex='0']";
    const controls = (/** @type {ParentNode} */ root) =>
      [...root.querySelectorAll("*")].flatMap((/** @type {Element} */ element) => [
        ...(element.matches(wanted) && element.checkVisibility({ visibilityProperty: true }) ? [element] : []),
        ...(element.shadowRoot ? controls(element.shadowRoot) : []),
      ]);
    const isSeen = (/** @type {Element} */ element) => {
      // A frame around a field may show the focus for it.
      for (let at = element, steps = 0; at && steps < 3; at = /** @type {any} */ (at.parentElement), steps += 1) {
        // Inside a frame the frame's own document shows it.
        if (at.localName === "iframe") return true;
        const { outlineStyle, outlineWidth } = getComputedStyle(at);
        if (outlineStyle !== "none" && parseFloat(outlineWidth) > 0) return true;
      }
      return false;
    };
    at.walk = { reached: new Set(), unseen: new Set(), last: null };
    at.walk.step = () => {
      let here = document.activeElement;
      while (here?.shadowRoot?.activeElement) here = here.shadowRoot.activeElement;
      const isNew = here !== null && here !== document.body && (here === at.walk.last || !at.walk.reached.has(here));
      if (isNew && !isSeen(here)) at.walk.unseen.add(here);
      at.walk.reached.add(here);
      at.walk.last = here;
      return isNew;
    };
    at.walk.end = () => {
      const name = (/** @type {Element} */ element) => element.outerHTML.slice(0, 160);
      // Of radio buttons of one name Tab reaches one, and arrows the others.
      const group = (/** @type {any} */ control) => (control.type === "radio" ? control.name : null);
      const groups = new Set([...at.walk.reached].map(group));
      const isReached = (/** @type {Element} */ control) => at.walk.reached.has(control) || (group(control) !== null && groups.has(group(control)));
      const missed = controls(document).filter((control) => !isReached(control));
      return [
        ...missed.map((control) => `Tab does not reach ${name(control)}`),
        ...[...at.walk.unseen].map((control) => `the focus is not seen on ${name(control)}`),
      ];
    };
    // From the top, wherever the focus was: without it, Tab would go on from there.
    document.body.tabIndex = -1;
    document.body.focus();
    document.body.removeAttribute("tabindex");
  });
  for (let stops = 0; stops < MOST_STOPS; stops += 1) {
    await page.keyboard.press("Tab");
    if (!(await page.evaluate(() => /** @type {any} */ (globalThis).walk.step()))) break;
  }
  return page.evaluate(() => /** @type {string[]} */ (/** @type {any} */ (globalThis).walk.end()));
}

/**
 * Takes the picture of what the window shows.
 * @param {Page} page
 * @param {string} file
 * @param {"webp" | "png"} [format]
 * @param {boolean} [whole] all of the page, not only what the window shows
 */
export async function picture(page, file, format = "webp", whole = false) {
  const session = await page.context().newCDPSession(page);
  const size = await page.evaluate(() => ({ width: innerWidth, height: document.documentElement.scrollHeight }));
  const { data } = await session.send("Page.captureScreenshot", {
    format,
    ...(format === "webp" ? { quality: QUALITY } : {}),
    ...(whole ? { captureBeyondViewport: true, clip: { x: 0, y: 0, ...size, scale: 1 } } : {}),
  });
  await session.detach();
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, Buffer.from(data, "base64"));
}
