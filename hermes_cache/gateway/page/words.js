/** Numbers, spans and moments as a person reads them. */

/* Made once: to make one takes as long as to draw a row. */
const counts = new Intl.NumberFormat("en");
const moments = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

/** @param {number} count */
export function counted(count) {
  return counts.format(count);
}

/** Return a count with its noun: `1 row`, `2 rows`. */
export function several(count, noun) {
  return `${counted(count)} ${noun}${count === 1 ? "" : "s"}`;
}

/** Return a span of seconds with two or three digits: `4 ms`, `0.42 s`, `3 min`, `2 h`. */
export function span(seconds) {
  if (!Number.isFinite(seconds)) return "–";
  const length = Math.max(0, seconds);
  if (length > 0 && length < 0.0005) return "under 1 ms";
  if (length < 0.0995) return `${Math.round(length * 1000)} ms`;
  if (length < 9.95) return `${length.toFixed(length < 0.995 ? 2 : 1)} s`;
  if (length < 120) return `${Math.round(length)} s`;
  if (length < 7200) return `${Math.round(length / 60)} min`;
  return `${Math.round(length / 3600)} h`;
}

/** Return how long ago a moment in epoch seconds was, in at most four signs, as a list has room for. */
export function ago(at, now) {
  const seconds = now - at;
  if (seconds < 60) return "now";
  if (seconds < 3600) return `${Math.floor(seconds / 60)}m`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)}h`;
  if (seconds < 86400 * 365) return `${Math.floor(seconds / 86400)}d`;
  return `${Math.floor(seconds / (86400 * 365))}y`;
}

/** Return the time of day of a moment in epoch seconds; an empty text if no calendar has it. */
export function clock(at) {
  const date = moment(at);
  return date ? date.toLocaleTimeString("en-GB") : "";
}

/** Return a date in the form of the reader's country. */
export function written(date) {
  return moments.format(date);
}

/** Return a moment in epoch seconds as a date; null if no calendar has it. */
export function moment(at) {
  return Number.isFinite(at) && Math.abs(at) < 8e12 ? new Date(at * 1000) : null;
}
