// What every page of the console does in the browser: times in the visitor's zone, the menu, questions before a
// deletion, parts that are read again when something happens.
// @ts-check

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

/** The menu on a narrow screen. */
function openMenu() {
  const button = document.querySelector("[data-menu]");
  button?.addEventListener("click", () => {
    const isOpen = document.body.classList.toggle("menu-open");
    button.setAttribute("aria-expanded", String(isOpen));
  });
}

/** An open sheet closes by Escape and by a click elsewhere. */
function closeSheets() {
  const close = (/** @type {Event} */ event) => {
    for (const sheet of document.querySelectorAll("details[data-drop][open]")) {
      if (event instanceof KeyboardEvent ? event.key === "Escape" : !sheet.contains(/** @type {Node} */ (event.target))) {
        sheet.removeAttribute("open");
      }
    }
  };
  document.addEventListener("click", close);
  document.addEventListener("keydown", close);
}

/** A form that says `data-sure` asks before it is sent. */
function askFirst() {
  document.addEventListener("submit", (event) => {
    const form = /** @type {HTMLFormElement} */ (event.target);
    const question = form.dataset.sure;
    if (question && !window.confirm(question)) event.preventDefault();
  });
}

/** The first field that is wrong has the focus. */
function goToError() {
  const field = document.querySelector("[aria-invalid='true']");
  if (field instanceof HTMLElement) field.focus();
}

/**
 * Parts with `data-live` are read again when an event of the organisation comes; several events at once are one
 * reading. Other modules hear each event as `tandem:event` on the document.
 */
function followEvents() {
  const wanted = document.querySelector("[data-live]");
  if (!wanted) return;
  const source = new EventSource("/v1/tap");
  let waits = false;
  const refresh = () => {
    if (waits) return;
    waits = true;
    setTimeout(() => {
      waits = false;
      document.body.dispatchEvent(new CustomEvent("tandem:changed"));
    }, 250);
  };
  const kinds = (wanted.getAttribute("data-live") ?? "").split(" ").filter(Boolean);
  for (const kind of kinds) {
    source.addEventListener(kind, (message) => {
      document.dispatchEvent(new CustomEvent("tandem:event", { detail: JSON.parse(message.data) }));
      refresh();
    });
  }
  source.addEventListener("open", () => document.body.classList.add("is-live"));
  source.addEventListener("error", () => document.body.classList.remove("is-live"));
}

/** Whoever was signed out meanwhile is asked to sign in, instead of seeing half a page. */
function noticeSignOut() {
  document.body.addEventListener("htmx:beforeSwap", (event) => {
    const request = /** @type {any} */ (event).detail.xhr;
    if (request.responseURL.includes("/console/sign-in")) window.location.reload();
  });
  document.body.addEventListener("htmx:afterSwap", (event) => showTimes(/** @type {HTMLElement} */ (event.target)));
}

/** Lights the drawn flow of a live call, step by step. */
function lightGraph() {
  const graph = document.querySelector("svg[data-call]");
  if (!graph) return;
  const find = (/** @type {string} */ name, /** @type {string} */ id) =>
    [...graph.querySelectorAll(`[data-${name}]`)].filter((element) => element.getAttribute(`data-${name}`) === id);
  document.addEventListener("tandem:event", (message) => {
    const event = /** @type {CustomEvent} */ (message).detail;
    if (event.call?.id !== graph.getAttribute("data-call")) return;
    const id = event.step?.id;
    if (event.type === "step.started") {
      for (const here of graph.querySelectorAll(".here")) here.classList.replace("here", "was");
      for (const step of find("step", id)) {
        step.classList.add("here");
        step.scrollIntoView({ block: "nearest", inline: "nearest" });
      }
    } else if (event.type === "step.completed" || event.type === "step.failed") {
      const arrows = find("from", id).filter((arrow) => arrow.getAttribute("data-to") === event.data.next);
      const named = arrows.filter((arrow) => arrow.getAttribute("data-outcome") === event.data.outcome);
      for (const arrow of named.length > 0 ? named : arrows) arrow.classList.add("was");
    } else if (event.type === "call.completed") {
      for (const here of graph.querySelectorAll(".here")) here.classList.replace("here", "was");
    }
  });
}

/** A drawing that is wider than its place begins at the entry, or where the call is. */
function centreGraphs() {
  for (const graph of document.querySelectorAll(".graph")) {
    const step = graph.querySelector(".here") ?? graph.querySelector(".step");
    if (!step) continue;
    const [outer, inner] = [graph.getBoundingClientRect(), step.getBoundingClientRect()];
    graph.scrollLeft += inner.left + inner.width / 2 - outer.left - outer.width / 2;
  }
}

showTimes(document);
centreGraphs();
openMenu();
lightGraph();
closeSheets();
askFirst();
goToError();
followEvents();
noticeSignOut();
