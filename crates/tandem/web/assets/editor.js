// The flow editor: numbers its lines, marks those with a mistake, and goes to them.
// @ts-check

const frame = /** @type {HTMLElement} */ (document.querySelector("[data-editor]"));
const text = /** @type {HTMLTextAreaElement} */ (frame.querySelector("textarea"));
const gutter = /** @type {HTMLElement} */ (frame.querySelector(".gutter"));
const look = /** @type {HTMLElement} */ (document.getElementById("look"));

/** The lines that findings name. */
function wrongLines() {
  const lines = new Set();
  for (const button of look.querySelectorAll(".bad [data-line]")) lines.add(button.getAttribute("data-line"));
  return lines;
}

function number() {
  const wrong = wrongLines();
  const lines = text.value.split("\n").map((_, index) => {
    const line = document.createElement("span");
    line.textContent = `${index + 1}\n`;
    if (wrong.has(String(index + 1))) line.className = "bad";
    return line;
  });
  gutter.replaceChildren(...lines);
  gutter.scrollTop = text.scrollTop;
}

/** Goes to a line and selects it. @param {number} line */
function goTo(line) {
  const lines = text.value.split("\n");
  const start = lines.slice(0, line - 1).reduce((sum, before) => sum + before.length + 1, 0);
  text.focus();
  text.setSelectionRange(start, start + (lines[line - 1] ?? "").length);
  text.scrollTop = (line - 5) * parseFloat(getComputedStyle(text).lineHeight);
}

text.addEventListener("input", number);
text.addEventListener("scroll", () => { gutter.scrollTop = text.scrollTop; });
look.addEventListener("click", (event) => {
  const line = /** @type {HTMLElement} */ (event.target).dataset.line;
  if (line) goTo(Number(line));
});
document.body.addEventListener("htmx:afterSwap", (event) => { if (event.target === look) number(); });
number();
