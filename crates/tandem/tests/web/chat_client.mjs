// @ts-check
/**
 * A chat's client on the ws package. Its argument is JSON: url, token, room. It says what it gets, line by line: a message
 * that is sent in pieces with a ping between them, the same one again, a farewell, and a return with a cursor.
 */
import { once } from "node:events";
import WebSocket from "ws";

const task = JSON.parse(process.argv[2] ?? "{}");
const tell = (/** @type {string} */ event, /** @type {object} */ more) => console.log(JSON.stringify({ event, ...more }));

/** Frames until each of these kinds has come once. */
function hear(/** @type {WebSocket} */ socket, /** @type {string[]} */ ...kinds) {
  return new Promise((resolve, reject) => {
    const heard = /** @type {Record<string, any>} */ ({});
    const late = setTimeout(() => reject(new Error(`no ${kinds}`)), 10_000);
    socket.on("message", function take(data, isBinary) {
      const frame = JSON.parse(String(data));
      if (isBinary) reject(new Error("a binary frame"));
      heard[frame.type] = frame;
      if (!kinds.every((kind) => heard[kind])) return;
      clearTimeout(late);
      socket.off("message", take);
      resolve(heard);
    });
  });
}

async function open(/** @type {Record<string, number>} */ rooms) {
  const socket = new WebSocket(task.url);
  await once(socket, "open");
  const ready = hear(socket, "ready");
  socket.send(JSON.stringify({ type: "hello", token: task.token, rooms }));
  return { socket, ready: (await ready).ready };
}

const frame = JSON.stringify({ type: "send", room: task.room, cid: "published-2", kind: "text", body: "grüße 👋" });
const first = await open({ [task.room]: 0 });
tell("ready", { frame: first.ready });

const sent = hear(first.socket, "ack", "msg");
const pong = once(first.socket, "pong");
first.socket.send(frame.slice(0, 11), { fin: false });
first.socket.ping("between");
await pong;
first.socket.send(frame.slice(11, 40), { fin: false });
first.socket.send(frame.slice(40), { fin: true });
const { ack, msg } = await sent;
tell("sent", { ack, msg });
const again = hear(first.socket, "ack");
first.socket.send(frame);
tell("again", { ack: (await again).ack });
first.socket.close(1000, "bye");
const [code, reason] = await once(first.socket, "close");
tell("closed", { code, reason: String(reason) });

const second = await open({ [task.room]: ack.seq - 1 });
tell("resumed", { frame: second.ready });
second.socket.send(Buffer.from([0, 1]));
const [refusal] = await once(second.socket, "close");
tell("refused", { code: refusal });
