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

/** Return what a view is of, without its options. */
export function viewName(key) {
  return key.split(" with ")[0];
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
  if (entry.moved_parts.length) return entry.moved_parts.join(", ");
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
  const waited = `${several(build.waited, "reader")} waited`;
  if (build.outcome === "running" || build.outcome === "queued") return waited.replace("waited", "wait");
  if (!build.sent_on) return `${waited} and got it`;
  return `${waited}: ${answered} got it, ${build.sent_on} came after the event and wait for the next`;
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
