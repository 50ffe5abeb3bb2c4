// @ts-check
/**
 * What tells of news while nobody looks: the number in the page's title, and notices of the system where they were asked
 * for by a button, also while the page is closed where that was asked for too. Nothing makes a sound.
 */

import { Push } from "./push.js";

const MEMORY = "tandem-inbox-alerts";
/** Before the id of the person who wants to be told while the page is closed. */
const PUSH_MEMORY = "tandem-inbox-push:";
const PUSH_SCOPE = "/console/";
/** The path of the page; a room stands behind it. */
const INBOX = "/console/inbox";

export class Alerts {
  #title = document.title;
  #button;
  #closedButton;
  #push;
  #isFailed = false;
  /** @type {Map<string, Notification>} */
  #shown = new Map();

  /**
   * @param {HTMLElement | null} button that switches notices on and off
   * @param {HTMLElement | null} closedButton the same for while the page is closed
   * @param {string} me who is told
   */
  constructor(button, closedButton, me) {
    this.#button = button;
    this.#closedButton = closedButton;
    this.#push = new Push(PUSH_SCOPE, PUSH_MEMORY + me);
    button?.addEventListener("click", () => void this.#toggle());
    closedButton?.addEventListener("click", () => void this.#toggleClosed());
    if (this.#push.isOn) void this.#push.renew();
    document.addEventListener("visibilitychange", () => {
      if (document.visibilityState === "visible") this.#takeBack();
    });
    this.#show();
  }

  get areOn() {
    return "Notification" in globalThis && Notification.permission === "granted" && localStorage.getItem(MEMORY) === "on";
  }

  /** So many rooms wait to be read. @param {number} count */
  set count(count) {
    document.title = count > 0 ? `(${count}) ${this.#title}` : this.#title;
  }

  /**
   * Tells of a message, unless the page is seen.
   * @param {string} room
   * @param {string} who
   * @param {string} words
   * @param {() => void} open
   */
  tell(room, who, words, open) {
    if (document.visibilityState === "visible" || !this.areOn) return;
    const options = { body: words, tag: room, silent: true };
    const notice = noticeOf(who, options);
    if (notice === null) return void this.#tellByWorker(room, who, options);
    notice.onclick = () => {
      focus();
      open();
      notice.close();
    };
    this.#shown.set(room, notice);
  }

  /** Where only a service worker may make notices, that of web push does, which leads to the room too. @param {string} room @param {string} who @param {NotificationOptions} options */
  async #tellByWorker(room, who, options) {
    const registration = await navigator.serviceWorker?.getRegistration(PUSH_SCOPE);
    await registration?.showNotification(who, { ...options, data: { url: `${INBOX}/${room}` } });
  }

  #takeBack() {
    for (const notice of this.#shown.values()) notice.close();
    this.#shown.clear();
    void this.#takeBackOfWorker();
  }

  async #takeBackOfWorker() {
    const registration = await navigator.serviceWorker?.getRegistration(PUSH_SCOPE);
    for (const notice of (await registration?.getNotifications()) ?? []) notice.close();
  }

  async #toggle() {
    if (this.areOn) {
      localStorage.removeItem(MEMORY);
      await this.#push.off();
    } else if ((await Notification.requestPermission()) === "granted") localStorage.setItem(MEMORY, "on");
    this.#show();
  }

  async #toggleClosed() {
    this.#isFailed = false;
    if (this.#push.isOn) await this.#push.off();
    else this.#isFailed = (await this.#push.on()) === "failed";
    this.#show();
  }

  #show() {
    if (this.#closedButton) {
      this.#closedButton.hidden = !this.areOn || !Push.isPossible;
      this.#closedButton.setAttribute("aria-pressed", String(this.#push.isOn));
      this.#closedButton.title = this.#isFailed ? "This browser cannot be told at the moment." : "";
    }
    if (!this.#button) return;
    this.#button.hidden = !("Notification" in globalThis);
    this.#button.setAttribute("aria-pressed", String(this.areOn));
    const isRefused = "Notification" in globalThis && Notification.permission === "denied";
    this.#button.title = isRefused ? "This browser does not allow it for this site." : "";
  }
}

/** A notice of the system; null where a page cannot make one by itself, as on Android. @param {string} title @param {NotificationOptions} options */
function noticeOf(title, options) {
  try {
    return new Notification(title, options);
  } catch {
    return null;
  }
}
