// @ts-check
/**
 * The page /phone while its person is signed out. The task: `url` of the server, `link` that signs in. Tells `ready`;
 * then, once the page says so, `signed_out` with its text, where its link leads, and how many sockets were opened since.
 */
import { open, task, tell } from "./browser.mjs";

/** So long another attempt to connect is waited for, ms: the page's first pause is shorter. */
const WATCHED = 3_000;

const { browser, page } = await open();
let sockets = 0;
page.on("websocket", () => (sockets += 1));
await page.goto(new URL(task.link, task.url).href);
await page.locator("form button").first().click();
await page.goto(new URL("/phone", task.url).href);
await page.getByText("Ready", { exact: true }).waitFor();
tell("ready");
await page.getByText("Signed out", { exact: true }).waitFor();
sockets = 0;
await page.waitForTimeout(WATCHED);
const again = sockets;
const problem = await page.getByRole("alert").innerText();
await page.getByRole("link", { name: "Sign in again" }).click();
await page.waitForURL("**/console/sign-in*");
tell("signed_out", { problem, again, url: page.url() });
await browser.close();
