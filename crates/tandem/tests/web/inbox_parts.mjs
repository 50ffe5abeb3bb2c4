// @ts-check
/** The parts of the inbox that need no page: what its rooms make of answers and frames, which canned replies fit. Tells `good` at the end. */
import assert from "node:assert/strict";
import { tell } from "./browser.mjs";

const assets = new URL("../../web/assets/", import.meta.url);
const { Rooms, TYPING_FOR, UNKNOWN, nameOf, placesOf, wordsOf } = await import(new URL("inbox-rooms.js", assets).href);
const { fitting } = await import(new URL("inbox-canned.js", assets).href);

const NOW = Date.parse("2031-05-01T17:00:00.000Z");
const minute = (/** @type {number} */ number) => `2031-05-01T17:${String(number).padStart(2, "0")}:00.000Z`;
const last = (/** @type {number} */ seq, role = "visitor") => ({ seq, kind: "text", role, body: `text ${seq}`, author: "", at: minute(seq) });
/** @param {string} id @param {object} [more] */
const room = (id, more = {}) => ({
  id, app: "app_1", product: "", user_id: "", label: "", state: "open", visitor: "vis_1", assignee: null, team: null, seq_head: 1,
  created_at: minute(0), last_at: minute(1), visitor_name: "", verified: false, visitor_online: false, support_read: 0, held: false, last: last(1), ...more,
});
/** @param {any} rooms @param {string} folder */
const ids = (rooms, folder) => rooms.list(folder).map((/** @type {any} */ { id }) => id);

// Each room is in the folders where it belongs; an empty one waits for nobody.
{
  const rooms = new Rooms();
  rooms.me = "per_1";
  rooms.take([
    room("a", { assignee: "per_1" }),
    room("b", { created_at: minute(3), last_at: minute(9) }),
    room("c", { created_at: minute(2), last_at: minute(4) }),
    room("d", { assignee: "per_2", last_at: minute(8) }),
    room("e", { state: "closed" }),
    room("f", { seq_head: 0, last: null }),
  ]);
  assert.deepEqual(ids(rooms, "mine"), ["a"]);
  assert.deepEqual(ids(rooms, "waiting"), ["c", "b"], "who waits longest is first");
  assert.deepEqual(ids(rooms, "all"), ["b", "d", "c", "a"], "the last that was written in is first");
  assert.deepEqual(ids(rooms, "closed"), ["e"]);
  assert.deepEqual([rooms.unread("mine"), rooms.unread("waiting"), rooms.unread("closed")], [1, 2, 0]);
}

// Of a room that is not known a frame makes a row: nobody has a room of one message, anybody another. The rest is fetched once.
{
  const rooms = new Rooms();
  rooms.me = "per_1";
  assert.equal(rooms.apply({ type: "msg", room: "new", ...last(1) }, NOW), "changed");
  assert.equal(rooms.apply({ type: "msg", room: "old", ...last(9) }, NOW), "changed");
  assert.equal(rooms.apply({ type: "room", room: "given", state: "open", assignee: null, head: 4 }, NOW), "changed");
  assert.equal(rooms.apply({ type: "room", room: "empty", state: "open", assignee: null, head: 0 }, NOW), "changed");
  assert.deepEqual([ids(rooms, "waiting").sort(), ids(rooms, "all").sort()], [["given", "new"], ["given", "new", "old"]]);
  assert.deepEqual([rooms.get("new").isPart, rooms.get("old").assignee, wordsOf(rooms.get("new").last)], [true, UNKNOWN, "text 1"]);
  const whole = room("old", { assignee: "per_2", visitor_name: "Ann", seq_head: 8, last: last(8) });
  rooms.take([whole]);
  assert.deepEqual([rooms.get("old").isPart, rooms.get("old").assignee, rooms.get("old").seq_head], [undefined, "per_2", 9]);
  // A row of frames takes nothing from what was fetched meanwhile.
  const frames = new Rooms();
  frames.apply({ type: "msg", room: "old", ...last(9) }, NOW);
  const part = frames.get("old");
  frames.clear();
  frames.take([whole]);
  frames.take([part]);
  assert.deepEqual([frames.get("old").visitor_name, frames.get("old").assignee, frames.get("old").seq_head], ["Ann", "per_2", 9]);
}

// Whom a flow answers waits for nobody, until people have the room or somebody writes.
{
  const rooms = new Rooms();
  rooms.me = "per_1";
  rooms.take([room("a"), room("b", { held: true })]);
  assert.deepEqual([ids(rooms, "waiting"), ids(rooms, "all").length, rooms.unread("all")], [["a"], 2, 1]);
  rooms.apply({ type: "msg", room: "a", ...last(2, "system") }, NOW);
  rooms.apply({ type: "msg", room: "a", ...last(3) }, NOW);
  assert.deepEqual([ids(rooms, "waiting"), rooms.get("a").held, rooms.isUnread(rooms.get("a"))], [[], true, false]);
  rooms.apply({ type: "room", room: "a", state: "open", assignee: null, team: "team_1", head: 3 }, NOW);
  rooms.apply({ type: "msg", room: "b", ...last(2, "agent") }, NOW);
  assert.deepEqual([ids(rooms, "waiting").sort(), rooms.unread("waiting")], [["a", "b"], 1]);
  rooms.apply({ type: "msg", room: "a", ...last(4, "system"), kind: "call" }, NOW);
  assert.ok(!rooms.get("a").held, "a call is no flow");
  // A new room says so itself, before the flow has said anything.
  rooms.apply({ type: "room", room: "new", state: "open", assignee: null, team: null, head: 0, held: true }, NOW);
  rooms.apply({ type: "msg", room: "new", ...last(1) }, NOW);
  assert.deepEqual([rooms.get("new").held, ids(rooms, "waiting").sort(), rooms.isUnread(rooms.get("new"))], [true, ["a", "b"], false]);
}

