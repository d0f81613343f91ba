/** What the cache holds and does, in words: views, states, events and builds. */
import { clock, several, span } from "./words.js";

const EVENTS = {
  session_list_changed: "list changed",
  stream_started: "stream started",
  stream_stopped: "stream stopped",
  settings_changed: "settings changed",
  source_changed: "sources moved",
};

const CONDITIONS = {
  fresh: "fresh",
  aged: "over its age",
  moved: "sources moved",
  unchecked: "not looked at",
  outdated: "outdated by an event",
  missing: "nothing held",
};

const OUTCOMES = {
  stored: "stored",
  discarded: "not stored",
  failed: "failed",
  abandoned: "given up",
  running: "running",
  queued: "waiting for a thread",
};

const REASONS = {
  miss: "nothing was held",
  event: "an event outdated it",
  source: "its sources moved",
  age: "it was over its age",
};

/** Return what each of some views is called: what it is of, and the options that others of the same do not have. */
export function viewNames(keys) {
  const views = [...new Set(keys)].map((key) => {
    const [of, options = ""] = key.split(" with ");
    return { key, of, options: options.split(", ").filter(Boolean) };
  });
  const isShared = (of, option) => views.every((other) => other.of !== of || other.options.includes(option));
  return new Map(views.map(({ key, of, options }) => [key, [of, ...options.filter((each) => !isShared(of, each))].join(", ")]));
}

/** Return the state of an entry. */
export function condition(entry) {
  if (entry.failure) return "builds fail";
  if (entry.building_for_s !== null) return "building";
  return CONDITIONS[entry.condition];
}

/** Return why an entry is in its state; an empty text if that says it all. */
export function conditionReason(entry) {
  if (entry.failure) return entry.failure;
  if (entry.moved_parts.length) return `moved: ${entry.moved_parts.join(", ")}`;
  if (entry.held_back_for_s) return `refresh held back for ${span(entry.held_back_for_s)}`;
  return "";
}

/** Return what an event says. */
export function eventWords(event) {
  const what = event.reason?.replaceAll("_", " ") ?? EVENTS[event.kind] ?? event.kind;
  const parts = [what, event.stream_id ?? event.touched ?? "all profiles"];
  return [...parts, event.is_foreign && "another process"].filter(Boolean).join(" · ");
}

export function outcome(build) {
  if (!build.overtaken_by) return OUTCOMES[build.outcome];
  return build.outcome === "discarded" ? "overtaken" : `overtaken, ${OUTCOMES[build.outcome]}`;
}

/** Return what its readers got; an empty text if nobody waited. */
export function readersOf(build) {
  if (!build.waited) return "";
  const answered = build.waited - build.sent_on;
  const readers = several(build.waited, "reader");
  if (build.outcome === "running" || build.outcome === "queued") return `${readers} ${build.waited === 1 ? "waits" : "wait"}`;
  if (!build.overtaken_by) return `${readers} waited and got it`;
  const before = answered && `${several(answered, "reader")} had asked before the event and got it`;
  const after = build.sent_on && `${several(build.sent_on, "reader")} asked after the event and had to wait for the next build`;
  return [before, after].filter(Boolean).join("; ");
}

/** Return a build in sentences. */
export function buildLines(build, events) {
  const overtaking = events.find((event) => event.id === build.overtaken_by);
  const began = build.began_at_s === null ? "It has not begun." : `It began at ${clock(build.began_at_s)} and ran for ${span(build.took_s)}.`;
  return [
    `Build ${build.id} of ${build.key}.`,
    `It was asked for because ${REASONS[build.reason] ?? build.reason}. ${began}`,
    overtaking && `At ${clock(overtaking.at_s)} an event overtook it: ${eventWords(overtaking)}. What it read may be older than that event, so it was not stored.`,
    build.overtaken_by && !overtaking && "An event overtook it, so it was not stored.",
    !build.overtaken_by && build.why && `It was not stored: ${build.why}.`,
    readersOf(build) && `${readersOf(build)}.`,
  ].filter(Boolean);
}
