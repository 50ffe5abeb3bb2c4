// @ts-check
/**
 * The page of a party to a meeting: times in the viewer's own zone, countdowns that nobody has to hear, cards that are
 * read again when something happens, and the call in the page. Without this script its forms work all the same, but for
 * the call in the page itself.
 */
import "./phone.js";

/** @typedef {import("./phone.js").TandemPhone} TandemPhone */

/** Countdowns are drawn anew so often, ms. */
const EVERY = 1_000;
/** What happens within so many ms is one reading of the cards. */
const REFRESH_AFTER = 200;
/** A countdown that is over is followed by a reading this much later, ms: the server's clock decides. */
const AFTER_THE_END = 1_200;
/** The call that follows a press of the button is answered by itself when it comes within so many ms. */
const EXPECTED_WITHIN = 60_000;
/** Between two attempts once the browser has given the connection up, ms: the first, and the most. */
const FIRST_PAUSE = 1_000;
const LONGEST_PAUSE = 30_000;
const MINUTE = 60_000;

const zone = new Intl.DateTimeFormat().resolvedOptions().timeZone;
const cards = /** @type {HTMLElement} */ (document.getElementById("cards"));
const news = /** @type {HTMLElement} */ (document.getElementById("news"));
const said = /** @type {HTMLElement} */ (document.getElementById("said"));
/** While there is something to talk about in this page. @type {TandemPhone | null} */
let phone = document.querySelector("tandem-phone");
const mark = cards.dataset.mark ?? "";

/** The server's clock less ours, ms. */
let skew = Number(cards.dataset.now) - Date.now();
const now = () => Date.now() + skew;

// --- times

/** @type {Record<string, Intl.DateTimeFormatOptions>} */
const FORMS = {
  day: { weekday: "long", day: "numeric", month: "long" },
  time: { hour: "numeric", minute: "2-digit" },
  both: { weekday: "short", day: "numeric", month: "short", hour: "numeric", minute: "2-digit" },
};

/** @param {Date} at @param {string} timeZone */
function dayOf(at, timeZone) {
  return at.toLocaleDateString("en-CA", { timeZone });
}

/** @param {Date} at @param {string} form */
function written(at, form) {
  const today = new Date(now());
  const year = at.getFullYear() === today.getFullYear() ? undefined : "numeric";
  if (form === "time") return at.toLocaleString(undefined, FORMS.time);
  if (form !== "day") return at.toLocaleString(undefined, { ...FORMS[form], year });
  // The next day of the calendar: a day is not always 24 hours.
  const tomorrow = new Date(today.getFullYear(), today.getMonth(), today.getDate() + 1);
  if (dayOf(at, zone) === dayOf(today, zone)) return "Today";
  if (dayOf(at, zone) === dayOf(tomorrow, zone)) return "Tomorrow";
  return at.toLocaleString(undefined, { ...FORMS.day, year });
}

/** The day for which times are shown: the next day "Tomorrow" is another word. */
let shownOn = "";

/** Shows every moment in the viewer's own zone, and in the application's where the two differ. @param {ParentNode} root */
function showTimes(root) {
  shownOn = dayOf(new Date(now()), zone);
  for (const element of root.querySelectorAll("time[data-form]")) {
    const at = new Date(element.getAttribute("datetime") ?? "");
    if (!Number.isNaN(at.getTime())) element.textContent = written(at, element.getAttribute("data-form") ?? "both");
  }
  for (const element of root.querySelectorAll("[data-zone]")) {
    const at = new Date(element.getAttribute("data-at") ?? "");
    const theirs = element.getAttribute("data-zone") ?? "UTC";
    const clock = (/** @type {string} */ timeZone) => at.toLocaleString(undefined, { ...FORMS.time, timeZone });
    const differs = clock(theirs) !== clock(zone) || dayOf(at, theirs) !== dayOf(at, zone);
    element.textContent = differs ? `${clock(theirs)} in ${theirs.replaceAll("_", " ")}` : "";
  }
}

