// @ts-check
/**
 * The one tap of all tabs: a shared worker. A tab says which types of events it follows, none when it leaves; the
 * connection is there as long as anybody follows anything.
 */
import { TapLine } from "./tap.js";

/** What each tab follows. @type {Map<MessagePort, Set<string>>} */
const tabs = new Map();

const line = new TapLine((news) => {
  for (const [port, kinds] of tabs) if (news.what !== "event" || kinds.has(news.kind)) port.postMessage(news);
});

addEventListener("connect", (event) => {
  const [port] = /** @type {MessageEvent} */ (event).ports;
  if (!port) return;
  port.onmessage = ({ data: kinds }) => {
    if (kinds.length === 0) {
      tabs.delete(port);
      if (tabs.size === 0) line.close();
      return;
    }
    tabs.set(port, new Set(kinds));
    line.want(kinds);
    if (line.isOpen) port.postMessage({ what: "open" });
    else line.open();
  };
});
