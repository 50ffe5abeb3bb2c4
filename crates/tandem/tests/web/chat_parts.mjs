// @ts-check
/** The parts of the chat that need no page: what a thread makes of frames, what markdown is read as. Tells `good` at the end. */
import assert from "node:assert/strict";
import { mock } from "node:test";
import { tell } from "./browser.mjs";

const assets = new URL("../../web/assets/", import.meta.url);
const { Thread, EDIT_WINDOW, TYPING_FOR } = await import(new URL("chat-thread.js", assets).href);
const { parse, plain, safeHref } = await import(new URL("chat-text.js", assets).href);
const { choose, LOCALES, regionOf, Words } = await import(new URL("chat-words.js", assets).href);

const ROOM = "65f0aa0000000000000000aa";
const NOW = Date.parse("2031-05-01T17:00:00.000Z");
const visitor = { role: "visitor" };
const fay = { role: "agent", id: "per_1" };

/** @param {number} seq @param {object} [more] */
const msg = (seq, more = {}) => ({
  type: "msg", room: ROOM, seq, id: `m${seq}`, kind: "text", body: `text ${seq}`, author: "", side: false,
  at: "2031-05-01T17:00:00.000Z", role: "agent", sender: "per_1", ...more,
});
/** @param {any} thread */
const seqs = (thread) => thread.messages.map((/** @type {any} */ { seq }) => seq);

// Once and in order, however often and in whatever order they are told.
{
  const thread = new Thread(ROOM, visitor);
  assert.equal(thread.apply(msg(1), NOW), "message");
  assert.equal(thread.apply(msg(1), NOW), null, "once");
  assert.equal(thread.apply(msg(4), NOW), "gap");
  assert.equal(thread.cursor, 1, "what is missing is asked for again");
  assert.equal(thread.apply(msg(3), NOW), "gap");
  assert.equal(thread.apply(msg(2), NOW), "message");
  assert.deepEqual([seqs(thread), thread.cursor], [[1, 2, 3, 4], 4]);
  assert.equal(thread.apply({ ...msg(5), room: "another" }, NOW), null);
  // Every order of five messages ends in the same thread.
  const orders = (/** @type {number[]} */ rest) => /** @type {number[][]} */ (rest.length < 2 ? [rest] : rest.flatMap((first) => orders(rest.filter((one) => one !== first)).map((others) => [first, ...others])));
  for (const order of orders([1, 2, 3, 4, 5])) {
    const mixed = new Thread(ROOM, visitor);
    for (const seq of order) mixed.apply(msg(seq), NOW);
    assert.deepEqual([seqs(mixed), mixed.cursor], [[1, 2, 3, 4, 5], 5], order.join());
  }
}

// A fetch fills a gap, though a number of it never comes.
{
  const thread = new Thread(ROOM, visitor);
  thread.apply(msg(1), NOW);
  assert.equal(thread.apply(msg(4), NOW), "gap");
  thread.fill([msg(2), msg(4)]);
  assert.deepEqual([seqs(thread), thread.cursor], [[1, 2, 4], 4]);
  thread.fill([]);
  assert.equal(thread.cursor, 4);
}

// A message of one's own is on its way until it is told or acknowledged, whichever comes first; never two of it.
for (const first of ["msg", "ack"]) {
  const thread = new Thread(ROOM, visitor);
  const pending = (/** @type {string} */ cid) => ({ cid, kind: "text", body: "Hi", at: "" });
  thread.pending.push(pending("c1"), pending("c2"));
  const told = msg(1, { role: "visitor", sender: undefined, cid: "c1", body: "Hi" });
  const ack = { type: "ack", room: ROOM, cid: "c1", seq: 1, id: "m1", at: told.at };
  const [one, other] = first === "msg" ? [told, ack] : [ack, told];
  assert.equal(thread.apply(one, NOW), "message");
  assert.equal(thread.apply(other, NOW), null);
  assert.deepEqual(thread.pending.map(({ cid }) => cid), ["c2"]);
  assert.deepEqual([seqs(thread), thread.unread], [[1], 0]);
  assert.ok(thread.isMine(thread.messages[0]));
}

