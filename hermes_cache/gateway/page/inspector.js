/** The right side: what the cache holds, does and saved, and an explanation of what is chosen. */
import { byId, element, isolated, setText } from "./elements.js";
import { buildLines, condition, conditionReason, eventWords, outcome, viewNames } from "./naming.js";
import { Story } from "./story.js";
import { Timeline } from "./timeline.js";
import { clock, counted, several, span } from "./words.js";

const MOST_LINES = 9;
const AGE_MS = 1_000;

export class Inspector {
  constructor() {
    this.known = null;
    this.row = null;
    this.story = new Story(byId("story"));
    this.timeline = new Timeline(byId("timeline"), (build) => this.explainBuild(build));
    setInterval(() => document.hidden || this.age(), AGE_MS);
  }

  show(known) {
    this.known = known;
    this.names = viewNames([...known.entries, ...known.builds].map((each) => each.key));
    this.timeline.show(known);
    showTiles(known.stats);
    this.showEntries(known);
    replace(byId("events"), known.events.slice(0, MOST_LINES).map(eventLine), "No event was published yet.");
    replace(byId("builds"), known.builds.slice(0, MOST_LINES).map((build) => this.buildLine(build)), "Nothing was built yet.");
    replace(byId("streams"), [...known.streams.map(streamLine), ...known.scopes.map(scopeLine)], "No stream runs.");
    this.story.refresh(known);
  }

  showEntries(known) {
    const lines = [...known.entries].reverse().slice(0, MOST_LINES).map((entry) => this.entryLine(entry, known));
    replace(byId("entries"), lines, "Nothing is held.");
    this.age();
  }

  entryLine(entry, known) {
    const button = element("button", "entry", element("b", "", this.names.get(entry.key)));
    button.type = "button";
    button.title = entry.key;
    button.dataset.state = entry.failure ? "failing" : entry.building_for_s === null ? entry.condition : "building";
    const state = element("span", "state", condition(entry));
    const age = element("span", "age", "");
    const bar = element("span", "bar", element("i", ""));
    button.made = { entry, age, bar, ttl: known.streams.length ? known.streaming_ttl_s : known.ttl_s };
    const reads = Object.entries(entry.served).map(([name, count]) => `${counted(count)} ${name}`);
    const read = reads.length ? `reads: ${reads.join(", ")}` : "not read since it was built";
    button.append(state, age, bar, element("small", "", [conditionReason(entry), read].filter(Boolean).join(" · ")));
    button.addEventListener("click", () => this.story.explainEntry(entry));
    return button;
  }

  age() {
    if (!this.known) return;
    const now = Date.now() / 1000 - this.known.clockOffset;
    for (const { made } of byId("entries").querySelectorAll("button")) {
      const age = made.entry.built_at_s === null ? NaN : now - made.entry.built_at_s;
      setText(made.age, Number.isFinite(age) ? span(age) : "");
      made.bar.firstChild.style.width = `${Math.min(100, ((age || 0) / made.ttl) * 100)}%`;
    }
  }

  buildLine(build) {
    const at = build.began_at_s === null ? "" : clock(build.began_at_s);
    const waited = build.waited ? `${build.waited} waited` : "";
    const words = [outcome(build), span(build.took_s), this.names.get(build.key), waited].filter(Boolean).join(" · ");
    const button = element("button", "", element("time", "", at), " ", element("span", "", words));
    button.type = "button";
    button.addEventListener("click", () => this.explainBuild(build));
    const line = element("li", build.overtaken_by ? "overtaken" : build.outcome, button);
    return line;
  }

  explainBuild(build) {
    this.story.tell(`Build ${build.id}`, buildLines(build, this.known.events));
  }

  /** Put the keyboard into the explanation. */
  enterStory() {
    this.story.enter();
  }

  /** Explain a row, or nothing. */
  choose(id) {
    if (id === null) this.story.close();
    this.isToExplain = id;
  }

  showRow({ selected }) {
    const isOther = selected?.session_id !== this.row?.session_id;
    this.row = selected;
    if (selected && (isOther || this.isToExplain)) this.story.explainRow(selected, this.known);
    else if (selected) this.story.keepRow(selected);
    this.isToExplain = null;
  }
}

function showTiles(stats) {
  const reads = Object.entries(stats.outcomes);
  const answered = reads.reduce((sum, [, count]) => sum + count, 0);
  const atOnce = (stats.outcomes.hit ?? 0) + (stats.outcomes.stale ?? 0);
  const ended = stats.durations.counts.reduce((sum, count) => sum + count, 0);
  const each = ended ? stats.durations.sum_s / ended : 0;
  const saved = Math.max(0, answered - stats.builds);
  const share = answered ? Math.floor((100 * atOnce) / answered) : 0;
  const tiles = [
    ["Polls answered", counted(answered), `${share} % from memory`],
    ["Builds run", counted(stats.builds), each ? `${span(each)} each` : "none ended yet"],
    ["Builds saved", counted(saved), "if each poll built"],
    ["Build time saved", span(saved * each), "since the start"],
    ["Held", several(stats.entries, "view"), `${(stats.held_bytes / 2 ** 20).toFixed(1)} MB · ${several(stats.followers, "follower")}`],
  ];
  const box = byId("tiles");
  if (!box.children.length) box.append(...tiles.map(([name]) => element("div", "tile", element("dt", "", name), element("dd", ""), element("dd", "note"))));
  for (const [index, [, value, note]] of tiles.entries()) {
    const [, shown, noted] = box.children[index].children;
    setText(shown, value);
    setText(noted, note);
  }
}

function eventLine(event) {
  const words = isolated(eventWords(event), "");
  if (event.session_id) words.title = event.session_id;
  return element("li", event.is_foreign ? "foreign" : "", element("time", "", clock(event.at_s)), " ", words);
}

function streamLine(stream) {
  const left = stream.ends_in_s === null ? "" : ` · forgotten in ${span(stream.ends_in_s)} without a sign of life`;
  return element("li", "stream", element("span", "lamp"), isolated(`${stream.stream_id} holds ${stream.profile ?? "all profiles"} down${left}`, ""));
}

function scopeLine(scope) {
  const looked = scope.check_age_s === null ? "never looked at" : `looked at ${span(scope.check_age_s)} ago, in ${span(scope.check_took_s)}`;
  const parts = [looked, scope.failure && `fails: ${scope.failure}`, scope.pause_left_s && `refreshes pause for ${span(scope.pause_left_s)}`];
  return element("li", scope.failure ? "failed" : "", element("b", "", scopeName(scope.name)), element("span", "", ` ${parts.filter(Boolean).join(" · ")}`));
}

/* A scope is any value; of those of a home, what stands first in quotes says whose it is. */
function scopeName(name) {
  const quoted = /'([^']*)'/.exec(name);
  return quoted ? `Sources of ${quoted[1] || "all profiles"}` : name;
}

/* What is focused stays, so that the keyboard is not thrown out by news. */
function replace(box, lines, nothing) {
  if (box.contains(document.activeElement)) return;
  box.replaceChildren(...(lines.length ? lines : [element(box.tagName === "DIV" ? "p" : "li", "nothing", nothing)]));
}
