/** Loads the page. If a part of it does not come, this says so, and loads the page again once the gateway answers. */

const RELOAD_MS = 2_000;

/** Load the page again once the gateway answers: before that, the browser would show an error page of its own. */
export async function reloadWhenBack() {
  for (;;) {
    await new Promise((resume) => setTimeout(resume, RELOAD_MS));
    try {
      const answer = await fetch(location.href, { method: "HEAD", cache: "no-store" });
      if (answer.status < 500) return location.reload();
    } catch {
      /* It is still away. */
    }
  }
}

import("./app.js").catch((error) => {
  console.error(error);
  document.getElementById("status").dataset.state = "offline";
  document.getElementById("status-text").textContent = "Offline: a part of the page could not be loaded. Trying again.";
  reloadWhenBack();
});
