// @ts-check
/**
 * The live tap in pages: what happens in the organisation, as it happens, by one connection for all tabs.
 *
 * A browser opens six connections to a host (HTTP/1.1), and a tap holds one for ever: with one a tab, the seventh page
 * would never load. So tabs share a worker, which holds it (tap-worker.js). Where a browser has no such worker, each tab
 * has a connection of its own, and gives it up while nobody sees it.
 */

/** Between two attempts once the browser has given the connection up, ms: the first, and the most. */
const FIRST_PAUSE = 1_000;
const LONGEST_PAUSE = 60_000;

/**
 * What a tap tells: that it is open (again), that it is lost, or an event with its type.
 * @typedef {{ what: "open" | "lost" } | { what: "event", kind: string, event: any }} News
 */

/** The connection, opened again whenever it is lost. */
export class TapLine {
  /** @type {EventSource | null} */
  #source = null;
  /** @type {number | undefined} */
  #timer;
  #pause = FIRST_PAUSE;
  /** @type {Set<string>} */
  #kinds = new Set();
  #hear;

  /** @param {(news: News) => void} hear */
  constructor(hear) {
    this.#hear = hear;
  }

  /** Whether events come through. */
  get isOpen() {
    return this.#source?.readyState === EventSource.OPEN;
  }

  /** Listens to these types of events too. @param {Iterable<string>} kinds */
  want(kinds) {
    for (const kind of kinds) {
      if (this.#kinds.has(kind)) continue;
      this.#kinds.add(kind);
      this.#listen(kind);
    }
  }

  /** Opens it, and keeps it open until {@link close}. */
  open() {
    if (this.#source === null && this.#timer === undefined) this.#connect();
  }

  close() {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#source?.close();
    this.#source = null;
  }

  #connect() {
    this.#timer = undefined;
    const source = new EventSource("/v1/tap");
    this.#source = source;
    for (const kind of this.#kinds) this.#listen(kind);
    source.addEventListener("open", () => {
      this.#pause = FIRST_PAUSE;
      this.#hear({ what: "open" });
    });
    source.addEventListener("error", () => {
      this.#hear({ what: "lost" });
      // The browser tries again by itself, but not after an answer that is no tap: a proxy's 502, a limit.
      if (source.readyState !== EventSource.CLOSED) return;
      this.#source = null;
      this.#timer = setTimeout(() => this.#connect(), this.#pause);
      this.#pause = Math.min(2 * this.#pause, LONGEST_PAUSE);
    });
  }

  /** @param {string} kind */
  #listen(kind) {
    this.#source?.addEventListener(kind, (message) => this.#hear({ what: "event", kind, event: JSON.parse(message.data) }));
  }
}

/**
 * Follows events of these types for as long as the page is there. Whoever hears `open` may have missed something before.
 * @param {string[]} kinds
 * @param {(news: News) => void} hear
 */
export function follow(kinds, hear) {
  const own = document.body.dataset.organisation;
  // A tap that was opened again by a session's cookie may be another organisation's by now.
  const hearOwn = (/** @type {News} */ news) => {
    if (news.what !== "event" || own === undefined || news.event.org === own) hear(news);
  };
  if ("SharedWorker" in globalThis) followShared(kinds, hearOwn);
  else followAlone(kinds, hearOwn);
}

/** @param {string[]} kinds @param {(news: News) => void} hear */
function followShared(kinds, hear) {
  // One for each organisation: a tab that looks at another one must not share its events, or its place among them.
  const name = `tandem-tap-${document.body.dataset.organisation ?? ""}`;
  const worker = new SharedWorker(new URL("tap-worker.js", import.meta.url), { type: "module", name });
  worker.addEventListener("error", () => followAlone(kinds, hear), { once: true });
  const { port } = worker;
  port.addEventListener("message", ({ data }) => hear(data));
  port.start();
  port.postMessage(kinds);
  // A page that is left may come back as it was.
  addEventListener("pagehide", () => port.postMessage([]));
  addEventListener("pageshow", ({ persisted }) => { if (persisted) port.postMessage(kinds); });
}

/** @param {string[]} kinds @param {(news: News) => void} hear */
function followAlone(kinds, hear) {
  const line = new TapLine(hear);
  line.want(kinds);
  const look = () => (document.hidden ? line.close() : line.open());
  document.addEventListener("visibilitychange", look);
  look();
}
