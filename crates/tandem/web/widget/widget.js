// @ts-check
/**
 * The widget: a button in the corner of a page, and one frame of our origin that holds the chat.
 *
 *     <script src="https://tandem.example/w/app_....js" async></script>
 *
 * Optional attributes of the script: `data-locale`, `data-product`, `data-identity` (the token by which the page's own
 * server vouches for the visitor), `data-button="none"` (the page has a button of its own). `window.TandemChat` opens and
 * closes it, tells who the visitor is, and tells what happens:
 *
 *     TandemChat.open()  .close()  .toggle()  .identify({ token })  .signOut()  .on("unread", (count) => ...)
 *
 * Page and frame speak by postMessage, each naming the other's origin exactly.
 */
(() => {
  /** What the server knows of this widget: it writes it in here. @type {any} */
  const CONFIG = {} /* tandem:config */;
  const GLOBAL = "TandemChat";
  const TAG = "tandem-widget";
  /** The chat answers as soon as it is loaded; a frame that says nothing for so long holds none, ms. */
  const HEARD_WITHIN = 5_000;
  /** In the page's storage: whether there is a conversation that the button may tell of. */
  const MARK = `tandem-widget:${CONFIG.app}`;
  const page = /** @type {any} */ (window);
  // A second script of the same widget adds nothing, but what the page has lost with its old body.
  if (page[GLOBAL]) return document.querySelector(TAG) ? undefined : page[GLOBAL].restore();

  const script = document.currentScript;
  /** @param {string} name */
  const option = (name) => script?.getAttribute(`data-${name}`) ?? "";
  const { origin, app, accent, accent_text: accentText, position, words } = CONFIG;
  const locale = choose(option("locale"));

  /** @type {any} */
  let identity = option("identity") ? { token: option("identity") } : null;
  let isOpen = false;
  let unread = 0;
  /** @type {HTMLIFrameElement | null} */
  let frame = null;
  /** Before its page is there, the frame is of the page's own origin, and would not be told. */
  let isThere = false;
  /** Anything was heard from it. */
  let isHeard = false;
  /** The chat has said that it works, and has a button of its own to close it. */
  let isReady = false;
  /** The visitor signed out before the frame could be told. */
  let leaves = false;
  /** What had the focus before. @type {Element | null} */
  let before = null;
  /** @type {Map<string, Set<(value: any) => void>>} */
  const listeners = new Map();

  const root = document.createElement(TAG);
  const shadow = root.attachShadow({ mode: "open" });
  const look = `
    :host { all: initial; position: fixed; inset-block-end: max(20px, env(safe-area-inset-bottom)); ${position}: max(20px, env(safe-area-inset-${position})); z-index: 2147483000; font: 15px system-ui, sans-serif; }
    button { position: relative; z-index: 1; display: grid; place-items: center; width: 56px; height: 56px; border: 0; border-radius: 50%; cursor: pointer;
      background: ${accent}; color: ${accentText}; box-shadow: 0 4px 16px rgb(0 0 0 / 28%); }
    button:focus-visible { outline: 3px solid ${accent}; outline-offset: 3px; }
    svg { width: 28px; height: 28px; fill: none; stroke: currentcolor; stroke-width: 1.8; stroke-linecap: round; stroke-linejoin: round; }
    .badge { position: absolute; top: -4px; right: -4px; min-width: 22px; padding: 0 5px; border-radius: 11px; font: 600 13px/22px system-ui, sans-serif;
      text-align: center; background: #a8261c; color: #fff; }
    .panel { position: absolute; inset-block-end: 70px; ${position}: 0; width: min(400px, calc(100vw - 40px)); height: min(640px, calc(100vh - 110px));
      border-radius: 14px; overflow: hidden; box-shadow: 0 8px 40px rgb(0 0 0 / 30%); background: #fff; }
    iframe { display: block; width: 100%; height: 100%; border: 0; color-scheme: normal; }
    [hidden] { display: none; }
    .told { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
    @media (max-width: 480px), (max-height: 480px) {
      .panel { position: fixed; inset: 0; top: var(--seen-top, 0); width: 100vw; height: 100vh; height: var(--seen-height, 100dvh); border-radius: 0; }
      .is-open.is-ready button { visibility: hidden; }
    }
    @media (prefers-reduced-motion: no-preference) { .panel { animation: rise .18s ease-out; } @keyframes rise { from { opacity: 0; transform: translateY(12px); } } }
    @media print { :host { display: none; } }`;
  wear();

  const button = document.createElement("button");
  button.type = "button";
  const badge = document.createElement("span");
  badge.className = "badge";
  badge.hidden = true;
  badge.setAttribute("aria-hidden", "true");
  button.append(picture("M4 5h16v11H9l-5 4z"), badge);
  const panel = document.createElement("div");
  panel.className = "panel";
  panel.hidden = true;
  const holder = document.createElement("div");
  if (option("button") !== "none") holder.append(button);
  /** For whoever does not see the badge. */
  const said = document.createElement("div");
  said.className = "told";
  said.setAttribute("role", "status");
  holder.append(panel, said);
  shadow.append(holder);
  // Where the keyboard lies over the page (iOS), the chat ends above it.
  if (globalThis.visualViewport) for (const event of ["resize", "scroll"]) visualViewport?.addEventListener(event, fit);

  /** Puts the styles on; browsers before 2023 take no sheet that a script made. */
  function wear() {
    try {
      const sheet = new CSSStyleSheet();
      sheet.replaceSync(look);
      shadow.adoptedStyleSheets = [sheet];
    } catch {
      const style = document.createElement("style");
      style.textContent = look;
      shadow.append(style);
    }
  }

  function fit() {
    const seen = globalThis.visualViewport;
    if (!seen || seen.scale > 1.01) return;
    panel.style.setProperty("--seen-top", `${seen.offsetTop}px`);
    panel.style.setProperty("--seen-height", `${seen.height}px`);
  }

  /** The language of the button, as the chat itself chooses. @param {string} wanted */
  function choose(wanted) {
    const tags = [wanted, CONFIG.locale, ...navigator.languages].map((tag) => (tag ?? "").toLowerCase().split("-")[0] ?? "");
    return tags.find((tag) => tag in words) ?? "en";
  }

  /** @param {string} path */
  function picture(path) {
    const ns = "http://www.w3.org/2000/svg";
    const svg = document.createElementNS(ns, "svg");
    svg.setAttribute("viewBox", "0 0 24 24");
    svg.setAttribute("aria-hidden", "true");
    const line = document.createElementNS(ns, "path");
    line.setAttribute("d", path);
    svg.append(line);
    return svg;
  }

  /** @param {boolean} has */
  function mark(has) {
    try {
      if (has) localStorage.setItem(MARK, "1");
      else localStorage.removeItem(MARK);
    } catch {
      // A page without storage: the badge waits until the chat is opened.
    }
  }

  function isMarked() {
    try {
      return localStorage.getItem(MARK) !== null;
    } catch {
      return false;
    }
  }

  /** @param {string} type @param {object} [more] */
  function tell(type, more = {}) {
    if (isThere) frame?.contentWindow?.postMessage({ tandem: type, ...more }, origin);
  }

  /** @param {string} name @param {any} value */
  function announce(name, value) {
    for (const listener of listeners.get(name) ?? []) listener(value);
  }

  /** The frame is made when it is first wanted, or when there is a conversation: a page that is only read loads nothing more. */
  function load() {
    if (frame) return;
    const made = document.createElement("iframe");
    frame = made;
    const url = new URL(`/w/${app}/frame`, origin);
    if (option("locale")) url.searchParams.set("locale", option("locale"));
    if (option("product")) url.searchParams.set("product", option("product"));
    // The frame is told of this page alone, not of all that may hold it.
    url.searchParams.set("host", location.origin);
    frame.src = url.href;
    frame.title = words[locale].title;
    frame.allow = "clipboard-write; microphone; autoplay";
    frame.addEventListener("load", () => {
      isThere = true;
      tell("hello", { identity, leaves, page: location.origin + location.pathname });
      leaves = false;
      tell(isOpen ? "show" : "hide");
      setTimeout(giveUp, HEARD_WITHIN, made);
    });
    panel.append(frame);
  }

  /** A frame without a chat is put away, and the next press tries again. @param {HTMLIFrameElement} silent */
  function giveUp(silent) {
    if (isHeard || frame !== silent) return;
    console.warn(`Tandem: no chat came from ${origin}. Is ${location.origin} among the allowed_origins of ${app}?`);
    turn(false);
    silent.remove();
    frame = null;
    isThere = false;
  }

  function name() {
    const { launch, close } = words[locale];
    button.setAttribute("aria-label", isOpen ? close : unread > 0 ? `${launch} (${unread})` : launch);
    button.setAttribute("aria-expanded", String(isOpen));
    badge.textContent = unread > 99 ? "99+" : String(unread);
    badge.hidden = unread === 0 || isOpen;
    const news = badge.hidden ? "" : `${launch} (${unread})`;
    if (said.textContent !== news) said.textContent = news;
  }

  /** On a narrow screen the button lies over a chat that does not work: nothing else would close it. */
  function dress() {
    holder.className = [isOpen ? "is-open" : "", isReady ? "is-ready" : ""].join(" ");
  }

  /** The focus goes to where it was, or to the button. */
  function back() {
    if (button.isConnected) return button.focus();
    if (before instanceof HTMLElement && before.isConnected) before.focus();
  }

  /** @param {boolean} open */
  function turn(open) {
    if (open === isOpen) return;
    isOpen = open;
    if (open) {
      before = document.activeElement;
      fit();
      load();
    }
    panel.hidden = !open;
    dress();
    tell(open ? "show" : "hide");
    if (open) frame?.focus();
    // Whoever is elsewhere on the page by now stays there.
    else if (shadow.activeElement === frame || document.activeElement === document.body) back();
    name();
    announce(open ? "open" : "close", undefined);
  }

  addEventListener("message", ({ source, origin: from, data }) => {
    if (from !== origin || source !== frame?.contentWindow || typeof data?.tandem !== "string") return;
    isHeard = true;
    if (data.tandem === "close") turn(false);
    if (data.tandem === "view" && typeof data.view?.unread === "number") {
      if (data.view.unread !== unread) announce("unread", data.view.unread);
      unread = data.view.unread;
      isReady = data.view.ready;
      if (isReady) mark(data.view.has_room);
      dress();
      name();
    }
  });
  button.addEventListener("click", () => turn(!isOpen));
  addEventListener("keydown", ({ key, isComposing }) => key === "Escape" && !isComposing && turn(false));

  page[GLOBAL] = Object.freeze({
    open: () => turn(true),
    close: () => turn(false),
    toggle: () => turn(!isOpen),
    /** @param {any} who */
    identify(who) {
      identity = who;
      tell("identify", { identity });
    },
    signOut() {
      identity = null;
      leaves = !isThere;
      // What the browser keeps of the chat belongs to the frame's origin: only the frame can forget it.
      load();
      tell("sign-out");
    },
    restore: () => document.documentElement.append(root),
    /** @param {string} event @param {(value: any) => void} listener */
    on(event, listener) {
      listeners.set(event, (listeners.get(event) ?? new Set()).add(listener));
    },
  });

  name();
  const begin = () => {
    // Not in the body: some pages put another in its place.
    document.documentElement.append(root);
    if (isMarked()) load();
  };
  if (document.body) begin();
  else addEventListener("DOMContentLoaded", begin);
})();
