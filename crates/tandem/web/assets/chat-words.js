// @ts-check
/**
 * The words of a chat in the visitor's language: one JSON file a language, beside this module, and the forms of times and
 * numbers that the browser knows.
 */

/** Languages that there are; the first is the one that is taken when none fits. */
export const LOCALES = ["en", "ar", "de", "es", "fr", "hi", "it", "ja", "nl", "pl", "pt", "tr", "zh"];
/** Those that are written from right to left. */
const FROM_RIGHT = ["ar"];

/** @typedef {Record<string, string>} Table */

/** The language of a tag, without a region. @param {string} tag */
const bareOf = (tag) => tag.toLowerCase().split(/[-_]/)[0] ?? "";

/** In whose way times and numbers are written: the first wish with a region. @param {string} locale @param {readonly string[]} wanted */
export function regionOf(locale, wanted) {
  const known = wanted.map((tag) => tag.replaceAll("_", "-")).filter((tag) => bareOf(tag) === locale && isTag(tag));
  return known.find((tag) => tag.includes("-")) ?? locale;
}

/** @param {string} tag */
function isTag(tag) {
  try {
    return Intl.getCanonicalLocales(tag).length > 0;
  } catch {
    return false;
  }
}

/**
 * The language that fits best.
 * @param {readonly string[]} wanted language tags, the dearest first
 */
export function choose(wanted) {
  const bare = wanted.map(bareOf);
  return bare.find((tag) => LOCALES.includes(tag)) ?? "en";
}

export class Words {
  #table;
  #tag;
  /** The forms of numbers and times: to make one takes long. @type {Map<string, Intl.NumberFormat | Intl.DateTimeFormat>} */
  #forms = new Map();

  /**
   * @param {string} locale one of {@link LOCALES}
   * @param {Table} table
   * @param {string} [tag] the same with a region, in whose way times are written
   */
  constructor(locale, table, tag = locale) {
    this.locale = locale;
    this.#table = table;
    this.#tag = tag;
  }

  /**
   * Fetches the words of a language.
   * @param {string} locale one of {@link LOCALES}
   * @param {readonly string[]} [wanted] language tags, the dearest first
   */
  static async load(locale, wanted = navigator.languages) {
    const answer = await fetch(new URL(`chat-words-${locale}.json`, import.meta.url));
    if (!answer.ok) throw new Error(`no words: ${answer.status}`);
    return new Words(locale, await answer.json(), regionOf(locale, wanted));
  }

  /** From left or from right. */
  get direction() {
    return FROM_RIGHT.includes(this.locale) ? "rtl" : "ltr";
  }

  /**
   * A sentence, with what stands in its braces.
   * @param {string} key
   * @param {Record<string, string | number>} [values]
   */
  say(key, values = {}) {
    const form = this.#table[key] ?? key;
    return form.replace(/\{(\w+)\}/g, (whole, name) => {
      const value = values[name];
      return typeof value === "number" ? this.number(value) : (value ?? whole);
    });
  }

  /** @param {number} value */
  number(value) {
    return this.#numbers({}).format(value);
  }

  /** @param {number} part from 0 to 1 */
  percent(part) {
    return this.#numbers({ style: "percent" }).format(part);
  }

  /** A number of bytes, as people say it. @param {number} bytes */
  size(bytes) {
    const units = ["byte", "kilobyte", "megabyte"];
    const step = Math.min(units.length - 1, bytes < 1 ? 0 : Math.floor(Math.log(bytes) / Math.log(1_024)));
    const form = { style: "unit", unit: units[step], unitDisplay: "short", maximumFractionDigits: step === 0 ? 0 : 1 };
    return this.#numbers(/** @type {Intl.NumberFormatOptions} */ (form)).format(bytes / 1_024 ** step);
  }

  /** A time of day. @param {Date} at */
  time(at) {
    return this.#times({ timeStyle: "short" }).format(at);
  }

  /** A day: today and yesterday by their names. @param {Date} at @param {Date} now */
  day(at, now) {
    const days = Math.round((startOfDay(at) - startOfDay(now)) / 86_400_000);
    if (days === 0 || days === -1) {
      const name = new Intl.RelativeTimeFormat(this.locale, { numeric: "auto" }).format(days, "day");
      return name.charAt(0).toLocaleUpperCase(this.locale) + name.slice(1);
    }
    return this.#times({ dateStyle: "long" }).format(at);
  }

  /** A moment to come: its day of the week when it is not today, and its time. @param {Date} at @param {Date} now */
  moment(at, now) {
    const isToday = startOfDay(at) === startOfDay(now);
    const form = isToday ? { timeStyle: "short" } : { weekday: "long", hour: "numeric", minute: "2-digit" };
    return this.#times(/** @type {Intl.DateTimeFormatOptions} */ (form)).format(at);
  }

  /** @param {Intl.NumberFormatOptions} form @returns {Intl.NumberFormat} */
  #numbers(form) {
    const name = `number ${JSON.stringify(form)}`;
    const known = /** @type {Intl.NumberFormat | undefined} */ (this.#forms.get(name)) ?? new Intl.NumberFormat(this.#tag, form);
    this.#forms.set(name, known);
    return known;
  }

  /** @param {Intl.DateTimeFormatOptions} form @returns {Intl.DateTimeFormat} */
  #times(form) {
    const name = `time ${JSON.stringify(form)}`;
    const known = /** @type {Intl.DateTimeFormat | undefined} */ (this.#forms.get(name)) ?? new Intl.DateTimeFormat(this.#tag, form);
    this.#forms.set(name, known);
    return known;
  }
}

/** @param {Date} at */
function startOfDay(at) {
  return new Date(at.getFullYear(), at.getMonth(), at.getDate()).getTime();
}
