// @ts-check
/**
 * The frame beside a form shows at once what is typed: how the chat would look.
 */

/** The brightness of a colour, 0 to 1 (WCAG 2.2, "relative luminance"). @param {string} colour `#rrggbb` */
function luminance(colour) {
  const part = (/** @type {number} */ at) => {
    const share = Number.parseInt(colour.slice(at, at + 2), 16) / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  };
  return 0.2126 * part(1) + 0.7152 * part(3) + 0.0722 * part(5);
}

/** White or black, whichever is read better on a colour: as the server chooses. @param {string} colour */
function wordsOn(colour) {
  const contrast = (/** @type {string} */ other) => {
    const [low, high] = [luminance(colour), luminance(other)].sort((one, two) => one - two);
    return ((high ?? 0) + 0.05) / ((low ?? 0) + 0.05);
  };
  return contrast("#ffffff") >= contrast("#000000") ? "#ffffff" : "#000000";
}

const frame = /** @type {HTMLIFrameElement | null} */ (document.querySelector("iframe[data-preview]"));
const form = /** @type {HTMLFormElement | null} */ (document.querySelector("form[data-form][method=post].fields"));

/** What the form says now. */
function look() {
  const typed = new FormData(form ?? undefined);
  const text = (/** @type {string} */ name) => String(typed.get(name) ?? "").trim();
  const accent = text("widget_accent");
  return {
    title: text("widget_title") || frame?.dataset.name,
    greeting: text("widget_greeting"),
    theme: text("widget_theme"),
    accent,
    accent_text: wordsOn(accent),
  };
}

function show() {
  frame?.contentWindow?.postMessage({ tandem: "hello" }, location.origin);
  frame?.contentWindow?.postMessage({ tandem: "look", look: look() }, location.origin);
}

/** The words of the frame are those of its address. @param {string} locale */
function speak(locale) {
  if (!frame) return;
  const url = new URL(frame.src);
  url.searchParams.set("locale", locale === "auto" ? navigator.language : locale);
  frame.src = url.href;
}

if (frame && form) {
  form.addEventListener("input", show);
  form.addEventListener("change", ({ target }) => {
    if (target instanceof HTMLSelectElement && target.name === "widget_locale") speak(target.value);
  });
  frame.addEventListener("load", show);
  show();
}

export {};
