// @ts-check
/**
 * The small markdown of chat messages: bold, italic, code, links, lists, quotes, blocks of code.
 *
 * A text becomes a tree, and the tree becomes nodes of the document: no text is ever read as HTML. A link leads to http,
 * https, mailto or tel, and to nothing else.
 */

/** Longest text that is looked at for marks, characters; a longer one is shown as it is. */
const MAX_MARKED = 20_000;
/** How deep marks may stand in marks. */
const MAX_DEPTH = 4;

/**
 * @typedef {string | { tag: "strong" | "em" | "del", inside: Inline[] } | { tag: "code", text: string }
 *           | { tag: "a", href: string, inside: Inline[] }} Inline
 * @typedef {{ tag: "p" | "blockquote", lines: Inline[][] } | { tag: "pre", text: string }
 *           | { tag: "ul" | "ol", items: Inline[][], start?: number }} Block
 */

const FENCE = /^```/;
const BULLET = /^\s{0,3}[-*•]\s+(.*)$/;
const NUMBER = /^\s{0,3}(\d{1,6})[.)]\s+(.*)$/;
const QUOTE = /^\s{0,3}>\s?(.*)$/;

/** The next mark in a line, each with a name. */
const MARK = new RegExp(
  [
    "`(?<code>[^`\\n]+)`",
    "\\*\\*(?<bold>\\S(?:[^\\n]*?\\S)?)\\*\\*",
    "__(?<bold2>\\S(?:[^\\n]*?\\S)?)__",
    "~~(?<struck>\\S(?:[^\\n]*?\\S)?)~~",
    "(?<![\\w*])\\*(?<italic>[^\\s*](?:[^*\\n]*?[^\\s*])?)\\*(?![\\w*])",
    "(?<![\\w_])_(?<italic2>[^\\s_](?:[^_\\n]*?[^\\s_])?)_(?![\\w_])",
    "\\[(?<label>[^\\]\\n]{1,500})\\]\\((?<to>[^\\s()]{1,2000}(?:\\([^\\s()]*\\))?[^\\s()]{0,500})\\)",
    "(?<bare>https?:\\/\\/[^\\s<>\"'`]{1,2000})",
  ].join("|"),
  "u",
);

/** The address of a link, or null when it is none that may be followed. @param {string} text */
export function safeHref(text) {
  let url;
  try {
    url = new URL(text);
  } catch {
    return null;
  }
  // Of `https://bank.example@evil.example` only the end says where it leads.
  if (url.username !== "" || url.password !== "") return null;
  return ["http:", "https:", "mailto:", "tel:"].includes(url.protocol) ? url.href : null;
}