// Changes, receipts, typing.
{
  const thread = new Thread(ROOM, visitor);
  thread.apply(msg(1, { role: "visitor", sender: undefined }), NOW);
  thread.apply(msg(2), NOW);
  assert.ok(thread.mayChange(thread.get(1), NOW + EDIT_WINDOW - 1) && !thread.mayChange(thread.get(1), NOW + EDIT_WINDOW));
  assert.ok(!thread.mayChange(thread.get(2), NOW), "somebody else's");
  assert.equal(thread.apply({ type: "edit", room: ROOM, seq: 1, body: "Other", at: "x" }, NOW), "changed");
  assert.deepEqual([thread.get(1).body, thread.get(1).edited_at], ["Other", "x"]);
  assert.equal(thread.apply({ type: "delete", room: ROOM, seq: 1, at: "y" }, NOW), "changed");
  assert.deepEqual([thread.get(1).body, thread.get(1).deleted_at], [null, "y"]);
  assert.ok(!thread.mayChange(thread.get(1), NOW));
  assert.equal(thread.apply({ type: "edit", room: ROOM, seq: 9, body: "", at: "" }, NOW), null);

  assert.equal(thread.unread, 1);
  const read = (/** @type {object} */ from, /** @type {number} */ seq, delivered = seq) => thread.apply({ type: "read", room: ROOM, from, seq, delivered }, NOW);
  assert.equal(read(fay, 0, 2), "receipt");
  assert.deepEqual([thread.readByOthers, thread.deliveredToOthers], [0, 2]);
  assert.equal(read(fay, 1), "receipt");
  assert.equal(read(fay, 0), null, "never back");
  assert.equal(read({ role: "agent", id: "per_2" }, 2), "receipt");
  assert.equal(thread.readByOthers, 2, "the furthest of those who answer");
  read(visitor, 2);
  assert.deepEqual([thread.readByMe, thread.unread, thread.readByOthers], [2, 0, 2]);

  const typing = (/** @type {object} */ from, /** @type {boolean} */ on) => thread.apply({ type: "typing", room: ROOM, from, on }, NOW);
  assert.equal(typing(visitor, true), null, "oneself");
  typing(fay, true);
  assert.deepEqual([thread.typing(NOW).length, thread.typing(NOW + TYPING_FOR).length], [1, 0]);
  thread.apply(msg(3), NOW);
  assert.equal(thread.typing(NOW).length, 0, "who has said it types no more");
  assert.equal(thread.apply({ type: "room", room: ROOM, state: "closed" }, NOW), "room");
  const agent = new Thread(ROOM, fay);
  assert.equal(agent.apply({ type: "draft", room: ROOM, from: visitor, text: "I wou" }, NOW), "draft");
  assert.equal(agent.draft, "I wou");
  agent.apply(msg(1, { role: "visitor", sender: undefined }), NOW);
  assert.equal(agent.draft, "");
  assert.ok(!agent.isMine(agent.messages[0]) && agent.isMine(msg(2)) && !agent.isMine(msg(2, { sender: "per_2" })));
}

