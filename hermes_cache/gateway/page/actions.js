/** Buttons that publish events, as a gateway would, and those of the demo. */
import { byId, element, setText } from "./elements.js";
import { eventWords } from "./naming.js";
import { several, span } from "./words.js";

const TURN = "page-turn-";

export class Actions {
  /**
   * @param {Object} given
   * @param {() => Object | null} given.chosen Returns the row that is chosen.
   * @param {() => void} given.onDone
   * @param {(isNaive: boolean) => void} given.onNaive
   */
  constructor({ chosen, onDone, onNaive }) {
    this.chosen = chosen;
    this.onDone = onDone;
    this.onNaive = onNaive;
    this.known = null;
    this.isNaive = false;
    this.turn = this.button("Start a turn", () => this.startOrStop());
    this.outdate = this.button("Outdate the list", () => this.publish({ kind: "session_list_changed", reason: "from_the_page", ...this.whose() }));
    this.settings = this.button("Settings changed", () => this.publish({ kind: "settings_changed" }));
    this.rename = this.button("Rename during a build", () => this.demo({ do: "rename_during_build", session_id: this.chosen()?.session_id ?? null }));
    this.break = this.button("Break the home", () => this.demo({ do: this.known.demo.is_broken ? "mend" : "break" }));
    this.naive = this.button("As a naive cache", () => this.switchNaive());
    this.naive.setAttribute("role", "switch");
    this.said = element("span", "said", "");
    this.said.setAttribute("role", "status");
    this.ofDemo = group("Demo", this.rename, this.break, this.naive);
    byId("actions").append(group("Publish", this.turn, this.outdate, this.settings), this.ofDemo, this.said);
    this.ofDemo.hidden = true;
    this.paintNaive();
  }

  show(known) {
    this.known = known;
    setText(this.turn, this.ownStream() ? "Stop the turn" : "Start a turn");
    this.ofDemo.hidden = !known.demo;
    if (known.demo) setText(this.break, known.demo.is_broken ? "Mend the home" : "Break the home");
  }

  /** Tell how the naive cache does. */
  showVerdict(verdict) {
    const box = byId("naive");
    box.hidden = !this.isNaive;
    if (!this.isNaive || !verdict) return;
    const isBad = verdict.behind.length > 0;
    box.classList.toggle("bad", isBad);
    document.body.classList.toggle("naive-bad", isBad);
    const last = verdict.behind.at(-1);
    const found = isBad ? `Outdated now: it serves a list from before “${eventWords(last)}”, ${span(last.ago_s)} ago.` : "As true as the other one at this moment.";
    const waited = verdict.waitedS > 0.05 ? ` The last poll waited ${span(verdict.waitedS)} for it.` : "";
    setText(byId("naive-said"), isBad ? "The naive cache serves an outdated list." : "The naive cache is as true as the other one.");
    setText(box, `The naive cache (a lock and a time to live). ${found}${waited} Outdated so far: ${verdict.outdated} of ${several(verdict.polls, "poll")}.`);
  }

  switchNaive() {
    this.isNaive = !this.isNaive;
    this.paintNaive();
    this.onNaive(this.isNaive);
  }

  paintNaive() {
    this.naive.setAttribute("aria-checked", String(this.isNaive));
    document.body.classList.toggle("naive", this.isNaive);
    document.body.classList.remove("naive-bad");
    byId("naive").hidden = !this.isNaive;
    if (!this.isNaive) setText(byId("naive-said"), "");
  }

  ownStream() {
    return this.known?.streams.find((stream) => stream.stream_id.startsWith(TURN))?.stream_id;
  }

  startOrStop() {
    const own = this.ownStream();
    if (own) return this.publish({ kind: "stream_stopped", stream_id: own });
    const stream = TURN + Math.random().toString(36).slice(2, 8);
    return this.publish({ kind: "stream_started", stream_id: stream, ...this.whose() });
  }

  /* The events of a button are about the row that is chosen, or about all. */
  whose() {
    const row = this.chosen();
    return row ? { profile: row.profile, session_id: row.session_id } : {};
  }

  button(text, act) {
    const made = element("button", "", text);
    made.type = "button";
    made.addEventListener("click", act);
    return made;
  }

  publish(event) {
    return this.send("api/events", event);
  }

  demo(command) {
    return this.send("api/demo", command);
  }

  async send(address, body) {
    let reason = "";
    try {
      const answer = await fetch(address, { method: "POST", body: JSON.stringify(body), headers: { "Content-Type": "application/json" } });
      if (!answer.ok) reason = (await answer.json()).error;
    } catch {
      reason = "The gateway does not answer.";
    }
    setText(this.said, reason);
    this.onDone();
  }
}

function group(name, ...buttons) {
  const made = element("div", "group", element("span", "of", name), ...buttons);
  made.setAttribute("role", "group");
  made.setAttribute("aria-label", name);
  return made;
}
