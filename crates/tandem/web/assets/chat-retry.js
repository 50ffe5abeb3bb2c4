// @ts-check
/** Something that failed and is tried again: after a pause that grows, or sooner when there is reason to hope. */

/** Between two attempts, ms: the first, and the most. */
const FIRST_PAUSE = 1_000;
const LONGEST_PAUSE = 30_000;

export class Retry {
  #pause = FIRST_PAUSE;
  /** @type {number | undefined} */
  #timer;
  /** @type {(() => void) | null} */
  #work = null;

  /** @param {() => void} work */
  later(work) {
    this.stop();
    this.#work = work;
    this.#timer = setTimeout(() => this.hurry(), this.#pause);
    this.#pause = Math.min(this.#pause * 2, LONGEST_PAUSE);
  }

  /** Does at once what waits, if anything does. */
  hurry() {
    const work = this.#work;
    this.stop();
    work?.();
  }

  /** It has worked: the next pause is short again. */
  done() {
    this.stop();
    this.#pause = FIRST_PAUSE;
  }

  stop() {
    clearTimeout(this.#timer);
    this.#work = null;
  }
}