/** What in a label looks like the name of a host. */
const HOST = /(?:^|[\s/@(])((?:[\p{L}\p{N}-]+\.)+\p{L}{2,})(?![\p{L}\p{N}-])/giu;

/** Endings of files, of which none is one of hosts. */
const FILE = /\.(?:pdf|docx?|xlsx?|pptx?|odt|ods|odp|rtf|txt|csv|png|jpe?g|gif|webp|svg|mp3|mp4|wav|html?|json|xml)$/i;

/** A host as addresses name it, without its `www`. @param {string} name */
function hostOf(name) {
  try {
    return new URL(`https://${name}`).hostname.replace(/^www\./, "");
  } catch {
    return name;
  }
}

/** Whether the words of a link seem to name another host than the one that it leads to. @param {string} label @param {string} href */
function misleads(label, href) {
  const { hostname, pathname, protocol } = new URL(href);
  const host = protocol === "mailto:" ? (pathname.split("@").at(-1) ?? "") : hostname;
  const named = [...label.matchAll(HOST)].map(([, name]) => name ?? "").filter((name) => !FILE.test(name));
  return named.some((name) => hostOf(name) !== hostOf(host));
}

/** Reads a text. @param {string} text @returns {Block[]} */
export function parse(text) {
  if (text.length > MAX_MARKED) return [{ tag: "p", lines: text.split("\n").map((line) => [line]) }];
  /** @type {Block[]} */
  const blocks = [];
  const lines = text.replace(/\r\n?/g, "\n").split("\n");
  for (let at = 0; at < lines.length; ) {
    const line = lines[at] ?? "";
    if (line.trim() === "") {
      at += 1;
    } else if (FENCE.test(line)) {
      const end = lines.findIndex((other, index) => index > at && FENCE.test(other));
      const until = end === -1 ? lines.length : end;
      blocks.push({ tag: "pre", text: lines.slice(at + 1, until).join("\n") });
      at = until + 1;
    } else {
      const [block, next] = readRun(lines, at);
      blocks.push(block);
      at = next;
    }
  }
  return blocks;
}

/**
 * The lines of one kind from here on, as a block, and where it ends.
 * @param {string[]} lines
 * @param {number} from
 * @returns {[Block, number]}
 */
function readRun(lines, from) {
  const take = (/** @type {RegExp} */ form, /** @type {number} */ group) => {
    const found = [];
    for (let at = from; at < lines.length; at += 1) {
      const match = form.exec(lines[at] ?? "");
      if (!match) break;
      found.push(readLine(match[group] ?? "", 0));
    }
    return found;
  };
  const first = lines[from] ?? "";
  if (BULLET.test(first)) {
    const items = take(BULLET, 1);
    return [{ tag: "ul", items }, from + items.length];
  }
  const numbered = NUMBER.exec(first);
  if (numbered) {
    const items = take(NUMBER, 2);
    return [{ tag: "ol", items, start: Number(numbered[1]) }, from + items.length];
  }
  if (QUOTE.test(first)) {
    const quoted = take(QUOTE, 1);
    return [{ tag: "blockquote", lines: quoted }, from + quoted.length];
  }
  const isPlain = (/** @type {string} */ line) =>
    line.trim() !== "" && ![FENCE, BULLET, NUMBER, QUOTE].some((form) => form.test(line));
  const run = [];
  for (let at = from; at < lines.length && isPlain(lines[at] ?? ""); at += 1) run.push(readLine(lines[at] ?? "", 0));
  return [{ tag: "p", lines: run }, from + run.length];
}

/** @param {string} line @param {number} depth @returns {Inline[]} */
function readLine(line, depth) {
  /** @type {Inline[]} */
  const found = [];
  let rest = line;
  while (rest !== "") {
    const match = depth < MAX_DEPTH ? MARK.exec(rest) : null;
    if (!match) {
      found.push(rest);
      break;
    }
    if (match.index > 0) found.push(rest.slice(0, match.index));
    const [mark, length] = readMark(match, depth);
    found.push(mark);
    rest = rest.slice(match.index + length);
  }
  return found;
}

/**
 * @param {RegExpExecArray} match
 * @param {number} depth
 * @returns {[Inline, number]} the mark, and how many characters it took
 */
function readMark(match, depth) {
  const { code, bold, bold2, struck, italic, italic2, label, to, bare } = match.groups ?? {};
  const whole = match[0];
  const inside = (/** @type {string} */ text) => readLine(text, depth + 1);
  if (code !== undefined) return [{ tag: "code", text: code }, whole.length];
  const strong = bold ?? bold2;
  if (strong !== undefined) return [{ tag: "strong", inside: inside(strong) }, whole.length];
  if (struck !== undefined) return [{ tag: "del", inside: inside(struck) }, whole.length];
  const em = italic ?? italic2;
  if (em !== undefined) return [{ tag: "em", inside: inside(em) }, whole.length];
  if (label !== undefined && to !== undefined) {
    const href = safeHref(to);
    // A label that names another host is words, and the address stands beside it for all to see.
    if (href && misleads(label, href)) return [`[${label}](`, label.length + 3];
    return [href ? { tag: "a", href, inside: [label] } : whole, whole.length];
  }
  // What ends a sentence does not belong to the address in it.
  const address = (bare ?? whole).replace(/[.,;:!?)\]]+$/u, "");
  const href = safeHref(address);
  return [href ? { tag: "a", href, inside: [address] } : whole, href ? address.length : whole.length];
}

/**
 * Draws a text.
 * @param {string} text
 * @returns {DocumentFragment}
 */
export function draw(text) {
  const drawn = document.createDocumentFragment();
  for (const block of parse(text)) drawn.append(drawBlock(block));
  return drawn;
}

/** @param {Block} block */
function drawBlock(block) {
  const element = document.createElement(block.tag);
  // Each line stands in the direction in which it is written.
  element.dir = "auto";
  if (block.tag === "pre") {
    const code = document.createElement("code");
    code.textContent = block.text;
    element.append(code);
    element.dir = "ltr";
    // It may be wider than the window: keys must be able to move it.
    element.tabIndex = 0;
  } else if ("items" in block) {
    if (block.start !== undefined) /** @type {HTMLOListElement} */ (element).start = block.start;
    for (const item of block.items) {
      const li = document.createElement("li");
      li.append(...item.map(drawInline));
      element.append(li);
    }
  } else {
    block.lines.forEach((line, at) => {
      if (at > 0) element.append(document.createElement("br"));
      element.append(...line.map(drawInline));
    });
  }
  return element;
}

/** @param {Inline} inline @returns {Node} */
function drawInline(inline) {
  if (typeof inline === "string") return document.createTextNode(inline);
  const element = document.createElement(inline.tag);
  if (inline.tag === "code") {
    element.textContent = inline.text;
    return element;
  }
  if (inline.tag === "a") {
    const link = /** @type {HTMLAnchorElement} */ (element);
    link.href = inline.href;
    link.target = "_blank";
    link.rel = "noopener noreferrer nofollow ugc";
  }
  element.append(...inline.inside.map(drawInline));
  return element;
}

/** The words of a text without its marks, for a list or a notification. @param {string} text */
export function plain(text) {
  const words = (/** @type {Inline} */ inline) => {
    if (typeof inline === "string") return inline;
    return inline.tag === "code" ? inline.text : /** @type {any} */ (inline.inside).map(words).join("");
  };
  const ofBlock = (/** @type {Block} */ block) => {
    if (block.tag === "pre") return block.text;
    const lines = "items" in block ? block.items : block.lines;
    return lines.map((line) => line.map(words).join("")).join(" ");
  };
  return parse(text).map(ofBlock).join(" ");
}
