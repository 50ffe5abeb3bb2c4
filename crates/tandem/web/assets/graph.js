// @ts-check
/** The drawn flow: it begins where its reader looks for it, and the steps of a live call are lit one by one. */

/** Puts a step into the middle of its drawing, without moving the page. @param {Element} drawing @param {Element} step */
function centre(drawing, step) {
  const [outer, inner] = [drawing.getBoundingClientRect(), step.getBoundingClientRect()];
  drawing.scrollLeft += inner.left + inner.width / 2 - outer.left - outer.width / 2;
  if (inner.top < outer.top || inner.bottom > outer.bottom) {
    drawing.scrollTop += inner.top + inner.height / 2 - outer.top - outer.height / 2;
  }
}

/** A drawing that is wider than its place begins at the entry, or where the call is; a chart at its highest bar. */
export function centreDrawings() {
  for (const chart of document.querySelectorAll(".chart")) {
    const bars = [...chart.querySelectorAll("rect.all")];
    const height = (/** @type {Element} */ bar) => Number(bar.getAttribute("height"));
    const [highest] = bars.sort((one, other) => height(other) - height(one));
    if (highest) centre(chart, highest);
  }
  for (const drawing of document.querySelectorAll(".graph")) {
    const step = drawing.querySelector(".here") ?? drawing.querySelector(".step");
    if (step) centre(drawing, step);
  }
}

/** The drawing of a call. */
class LitGraph {
  #graph;
  #call;

  /** @param {Element} graph @param {string} call */
  constructor(graph, call) {
    this.#graph = graph;
    this.#call = call;
  }

  /** @param {"step" | "from"} name @param {string} id */
  #find(name, id) {
    return [...this.#graph.querySelectorAll(`[data-${name}]`)].filter((part) => part.getAttribute(`data-${name}`) === id);
  }

  #leave() {
    for (const here of this.#graph.querySelectorAll(".here")) here.classList.replace("here", "was");
  }

  /** Shows what an event says of the way through the flow. @param {any} event */
  take(event) {
    const id = event.step?.id;
    if (event.type === "step.started") {
      this.#leave();
      for (const step of this.#find("step", id)) {
        step.classList.remove("was");
        step.classList.add("here");
        centre(this.#graph.closest(".graph") ?? this.#graph, step);
      }
    } else if (event.type === "step.completed" || event.type === "step.failed") {
      const arrows = this.#find("from", id).filter((arrow) => arrow.getAttribute("data-to") === event.data.next);
      const named = arrows.filter((arrow) => arrow.getAttribute("data-outcome") === event.data.outcome);
      for (const arrow of named.length > 0 ? named : arrows) arrow.classList.add("was");
    } else if (event.type === "call.completed") {
      this.#leave();
    }
  }

  /** Nothing has happened yet. */
  clear() {
    for (const part of this.#graph.querySelectorAll(".here, .was")) part.classList.remove("here", "was");
  }

  /** Everything that has happened so far. @returns {Promise<any[]>} */
  async past() {
    /** @type {any[]} */
    const all = [];
    for (let cursor = ""; ; ) {
      const page = await fetch(`/v1/calls/${this.#call}/events?limit=500${cursor && `&cursor=${cursor}`}`);
      if (!page.ok) throw new Error(`the call's events: ${page.status}`);
      const found = await page.json();
      if (found.events.length === 0) return all;
      all.push(...found.events);
      cursor = found.cursor;
    }
  }
}

/**
 * Lights the drawing of a live call: what happened before the tap was open is read, what happens then is heard. Events
 * have numbers, so that each is shown once and in its order.
 */
export function lightGraph() {
  const graph = document.querySelector("svg[data-call]");
  const call = graph?.getAttribute("data-call");
  if (!graph || !call) return;
  const lit = new LitGraph(graph, call);
  let shown = 0;
  /** Whether the past has been read: until then what is heard says nothing of what came before it. */
  let whole = false;
  /** What is heard while the past is read; null when it is not. @type {any[] | null} */
  let waiting = null;
  const take = (/** @type {any} */ event) => {
    if (whole && event.seq <= shown) return;
    shown = event.seq;
    lit.take(event);
  };
  document.addEventListener("tandem:event", (message) => {
    const event = /** @type {CustomEvent} */ (message).detail;
    if (event.call?.id !== call) return;
    if (waiting) waiting.push(event);
    else take(event);
  });
  document.addEventListener("tandem:open", async () => {
    if (waiting) return;
    waiting = [];
    const past = await lit.past().catch(() => null);
    const all = [...(past ?? []), ...waiting];
    waiting = null;
    // What cannot be read now is read when the tap opens again; what is heard is shown all the same.
    if (past && !whole) {
      whole = true;
      shown = 0;
      lit.clear();
    }
    all.forEach(take);
  });
}