// Frames change what is known.
{
  const rooms = new Rooms();
  rooms.me = "per_1";
  assert.equal(rooms.apply({ type: "typing", room: "a", from: { role: "visitor" }, on: true }, NOW), null);
  rooms.take([room("a")]);
  assert.equal(rooms.apply({ type: "msg", room: "a", ...last(3) }, NOW), "changed");
  assert.equal(rooms.apply({ type: "msg", room: "a", ...last(2) }, NOW), null, "an older one is no news");
  rooms.take([room("a")]);
  assert.equal(rooms.get("a").seq_head, 3, "an answer that is older than a frame takes nothing back");
  assert.equal(rooms.apply({ type: "read", room: "a", from: { role: "visitor" }, seq: 3 }, NOW), null);
  assert.ok(rooms.isUnread(rooms.get("a")));
  assert.equal(rooms.apply({ type: "read", room: "a", from: { role: "support", id: "per_2" }, seq: 3 }, NOW), "changed");
  assert.ok(!rooms.isUnread(rooms.get("a")), "a colleague has read it");
  rooms.apply({ type: "msg", room: "a", ...last(4, "agent") }, NOW);
  assert.ok(!rooms.isUnread(rooms.get("a")), "an answer waits for nobody here");
  rooms.apply({ type: "edit", room: "a", seq: 4, body: "Other" }, NOW);
  assert.equal(wordsOf(rooms.get("a").last), "Other");
  rooms.apply({ type: "delete", room: "a", seq: 4, at: minute(5) }, NOW);
  assert.equal(wordsOf(rooms.get("a").last), "Deleted");
  rooms.apply({ type: "room", room: "a", state: "open", assignee: "per_1", team: null }, NOW);
  assert.deepEqual([ids(rooms, "mine"), ids(rooms, "waiting")], [["a"], []]);
  rooms.apply({ type: "presence", room: "a", from: { role: "visitor" }, state: "online" }, NOW);
  assert.ok(rooms.get("a").visitor_online);
}

// What a visitor writes is seen for a while, and no longer than that.
{
  const rooms = new Rooms();
  rooms.take([room("a")]);
  const visitor = { role: "visitor" };
  rooms.apply({ type: "typing", room: "a", from: visitor, on: true }, NOW);
  rooms.apply({ type: "draft", room: "a", from: visitor, text: "Hel" }, NOW);
  assert.equal(rooms.typing("a", NOW + TYPING_FOR - 1), "Hel");
  assert.equal(rooms.typing("a", NOW + TYPING_FOR), null);
  assert.equal(rooms.apply({ type: "typing", room: "a", from: { role: "support" }, on: true }, NOW), null);
  rooms.apply({ type: "draft", room: "a", from: visitor, text: "" }, NOW);
  assert.equal(rooms.typing("a", NOW), null);
  rooms.apply({ type: "draft", room: "a", from: visitor, text: "Hello" }, NOW);
  rooms.apply({ type: "msg", room: "a", ...last(2) }, NOW);
  assert.equal(rooms.typing("a", NOW), null, "it was sent");
}

// Names and words in a line.
assert.deepEqual([nameOf(room("0123456789", { visitor_name: "Ann" })), nameOf(room("x", { user_id: "u1" })), nameOf(room("0123456789"))], ["Ann", "u1", "Visitor 6789"]);
assert.deepEqual([wordsOf(null), wordsOf({ kind: "text", body: "a\n  b" }), wordsOf({ kind: "file", body: { name: "a.pdf" } }), wordsOf({ kind: "call", body: {} })], ["", "a b", "a.pdf", "A call"]);

// Where there are several applications, each is named beside the product.
assert.deepEqual([placesOf({})(room("a", { product: "LOGIN" })), placesOf({ app_1: "Shop" })(room("a", { product: "LOGIN" })), placesOf({ app_1: "Shop" })(room("a"))], ["LOGIN", "LOGIN · Shop", "Shop"]);

// Canned replies: those that begin so come first.
{
  const canned = (/** @type {string} */ shortcut, title = "") => ({ id: shortcut, shortcut, title, text: "" });
  const all = [canned("bye", "Say hi and go"), canned("hi"), canned("hint"), canned("wait")];
  const shortcuts = (/** @type {string} */ wanted) => fitting(all, wanted).map((/** @type {any} */ { shortcut }) => shortcut);
  assert.deepEqual([shortcuts("hi"), shortcuts("HIN"), shortcuts("zz"), shortcuts("").length], [["hi", "hint", "bye"], ["hint"], [], 4]);
}

tell("good");
