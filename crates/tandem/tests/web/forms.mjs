// @ts-check
/**
 * Fills forms with what is wrong and sends them. The task: `url`, `visitors`, each with a `link` (none: a stranger) and
 * `forms`: `{path, action, fill, wrong}`, where `fill` has what is typed by the names of the fields, and `wrong` is the
 * field that must be named. Tells `refused` for each, with what is `amiss` in sentences.
 */
import { open, signIn, task, tell, watch } from "./browser.mjs";

/** @typedef {{ path: string, action: string, fill: Record<string, string>, wrong: string }} Case */

const { browser } = await open();

/** @param {import("playwright-core").Page} page @param {Case} sent */
async function send(page, { path, action, fill, wrong }) {
  await page.goto(new URL(path, task.url).href);
  const form = page.locator(`form[action="${action}"]`);
  for (const [name, text] of Object.entries(fill)) await form.locator(`[name="${name}"]`).fill(text);
  const answered = page.waitForResponse((response) => response.request().method() === "POST" && response.request().isNavigationRequest());
  await form.locator("button").last().click();
  const status = (await answered).status();
  await page.waitForLoadState();
  const amiss = await page.evaluate(
    ({ action, fill, wrong }) => {
      const form = document.querySelector(`form[action="${action}"]`);
      const field = /** @type {HTMLInputElement | null} */ (form?.querySelector(`[name="${wrong}"]`) ?? null);
      if (!form || !field) return ["the form is gone"];
      const amiss = [];
      const described = (field.getAttribute("aria-describedby") ?? "").split(" ");
      const named = described.map((id) => document.getElementById(id)).filter((part) => part?.innerText.trim());
      // The editor says what is wrong in a list beside the text, each with its line.
      const beside = named.filter((part) => part?.matches(".error, :has([data-line])"));
      if (beside.length === 0) amiss.push("no sentence stands beside the field");
      if (beside.some((part) => part?.closest(".field") !== field.closest(".field") && !part?.matches(":has([data-line])"))) {
        amiss.push("the sentence stands beside another field");
      }
      if (field.getAttribute("aria-invalid") !== "true") amiss.push("aria-invalid is not set");
      if (document.activeElement !== field) amiss.push(`the focus is on ${document.activeElement?.outerHTML.slice(0, 80)}`);
      for (const [name, typed] of Object.entries(fill)) {
        const now = /** @type {HTMLInputElement | null} */ (form.querySelector(`[name="${name}"]`));
        const kept = now?.type === "password" ? "" : typed;
        if (now?.value !== kept) amiss.push(`${name} has ${JSON.stringify(now?.value)}`);
      }
      return amiss;
    },
    { action, fill, wrong },
  );
  if (status !== 422) amiss.push(`the answer is ${status}`);
  tell("refused", { path, fill, amiss });
}

for (const { link, forms } of task.visitors) {
  const context = await browser.newContext();
  const page = await context.newPage();
  watch(page);
  if (link) await signIn(page, link);
  for (const sent of forms) await send(page, sent);
  await context.close();
}
await browser.close();