/** Lets forms speak of the viewer's own time. @param {ParentNode} root */
function fillForms(root) {
  for (const input of root.querySelectorAll("input[name=zone]")) {
    if (!(input instanceof HTMLInputElement)) continue;
    input.value = zone;
    const hint = input.form?.querySelector("[data-own-time]");
    if (hint) hint.textContent = `Your time (${zone.replaceAll("_", " ")}).`;
    const start = input.form?.querySelector("input[data-at]");
    if (start instanceof HTMLInputElement) start.value = localMinute(new Date(start.dataset.at ?? ""));
  }
}

/** As an input of the kind datetime-local has it. @param {Date} at */
function localMinute(at) {
  const two = (/** @type {number} */ number) => String(number).padStart(2, "0");
  const day = `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
  return `${day}T${two(at.getHours())}:${two(at.getMinutes())}`;
}

// --- countdowns

/** How long, in words: what is left is rounded up, so that nothing is over before it is. @param {number} ms */
function span(ms) {
  const minutes = Math.ceil(ms / MINUTE);
  if (ms < MINUTE) return "less than a minute";
  if (minutes < 60) return minutes === 1 ? "1 minute" : `${minutes} minutes`;
  const hours = Math.floor(minutes / 60);
  if (hours >= 48) return `${Math.round(hours / 24)} days`;
  const rest = minutes % 60;
  const words = hours === 1 ? "1 hour" : `${hours} hours`;
  return rest === 0 || hours >= 12 ? words : `${words} ${rest === 1 ? "1 minute" : `${rest} minutes`}`;
}

/** Draws what is left. These words are in no live region: a screen reader reads them when it is asked to. */
function count() {
  let isOver = false;
  for (const element of /** @type {NodeListOf<HTMLElement>} */ (cards.querySelectorAll("[data-until]"))) {
    const left = Number(element.dataset.until) - now();
    const text = (element.dataset.words ?? "{}").replace("{}", span(Math.max(0, left)));
    if (element.textContent !== text) element.textContent = text;
    if (left <= 0 && !element.dataset.over) {
      element.dataset.over = "1";
      isOver = true;
    }
  }
  if (isOver) setTimeout(refreshSoon, AFTER_THE_END);
  if (shownOn !== dayOf(new Date(now()), zone)) showTimes(cards);
}

// --- what happens

let waits = false;
/** Several changes at once are one reading. */
function refreshSoon() {
  if (waits) return;
  waits = true;
  setTimeout(() => {
    waits = false;
    void refresh();
  }, REFRESH_AFTER);
}

/** Reads the cards again; what somebody types just now stays. */
async function refresh() {
  const answer = await fetch(`/meetings/cards?for=${mark}`, { headers: { accept: "text/html" } }).catch(() => null);
  if (!answer) return;
  if (answer.status === 401 || answer.status === 409) return stopFollowing(answer.status);
  if (!answer.ok) return;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("cards");
  if (!fresh) return;
  skew = Number(fresh.dataset.now) - Date.now();
  exchange(fresh);
}

/** Who it is with. @param {Element} card */
const nameOf = (card) => card.querySelector("h3")?.textContent ?? "";

/** A meeting in a sentence: of somebody without a name its title says nothing of a person.
 * @param {Element} card @param {string} meeting
 */
const withWhom = (card, meeting) => (card.hasAttribute("data-named") ? `${meeting} with ${nameOf(card)}` : meeting);

/** Puts what has changed in the place of what was there. @param {HTMLElement} fresh */
function exchange(fresh) {
  /** @type {Map<string, HTMLElement>} */
  const before = new Map();
  for (const card of /** @type {NodeListOf<HTMLElement>} */ (cards.querySelectorAll("[data-meeting]"))) before.set(card.id, card);
  /** @type {string[]} */
  const words = [];
  const focused = document.activeElement?.closest("[data-meeting]") ? document.activeElement : null;
  for (const card of /** @type {NodeListOf<HTMLElement>} */ (fresh.querySelectorAll("[data-meeting]"))) {
    const old = before.get(card.id);
    if (!old) words.push(`New: ${withWhom(card, "a meeting")}.`);
    else if (old.dataset.revision === card.dataset.revision && old.dataset.phase === card.dataset.phase) {
      // As it was: the old one, with whatever is open and typed in it.
      card.replaceWith(old);
      continue;
    } else {
      words.push(...changes(old, card));
    }
    showTimes(card);
    fillForms(card);
    if (old) keepOpen(old, card);
    if (card.dataset.talk === "browser" && card.dataset.group !== "past") bringPhone();
  }
  cards.replaceChildren(...fresh.childNodes);
  tellPhone();
  count();
  remember();
  if (focused && !document.contains(focused)) focusAgain(focused);
  else if (focused instanceof HTMLElement) focused.focus({ preventScroll: true });
  if (words.length > 0) news.textContent = words.join(" ");
}

/** Opens again what was open, with what was typed in it. @param {HTMLElement} old @param {HTMLElement} card */
function keepOpen(old, card) {
  for (const open of /** @type {NodeListOf<HTMLDetailsElement>} */ (old.querySelectorAll("details[open]"))) {
    const same = card.querySelector(`details[data-part="${open.dataset.part}"]`);
    if (!(same instanceof HTMLDetailsElement)) continue;
    same.open = true;
    for (const input of /** @type {NodeListOf<HTMLInputElement>} */ (open.querySelectorAll("input:not([type=hidden])"))) {
      const again = same.querySelector(`input[name="${input.name}"]`);
      if (again instanceof HTMLInputElement) again.value = input.value;
    }
  }
}

/** Puts a phone into a page that was loaded when there was nothing to talk about in it. */
function bringPhone() {
  if (phone) return;
  phone = /** @type {TandemPhone} */ (document.createElement("tandem-phone"));
  phone.setAttribute("mode", "party");
  phone.setAttribute("socket", `/v1/rtc?party=${mark}`);
  cards.before(phone);
}

/** What the cards and the phone tell each other. */
function tellPhone() {
  if (!phone) return;
  phone.awaits = cards.querySelector("[data-awaits]") !== null;
  showWhereItIs();
}

/** A call that is not in this page is somewhere else. */
function showWhereItIs() {
  const view = phone?.view;
  const isElsewhere = view?.online && view.calls.every(({ state }) => state === "ended");
  for (const hint of /** @type {NodeListOf<HTMLElement>} */ (cards.querySelectorAll("[data-elsewhere]"))) {
    hint.hidden = !isElsewhere;
  }
}

/** What there is to say of a card that is another one now. @param {HTMLElement} old @param {HTMLElement} card */
function changes(old, card) {
  const words = [];
  const state = card.querySelector(".state");
  if (state && old.dataset.phase !== card.dataset.phase) {
    const copy = /** @type {HTMLElement} */ (state.cloneNode(true));
    showTimes(copy);
    words.push(`${nameOf(card)}: ${copy.textContent?.trim()}.`);
  }
  const proposal = card.querySelector("[data-proposal]")?.getAttribute("data-proposal");
  const asked = old.querySelector("[data-proposal]")?.getAttribute("data-proposal");
  if (proposal && proposal !== asked) words.push(proposal);
  return words;
}

/** Where it is kept when each meeting began, as this page showed it the last time. */
const memory = `tandem-meetings-${mark}`;

/** Remembers when the meetings begin; what was moved while nobody looked is told once. */
function remember() {
  /** @type {Record<string, string>} */
  const before = JSON.parse(localStorage.getItem(memory) ?? "{}");
  /** @type {Record<string, string>} */
  const after = {};
  for (const card of /** @type {NodeListOf<HTMLElement>} */ (cards.querySelectorAll("[data-meeting]:not(.past)"))) {
    const { meeting = "", starts = "" } = card.dataset;
    after[meeting] = starts;
    if ((before[meeting] ?? starts) !== starts) sayMoved(card);
  }
  localStorage.setItem(memory, JSON.stringify(after));
}

/** @param {HTMLElement} card */
function sayMoved(card) {
  const at = written(new Date(Number(card.dataset.starts)), "both");
  say(`${withWhom(card, "Your meeting")} was moved. It begins on ${at}.`, "busy");
}

/** Gives the focus to what stands for what had it. @param {Element} gone */
function focusAgain(gone) {
  const card = document.getElementById(gone.closest("[data-meeting]")?.id ?? "");
  const name = gone.textContent?.trim();
  const same = [...(card?.querySelectorAll("button, summary, input") ?? [])].find((each) => each.textContent?.trim() === name);
  const target = same ?? card?.querySelector("h3");
  if (target instanceof HTMLElement) target.focus({ preventScroll: true });
}

/** Says something above the cards, and says it aloud. @param {string} text @param {"good" | "bad" | "busy"} kind */
function say(text, kind) {
  said.className = `notice ${kind}`;
  said.textContent = text;
  said.hidden = false;
}

/** @type {EventSource | null} */
let source = null;
/** @type {number | undefined} */
let again;
let pause = FIRST_PAUSE;
let isStopped = false;

/** Follows the own meetings while somebody sees the page. */
function follow() {
  clearTimeout(again);
  if (source || isStopped || document.hidden) return;
  source = new EventSource(`/meetings/live?for=${mark}`);
  source.addEventListener("open", () => {
    pause = FIRST_PAUSE;
    document.body.classList.add("is-live");
    refreshSoon();
  });
  source.addEventListener("changed", refreshSoon);
  source.addEventListener("error", () => {
    document.body.classList.remove("is-live");
    // The browser tries again by itself, but not after an answer that is no stream.
    if (source?.readyState !== EventSource.CLOSED) return;
    source = null;
    void refresh();
    again = setTimeout(follow, pause);
    pause = Math.min(2 * pause, LONGEST_PAUSE);
  });
}

function unfollow() {
  clearTimeout(again);
  source?.close();
  source = null;
}

/** This page is nobody's any more. @param {number} status */
function stopFollowing(status) {
  isStopped = true;
  unfollow();
  say(
    status === 409
      ? "Somebody else has signed in with this browser. To go on here, open your own link again."
      : "You are signed out. To come back, open your link again.",
    "bad",
  );
}

// --- what is done

/** What is said when a form was taken, by the last part of its address. @type {Record<string, string>} */
const DONE = {
  extend: "There is more time now.",
  finish: "The meeting has ended.",
  cancel: "The meeting is cancelled.",
  propose: "The other side is asked now. Until there is an answer, the old time holds.",
  confirm: "The meeting is at its new time now.",
  decline: "The meeting stays at its old time.",
};

/** Sends the form of a card without leaving the page, in which somebody may be talking. @param {HTMLFormElement} form */
async function send(form) {
  const button = form.querySelector("button");
  if (!button || button.disabled) return;
  button.disabled = true;
  said.hidden = true;
  const line = form.dataset.call === "browser" ? phone : null;
  try {
    // The page is the phone, so that it needs a microphone first.
    if (line && !(await line.expect(EXPECTED_WITHIN))) return line.scrollIntoView({ block: "nearest" });
    const refusal = await post(form);
    if (refusal !== null) line?.forget();
    const done = DONE[form.action.split("/").pop() ?? ""];
    if (refusal !== null) say(refusal, "bad");
    else if (done) say(done, "good");
  } finally {
    button.disabled = false;
    refreshSoon();
  }
}

/** Posts a form; gives what is in the way, in words. @param {HTMLFormElement} form @returns {Promise<string | null>} */
async function post(form) {
  const fields = new URLSearchParams();
  for (const [name, value] of new FormData(form)) fields.append(name, String(value));
  try {
    const answer = await fetch(form.action, { method: "POST", body: fields, redirect: "manual" });
    if (answer.type === "opaqueredirect" || answer.ok) return null;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    return page.querySelector("[data-sentence]")?.textContent?.trim() ?? "That did not work. Try again in a moment.";
  } catch {
    return "The server could not be reached. Look at your connection, then try again.";
  }
}

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (!(form instanceof HTMLFormElement) || !cards.contains(form)) return;
  event.preventDefault();
  void send(form);
});
document.addEventListener("phonechange", showWhereItIs);
document.addEventListener("visibilitychange", () => (document.hidden ? unfollow() : follow()));
// A page that is left may come back as it was.
addEventListener("pageshow", ({ persisted }) => { if (persisted) refreshSoon(); });

showTimes(document);
fillForms(document);
tellPhone();
count();
remember();
setInterval(count, EVERY);
follow();
