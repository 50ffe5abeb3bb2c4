// @ts-check
/**
 * The visitor's own phone in a page about something else: a `<details data-dock>` that holds it while it is open. Once
 * open, it is open on every page of this tab that has such a place, so that a call goes on from page to page.
 *
 * Inside `data-own` (an extension), a form that calls this very extension opens the phone first, when no other rings.
 */

/** Where it is kept that the phone is open. */
const MEMORY = "tandem-dock";

const dock = /** @type {HTMLDetailsElement | null} */ (document.querySelector("details[data-dock]"));

/** Puts the phone into its place, or takes it away, which hangs its calls up. */
async function settle() {
  if (!dock) return;
  const phone = dock.querySelector("tandem-phone");
  if (!dock.open) {
    sessionStorage.removeItem(MEMORY);
    phone?.remove();
  } else if (!phone) {
    sessionStorage.setItem(MEMORY, "open");
    await import("./phone.js");
    if (dock.open && !dock.querySelector("tandem-phone")) dock.append(document.createElement("tandem-phone"));
  }
}

/** Waits until the phone can ring. */
function ready() {
  return new Promise((resolve) => {
    dock?.addEventListener("phonechange", (event) => {
      if (/** @type {CustomEvent} */ (event).detail.online) resolve(undefined);
    });
  });
}

/** "Call me" needs a phone that rings. */
function openBeforeCalling() {
  const place = dock?.closest("[data-own]");
  const form = place?.querySelector("form");
  if (!dock || !place || !form || !("auto" in dock.dataset)) return;
  form.addEventListener("submit", async (event) => {
    const number = new FormData(form).get("to");
    if (dock.open || String(number).trim() !== place.getAttribute("data-own")) return;
    event.preventDefault();
    const rings = ready();
    dock.open = true;
    await rings;
    form.submit();
  });
}

dock?.addEventListener("toggle", settle);
if (dock && sessionStorage.getItem(MEMORY)) dock.open = true;
openBeforeCalling();