// Markdown.
{
  const line = (/** @type {string} */ text) => /** @type {any} */ (parse(text)[0]).lines[0];
  assert.deepEqual(line("a **b** `c*d*` *e* _f_ ~~g~~ h"), [
    "a ", { tag: "strong", inside: ["b"] }, " ", { tag: "code", text: "c*d*" }, " ", { tag: "em", inside: ["e"] }, " ",
    { tag: "em", inside: ["f"] }, " ", { tag: "del", inside: ["g"] }, " h",
  ]);
  assert.deepEqual(line("2 * 3 * 4 snake_case_name a*b*c"), ["2 * 3 * 4 snake_case_name a*b*c"]);
  assert.deepEqual(line("**a *b* c**"), [{ tag: "strong", inside: ["a ", { tag: "em", inside: ["b"] }, " c"] }]);
  assert.deepEqual(line("see https://example.org/a_b?c=d, please."), [
    "see ", { tag: "a", href: "https://example.org/a_b?c=d", inside: ["https://example.org/a_b?c=d"] }, ", please.",
  ]);
  assert.deepEqual(line("[x](https://example.org/)"), [{ tag: "a", href: "https://example.org/", inside: ["x"] }]);
  for (const bad of ["[x](javascript:alert(1))", "[x](data:text/html,y)", "[x](//evil)", "[x](vbscript:y)"]) {
    assert.ok(!JSON.stringify(parse(bad)).includes('"a"'), bad);
  }
  assert.equal(safeHref("JAVASCRIPT:alert(1)"), null);
  assert.equal(safeHref("mailto:a@b.example"), "mailto:a@b.example");
  const blocks = parse("one\ntwo\n\n- a\n- b\n3. c\n> q\n```js\n<b>\n**x**\n```\nend");
  assert.deepEqual(blocks.map(({ tag }) => tag), ["p", "ul", "ol", "blockquote", "pre", "p"]);
  assert.deepEqual([/** @type {any} */ (blocks[2]).start, /** @type {any} */ (blocks[4]).text], [3, "<b>\n**x**"]);
  assert.equal(plain("**a** [b](https://example.org)\n- c"), "a b c");
  // A text made to be slow is not.
  for (const slow of ["*".repeat(8_000), "**a ".repeat(2_000), "[".repeat(8_000), "`a".repeat(4_000), "_a ".repeat(2_500), "- ".repeat(4_000), "https://".repeat(1_000)]) {
    assert.equal(plain(slow).length > 0, true);
  }
  assert.equal(parse("x".repeat(30_000)).length, 1);
}

// A label that names another host hides nothing, and an address with a name before its host is no link.
{
  const links = (/** @type {string} */ text) => JSON.stringify(parse(text)).match(/"href":"[^"]*","inside":\["[^"]*"\]/g) ?? [];
  assert.deepEqual(links("[https://mybank.example](https://evil.example/a)"), ['"href":"https://evil.example/a","inside":["https://evil.example/a"]']);
  assert.equal(plain("[https://mybank.example](https://evil.example/a)"), "[https://mybank.example](https://evil.example/a)");
  assert.equal(links("[mybank.example or so](https://evil.example)")[0], '"href":"https://evil.example/","inside":["https://evil.example"]');
  assert.equal(links("[Our page at www.shop.example](https://shop.example/)")[0], '"href":"https://shop.example/","inside":["Our page at www.shop.example"]');
  assert.equal(links("[Read terms.pdf](https://shop.example/terms.pdf)").length, 1, "a file is no host");
  assert.equal(links("[münchen.de](https://münchen.de/)").length, 1, "a host has two spellings");
  assert.equal(links("[münchen.de](https://munchen.de/)")[0], '"href":"https://munchen.de/","inside":["https://munchen.de/"]');
  assert.equal(links("[version 2.0 is out](https://shop.example/)").length, 1);
  assert.deepEqual(links("https://mybank.example@evil.example/"), []);
}

// A clock that goes wrong here is not the server's.
{
  const thread = new Thread(ROOM, visitor);
  const late = NOW + 20 * 60_000;
  thread.pending.push({ cid: "c1", kind: "text", body: "Hi", at: "" });
  thread.apply({ type: "ack", room: ROOM, cid: "c1", seq: 1, id: "m1", at: "2031-05-01T17:00:00.000Z" }, late);
  assert.ok(thread.mayChange(thread.get(1), late + EDIT_WINDOW - 1) && !thread.mayChange(thread.get(1), late + EDIT_WINDOW));
}

