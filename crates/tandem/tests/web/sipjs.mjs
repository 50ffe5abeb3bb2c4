// @ts-check
/**
 * SIP.js as a phone. The task and what it tells are those of jssip.mjs.
 */
import { open, serve, task, tell } from "./browser.mjs";
import { EAR } from "./ear.mjs";
import { moduleFile } from "./modules.mjs";

const { browser, page } = await open({ microphone: task.microphone, context: { bypassCSP: true } });
await page.route("**/modules/**", (route) =>
  route.fulfill({ path: moduleFile(new URL(route.request().url()).pathname), contentType: "text/javascript" }),
);
await page.exposeFunction("tandemTell", tell);
await page.addInitScript(EAR);
// Any page of the server's: a browser lets only pages of this machine speak to this machine.
await page.goto(new URL("/healthz", task.url).href);
await page.setContent("<!doctype html><title>SIP.js</title><audio autoplay></audio>");
await page.evaluate(async (task) => {
  const at = /** @type {any} */ (globalThis);
  const { UserAgent, Registerer, RegistererState, Inviter, SessionState } = await import(
    new URL("/modules/sip.js/lib/index.js", location.href).href
  );
  const watch = (/** @type {any} */ session) => {
    at.session = session;
    session.stateChange.addListener((/** @type {string} */ state) => {
      if (state === SessionState.Established) {
        const { remoteMediaStream } = session.sessionDescriptionHandler;
        at.stream = remoteMediaStream;
        const audio = document.querySelector("audio");
        if (audio) audio.srcObject = remoteMediaStream;
        at.tandemTell("confirmed");
      }
      if (state === SessionState.Terminated) at.tandemTell("ended");
    });
  };
  const phone = new UserAgent({
    uri: UserAgent.makeURI(`sip:${task.user}@${task.domain}`),
    transportOptions: { server: `${task.url.replace("http", "ws")}/sip`, keepAliveInterval: 5 },
    authorizationUsername: task.user,
    authorizationPassword: task.password,
    logLevel: "error",
    delegate: {
      onInvite: (/** @type {any} */ invitation) => {
        watch(invitation);
        at.tandemTell("incoming", { from: invitation.remoteIdentity.uri.user });
      },
    },
  });
  at.place = async (/** @type {string} */ number) => {
    const inviter = new Inviter(phone, UserAgent.makeURI(`sip:${number}@${task.domain}`));
    watch(inviter);
    await inviter.invite();
  };
  const registerer = new Registerer(phone, { expires: 120 });
  registerer.stateChange.addListener((/** @type {string} */ state) => {
    if (state === RegistererState.Registered) at.tandemTell("registered");
  });
  await phone.start();
  await registerer.register();
}, task);

const run = (/** @type {string} */ script) => page.evaluate(script);
await serve(browser, {
  call: ({ number }) => run(`place(${JSON.stringify(number)})`),
  answer: () => run("session.accept()"),
  hangup: () => run("session.bye().then(() => undefined)"),
  listen: () => run("globalThis.ear = new tandemEar(stream); undefined"),
  heard: () => run("ear.take()"),
});
