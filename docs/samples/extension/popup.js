// The popup holds one frame of the server and speaks with it as the widget's script does: by messages that name the other's
// origin exactly. No program of another site runs in the extension.
import { APP, PRODUCT, SERVER } from "./config.js";

const { origin } = new URL(SERVER);
const frame = document.querySelector("iframe");

function tell(type, more = {}) {
  frame.contentWindow.postMessage({ tandem: type, ...more }, origin);
}

addEventListener("message", ({ source, origin: from, data }) => {
  if (from !== origin || source !== frame.contentWindow) return;
  if (typeof data?.tandem !== "string") return;
  if (data.tandem === "close") window.close();
  if (data.tandem === "view") chrome.action.setBadgeText({ text: data.view.unread > 0 ? String(data.view.unread) : "" });
});
frame.addEventListener("load", () => {
  tell("hello", { page: "browser extension" });
  tell("show");
});
const url = new URL(`/w/${APP}/frame`, origin);
url.searchParams.set("product", PRODUCT);
// The frame is held by this page alone, and told of no other.
url.searchParams.set("host", location.origin);
frame.src = url.href;
