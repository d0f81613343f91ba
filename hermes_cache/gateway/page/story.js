/** Explains what is chosen, a row or an entry, in words. */
import { element, isolated } from "./elements.js";
import { condition, eventWords } from "./naming.js";
import { clock, moment, several, span, written } from "./words.js";

export class Story {
  /** @param {HTMLElement} box */
  constructor(box) {
    this.box = box;
    this.entry = null;
    this.chosen = null;
    this.openedFrom = null;
    this.isToEnter = false;
    box.addEventListener("keydown", ({ key }) => key === "Escape" && this.close());
  }

  /** Put the keyboard into what is told; it goes back where it was when this is closed. */
  enter() {
    this.openedFrom = document.activeElement;
    this.isToEnter = this.box.hidden;
    this.box.focus();
  }

  /**
   * Show lines under a title. A line that begins with two blanks belongs to the one before it.
   *
   * @param {string} title
   * @param {string[]} lines
   * @param {boolean} isNews Whether a screen reader reads it: not each time an age in it has grown.
   */
  tell(title, lines, isNews = true) {
    this.box.setAttribute("aria-live", isNews ? "polite" : "off");
    const close = element("button", "close", "×");
    close.type = "button";
    close.setAttribute("aria-label", "Close the explanation");
    close.addEventListener("click", () => this.close());
    const heading = element("h2", "", isolated(title, ""));
    heading.id = "story-title";
    const told = lines.map((line) => element("p", line.startsWith("  ") ? "detail" : "", isolated(line.trim(), "")));
    this.box.replaceChildren(heading, close, ...told);
    this.box.hidden = false;
    if (this.isToEnter) this.box.focus();
    this.isToEnter = false;
  }

  close() {
    if (this.box.contains(document.activeElement)) this.openedFrom?.focus();
    this.box.hidden = true;
    this.entry = null;
    this.chosen = null;
  }

  /** Tell why an entry is as it is, as the gateway explains it. */
  async explainEntry(entry) {
    this.chosen = null;
    this.entry = entry.key;
    const lines = await explanation(entry.view);
    if (this.entry === entry.key) this.tell(entry.key, lines);
  }

  explainRow(row, known, isNews = true) {
    this.entry = null;
    this.chosen = row;
    this.tell(String(row.display_title || row.title || "Untitled"), rowLines(row, known), isNews);
  }

  keepRow(row) {
    if (this.chosen) this.chosen = row;
  }

  refresh(known) {
    if (this.chosen && !this.box.hidden && !this.box.contains(document.activeElement)) this.explainRow(this.chosen, known, false);
  }
}

/* The first line of the story is the name of the view, which is the title here. */
async function explanation(view) {
  try {
    const answer = await fetch(`api/explain?${parameters(view)}`, { cache: "no-store" });
    const body = await answer.json();
    return answer.ok ? body.story.split("\n").slice(1) : [body.error];
  } catch {
    return ["The gateway does not answer."];
  }
}

function rowLines(row, known) {
  const at = moment(row.last_message_at || row.updated_at || row.created_at);
  const facts = [
    row.source_label && `from ${row.source_label}`,
    row.profile && `profile ${row.profile}`,
    several(Number(row.message_count) || 0, "message"),
    row.model && `model ${row.model}`,
    at && `last message ${written(at)}`,
  ];
  const lines = [`Session ${row.session_id}: ${facts.filter(Boolean).join(", ")}.`];
  if (row.title !== row.display_title) lines.push("It has no title of its own, so the beginning of its first message stands for it.");
  return known ? [...lines, ...liveLines(row, known)] : lines;
}

function liveLines(row, known) {
  const lines = [];
  if (row.is_streaming) lines.push(`A turn runs: stream ${row.active_stream_id}. While it does, the files that it writes are not looked at, so its tokens cost no builds.`);
  const entry = known.entries.find(({ view }) => view.all_profiles && view.include_archived && view.agent_limit === null);
  if (entry && entry.built_at_s !== null) {
    const age = Date.now() / 1000 - known.clockOffset - entry.built_at_s;
    lines.push(`The list that it stands in was built ${span(age)} ago, in ${span(entry.build_s)}, and is ${condition(entry)}.`);
  }
  const own = known.events.filter((event) => event.session_id === row.session_id).slice(0, 4);
  if (own.length) lines.push(`${several(own.length, "event")} named it lately:`);
  return [...lines, ...own.map((event) => `  ${clock(event.at_s)} ${eventWords(event)}`)];
}

function parameters(view) {
  const given = new URLSearchParams();
  for (const [name, value] of Object.entries(view)) {
    if (typeof value === "boolean") given.set(name, value ? "1" : "0");
    else if (name === "agent_limit") given.set(name, value === null ? "all" : value);
    else if (value !== null && name !== "extra") given.set(name, value);
  }
  return given;
}
