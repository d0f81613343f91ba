/** Says whether the list is live, polled or out of reach, and why it may be outdated. */
import { byId, setText } from "./elements.js";
import { span } from "./words.js";

export class StatusLine {
  /** @param {() => void} onRetry */
  constructor(onRetry) {
    this.status = null;
    byId("retry").addEventListener("click", onRetry);
    setInterval(() => document.hidden || this.tell(), 1_000);
  }

  /** @param {import("./followed.js").Status} status */
  show(status) {
    this.status = status;
    byId("status").dataset.state = status.trouble && status.state !== "offline" ? "troubled" : status.state;
    document.body.dataset.connection = status.state;
    byId("retry").hidden = status.state !== "offline" && status.state !== "polling";
    const trouble = byId("trouble");
    trouble.hidden = !status.trouble || status.state === "offline";
    setText(trouble, status.trouble ? `The list may be outdated: ${status.trouble}` : "");
    /* A screen reader hears of each change, and not of each second. */
    setText(byId("said"), words({ ...status, heardAt: 0, retryAt: 0 }));
    this.tell();
  }

  tell() {
    if (this.status) setText(byId("status-text"), words(this.status));
  }
}

function words({ state, detail, heardAt, retryAt, trouble }) {
  switch (state) {
    case "live":
      return trouble ? "Live, but the home cannot be read" : "Live";
    case "polling":
      return `Polling every 5 s: ${detail}`;
    case "offline":
      return `Offline: ${detail}. ${since(heardAt)}${next(retryAt)}`;
    case "paused":
      return "Paused";
    default:
      return "Connecting…";
  }
}

function since(heardAt) {
  return heardAt ? `Last heard ${span((Date.now() - heardAt) / 1000)} ago. ` : "";
}

function next(retryAt) {
  const left = (retryAt - Date.now()) / 1000;
  return left > 0.5 ? `Tries again in ${Math.ceil(left)} s.` : "Trying now.";
}
