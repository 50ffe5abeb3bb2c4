// What every page of the console does in the browser: times in the visitor's zone, the menu, questions before a
// deletion, parts that are read again when something happens.
// @ts-check
import { centreDrawings, lightGraph } from "./graph.js";
import { follow } from "./tap.js";

/** What happens within so many ms is one reading of a live part. */
const REFRESH_AFTER = 250;

/** Shows every moment in the visitor's own zone. @param {ParentNode} root */
function showTimes(root) {
  const now = new Date();
  for (const element of root.querySelectorAll("time[datetime]")) {
    const at = new Date(element.getAttribute("datetime") ?? "");
    if (Number.isNaN(at.getTime())) continue;
    if (element.hasAttribute("data-exact")) {
      element.textContent = at.toLocaleTimeString(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 1 });
      element.setAttribute("title", at.toISOString());
      continue;
    }
    const today = at.toDateString() === now.toDateString();
    element.textContent = at.toLocaleString(undefined, today
      ? { hour: "2-digit", minute: "2-digit", second: "2-digit" }
      : { dateStyle: "medium", timeStyle: "short" });
    element.setAttribute("title", at.toISOString());
  }
}

/** The menu on a narrow screen; it closes by Escape. */
function openMenu() {
  const button = /** @type {HTMLElement | null} */ (document.querySelector("[data-menu]"));
  if (!button) return;
  const show = (/** @type {boolean} */ isOpen) => {
    document.body.classList.toggle("menu-open", isOpen);
    button.setAttribute("aria-expanded", String(isOpen));
  };
  const isOpen = () => document.body.classList.contains("menu-open");
  button.addEventListener("click", () => show(!isOpen()));
  document.addEventListener("keydown", ({ key }) => {
    if (key !== "Escape" || !isOpen()) return;
    show(false);
    button.focus();
  });
}

/** An open sheet closes by Escape, which gives the focus back, and by a click elsewhere. */
function closeSheets() {
  const open = () => /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll("details[data-drop][open]"));
  document.addEventListener("click", (event) => {
    for (const sheet of open()) if (!sheet.contains(/** @type {Node} */ (event.target))) sheet.removeAttribute("open");
  });
  document.addEventListener("keydown", ({ key }) => {
    if (key !== "Escape") return;
    for (const sheet of open()) {
      const hadFocus = sheet.contains(document.activeElement);
      sheet.removeAttribute("open");
      if (hadFocus) sheet.querySelector("summary")?.focus();
    }
  });
}

/** A form that says `data-sure` asks before it is sent. */
function askFirst() {
  document.addEventListener("submit", (event) => {
    const form = /** @type {HTMLFormElement} */ (event.target);
    const question = form.dataset.sure;
    if (question && !window.confirm(question)) event.preventDefault();
  });
}

/** The first thing that is wrong has the focus: a field, or the sentence above the form. */
function goToError() {
  const wrong = document.querySelector("form [aria-invalid='true'], form .notice.bad");
  if (wrong instanceof HTMLElement) wrong.focus();
}

/**
 * Parts with `data-live` are read again when an event of the organisation comes; several events at once are one
 * reading. Other modules hear each event as `tandem:event` on the document, and `tandem:open` when earlier ones may have
 * been missed.
 */
function followEvents() {
  const wanted = document.querySelector("[data-live]");
  if (!wanted) return;
  let waits = false;
  const refresh = () => {
    if (waits) return;
    waits = true;
    setTimeout(() => {
      waits = false;
      document.body.dispatchEvent(new CustomEvent("tandem:changed"));
    }, REFRESH_AFTER);
  };
  follow((wanted.getAttribute("data-live") ?? "").split(" ").filter(Boolean), (news) => {
    document.body.classList.toggle("is-live", news.what !== "lost");
    if (news.what === "event") document.dispatchEvent(new CustomEvent("tandem:event", { detail: news.event }));
    if (news.what === "open") document.dispatchEvent(new CustomEvent("tandem:open"));
    if (news.what !== "lost") refresh();
  });
}

/** What keeps a part of the page from being read again: by the status of the answer, the words and the way out. */
const HINDRANCES = new Map([
  [401, { words: "You are signed out. What stands here stays: sign in in a new tab, then go on.", label: "Sign in", path: "/console/sign-in" }],
  [409, { words: "This browser works in another organisation now, in another tab. This page does not follow any more.", label: "To the overview", path: "/console" }],
]);

/** Says above the page why it does not follow, once; nothing that was typed is lost. @param {number} status */
function sayHindrance(status) {
  const hindrance = HINDRANCES.get(status);
  if (!hindrance || document.querySelector("[data-hindrance]")) return;
  const notice = document.createElement("p");
  notice.className = "notice bad";
  notice.setAttribute("role", "alert");
  notice.dataset.hindrance = String(status);
  const link = document.createElement("a");
  link.href = hindrance.path;
  link.target = "_blank";
  link.rel = "noopener";
  link.textContent = hindrance.label;
  const words = document.createElement("span");
  words.append(`${hindrance.words} `, link);
  notice.append(words);
  document.getElementById("main")?.prepend(notice);
}

/** Whoever was signed out meanwhile, or works elsewhere, is told so; the page and what was typed on it stay. */
function noticeHindrances() {
  document.body.addEventListener("htmx:responseError", (event) => sayHindrance(/** @type {any} */ (event).detail.xhr.status));
  document.body.addEventListener("htmx:afterSwap", (event) => {
    document.querySelector("[data-hindrance]")?.remove();
    showTimes(/** @type {HTMLElement} */ (event.target));
  });
}

showTimes(document);
centreDrawings();
openMenu();
lightGraph();
closeSheets();
askFirst();
goToError();
followEvents();
noticeHindrances();
