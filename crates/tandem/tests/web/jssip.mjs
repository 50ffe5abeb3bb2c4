// @ts-check
/**
 * JsSIP as a phone. The task: `url` of the server, `user`, `password`, `domain`, `microphone` (see browser.mjs).
 * Tells `registered`, `incoming` (`from`), `confirmed`, `ended` (`cause`), `failed` (`cause`).
 */
import { open, serve, task, tell } from "./browser.mjs";
import { EAR } from "./ear.mjs";
import { commonJs } from "./modules.mjs";

const { browser, page } = await open({ microphone: task.microphone, context: { bypassCSP: true } });
await page.exposeFunction("tandemTell", tell);
await page.addInitScript(EAR);
// Any page of the server's: a browser lets only pages of this machine speak to this machine.
await page.goto(new URL("/healthz", task.url).href);
await page.setContent("<!doctype html><title>JsSIP</title><audio autoplay></audio>");
await page.addScriptTag({ content: commonJs("jssip") });
await page.evaluate((task) => {
  const at = /** @type {any} */ (globalThis);
  const JsSIP = at.jssip;
  const socket = new JsSIP.WebSocketInterface(`${task.url.replace("http", "ws")}/sip`);
  const phone = new JsSIP.UA({
    sockets: [socket],
    uri: `sip:${task.user}@${task.domain}`,
    authorization_user: task.user,
    password: task.password,
    register_expires: 120,
  });
  phone.on("registered", () => at.tandemTell("registered"));
  phone.on("registrationFailed", (/** @type {any} */ event) => at.tandemTell("registration_failed", { cause: event.cause }));
  phone.on("newRTCSession", (/** @type {any} */ { session, originator }) => {
    at.session = session;
    const hear = (/** @type {RTCPeerConnection} */ connection) => {
      connection.ontrack = ({ track }) => {
        at.stream = new MediaStream([track]);
        const audio = document.querySelector("audio");
        if (audio) audio.srcObject = at.stream;
      };
    };
    if (session.connection) hear(session.connection);
    session.on("peerconnection", (/** @type {any} */ { peerconnection }) => hear(peerconnection));
    for (const event of ["confirmed", "ended", "failed"]) {
      session.on(event, (/** @type {any} */ { cause }) => at.tandemTell(event, { cause }));
    }
    if (originator === "remote") at.tandemTell("incoming", { from: session.remote_identity.uri.user });
  });
  at.phone = phone;
  phone.start();
}, task);

await serve(browser, {
  call: ({ number }) =>
    page.evaluate(
      ([number, domain]) => void /** @type {any} */ (globalThis).phone.call(`sip:${number}@${domain}`, { mediaConstraints: { audio: true } }),
      [number, task.domain],
    ),
  answer: () =>
    page.evaluate(() => void /** @type {any} */ (globalThis).session.answer({ mediaConstraints: { audio: true } })),
  hangup: () => page.evaluate(() => void /** @type {any} */ (globalThis).session.terminate()),
  press: ({ keys }) => page.evaluate((keys) => void /** @type {any} */ (globalThis).session.sendDTMF(keys, { transportType: "RFC2833" }), keys),
  listen: () =>
    page.evaluate(() => {
      const at = /** @type {any} */ (globalThis);
      at.ear = new at.tandemEar(at.stream);
    }),
  heard: () => page.evaluate(() => /** @type {any} */ (globalThis).ear.take()),
  stop: () => page.evaluate(() => void /** @type {any} */ (globalThis).phone.stop()),
});