// What was not sent for long is for its writer to read once more; of that, what is no text is sent by hand.
{
  const { Memory, SENT_WITHIN } = await import(new URL("chat-memory.js", assets).href);
  const memory = new Memory("app_1", "", "");
  const [early, late] = [NOW - SENT_WITHIN, NOW - SENT_WITHIN + 1].map((at) => new Date(at).toISOString());
  memory.keepPending(ROOM, [
    { cid: "c1", kind: "text", body: "Long ago", at: early },
    { cid: "c2", kind: "file", body: { file: "f" }, at: early },
    { cid: "c3", kind: "text", body: "Just now", at: late },
  ]);
  const kept = () => memory.pending(ROOM).map((/** @type {any} */ { cid, failed }) => [cid, failed]);
  assert.deepEqual([memory.takeOld(ROOM, NOW), kept()], [["Long ago"], [["c2", "too_old"], ["c3", undefined]]]);
  assert.deepEqual([memory.takeOld(ROOM, NOW), kept().length], [[], 2]);
}

// Languages.
{
  assert.deepEqual([regionOf("en", ["de-AT", "en-GB", "en-US"]), regionOf("en", ["en_GB"]), regionOf("fr", ["en-GB"]), regionOf("en", ["en-\""])], ["en-GB", "en-GB", "fr", "en"]);
  assert.equal(choose(["xx", "de-CH", "fr"]), "de");
  assert.equal(choose([]), "en");
  const words = new Words("ar", { a: "{n} of {m}", b: "{who}" });
  assert.equal(words.direction, "rtl");
  assert.equal(new Words("en", { a: "{n} of {m}" }).say("a", { n: 1_234, m: "x" }), "1,234 of x");
  const at = (/** @type {string} */ text) => new Date(text);
  assert.equal(new Words("de", {}).day(at("2031-05-01T09:00"), at("2031-05-01T17:00")), "Heute");
  assert.equal(new Words("en", {}).day(at("2031-04-30T23:00"), at("2031-05-01T01:00")), "Yesterday");
  assert.equal(new Words("en", {}).size(10 * 1_024 * 1_024), "10 MB");
  for (const locale of LOCALES) assert.ok(new Words(locale, {}).time(at("2031-05-01T09:00")).length > 0);
}

// Where no WebSocket passes, a stream that says now and then that it is there stays, and is not opened anew.
{
  const page = /** @type {any} */ (globalThis);
  mock.timers.enable({ apis: ["setTimeout", "setInterval", "Date"] });
  page.document = Object.assign(new EventTarget(), { visibilityState: "visible" });
  page.addEventListener = page.removeEventListener = () => undefined;
  page.WebSocket = class {
    static CONNECTING = 0;
    static OPEN = 1;
    static CLOSED = 3;
    constructor() {
      throw new Error("none passes");
    }
  };
  let asked = 0;
  /** @type {any} */
  let stream;
  page.fetch = async () => {
    asked += 1;
    return new Response(new ReadableStream({ start: (control) => void (stream = control) }));
  };
  const { ChatLine } = await import(new URL("chat-line.js", assets).href);
  const line = new ChatLine("ws://chat.example/v1/chat/socket", "token", () => ({ [ROOM]: 0 }));
  let losses = 0;
  line.addEventListener("offline", () => (losses += 1));
  const settle = async () => {
    for (let turn = 0; turn < 20; turn += 1) await new Promise((done) => setImmediate(done));
  };
  const pass = async (/** @type {number} */ seconds) => {
    for (let second = 0; second < seconds; second += 1) {
      mock.timers.tick(1_000);
      await settle();
    }
  };
  const say = (/** @type {string} */ text) => stream.enqueue(new TextEncoder().encode(text));
  line.open();
  for (let second = 0; second < 120 && asked === 0; second += 1) await pass(1);
  say(`data: ${JSON.stringify({ type: "ready", heads: {}, missed: [] })}\n\n`);
  await settle();
  const before = losses;
  assert.ok(line.online && before > 0, "the other way was found after some misses");
  for (let round = 0; round < 20; round += 1) {
    say(": here\n\n");
    await pass(20);
  }
  assert.deepEqual([line.online, asked, losses], [true, 1, before], "after five minutes a WebSocket was tried beside it");
  // A stream that says nothing is gone.
  await pass(90);
  assert.ok(losses > before && asked > 1);
  line.close();
  mock.timers.reset();
}

tell("good");
process.exit(0);
