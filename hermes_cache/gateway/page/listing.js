/**
 * What of a view a tab shows, and in what order: filters, search and groups. No document, no network.
 *
 * Rows keep their identity from patch to patch, so what is made of a row is made once.
 */

/**
 * @typedef {Object} Filter
 * @property {string} profile A profile; empty for all. Likewise the next two.
 * @property {string} source
 * @property {string} project
 * @property {"" | "pinned" | "archived"} shelf Empty for what is not archived.
 * @property {string} search Words that must all occur.
 *
 * @typedef {Object} Group
 * @property {string} name
 * @property {number} at The index of its heading among headings and rows.
 * @property {number} count
 *
 * @typedef {Object} Listing
 * @property {import("./patches.js").Row[]} rows In the order shown.
 * @property {Group[]} groups
 * @property {number} total Of headings and rows.
 */

const texts = new WeakMap();
const DAY_MS = 86_400_000;

/** Return the moment by which a row is sorted, in epoch seconds; 0 if it has none. */
export function momentOf(row) {
  for (const name of ["last_message_at", "updated_at", "created_at"]) {
    const at = Number(row[name]);
    if (Number.isFinite(at) && at > 0) return Math.max(at, Number(row.pending_started_at) || 0);
  }
  return Number(row.pending_started_at) || 0;
}

/** Return what a row is called. */
export function titleOf(row) {
  return String(row.display_title || row.title || "Untitled");
}

export function sourceOf(row) {
  return String(row.source_label || row.raw_source || "");
}

/**
 * @param {import("./patches.js").Row[]} rows In the order of the view.
 * @param {Filter} filter
 * @param {Date} now
 * @returns {Listing}
 */
export function listing(rows, filter, now) {
  const found = rows.filter(matcher(filter));
  const running = found.filter((row) => row.is_streaming);
  const others = found.filter((row) => !row.is_streaming);
  const pinned = filter.shelf === "pinned" ? [] : others.filter((row) => row.pinned);
  const dated = filter.shelf === "pinned" ? others : others.filter((row) => !row.pinned);
  const parts = [["Running", running], ["Pinned", pinned], ...byDate(dated, now)].filter(([, part]) => part.length);
  let at = 0;
  const groups = parts.map(([name, part]) => {
    const group = { name, at, count: part.length };
    at += part.length + 1;
    return group;
  });
  return { rows: parts.flatMap(([, part]) => part), groups, total: at };
}

/** Return the item at an index: a group, or a row with its number from 1. */
export function itemAt(listed, index) {
  const { groups } = listed;
  let low = 0;
  let high = groups.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (groups[middle].at <= index) low = middle;
    else high = middle - 1;
  }
  if (groups[low].at === index) return { group: groups[low] };
  const number = index - low;
  return { row: listed.rows[number - 1], number };
}

/** Return the index of a row among headings and rows; -1 if it is not listed. */
export function indexOf(listed, id) {
  const number = listed.rows.findIndex((row) => row.session_id === id);
  if (number < 0) return -1;
  let before = 0;
  for (const [group, { count }] of listed.groups.entries()) {
    before += count;
    if (number < before) return number + group + 1;
  }
  return -1;
}

/** Return the values that a view can be filtered by, each with its number of rows, the most frequent first. */
export function facets(rows) {
  const found = { profile: new Map(), source: new Map(), project: new Map() };
  let archived = 0;
  let running = 0;
  for (const row of rows) {
    if (row.archived) archived += 1;
    if (row.is_streaming) running += 1;
    count(found.profile, row.profile);
    count(found.source, sourceOf(row));
    count(found.project, row.project_id);
  }
  const sorted = (map) => [...map].sort((one, other) => other[1] - one[1] || (one[0] < other[0] ? -1 : 1));
  return {
    profile: sorted(found.profile),
    source: sorted(found.source),
    project: sorted(found.project),
    archived,
    running,
    all: rows.length,
  };
}

function count(map, value) {
  if (value) map.set(value, (map.get(value) ?? 0) + 1);
}

function matcher(filter) {
  const words = filter.search.toLowerCase().split(/\s+/).filter(Boolean);
  return (row) =>
    (filter.shelf === "archived") === Boolean(row.archived) &&
    (filter.shelf !== "pinned" || row.pinned) &&
    (!filter.profile || row.profile === filter.profile) &&
    (!filter.source || sourceOf(row) === filter.source) &&
    (!filter.project || row.project_id === filter.project) &&
    (!words.length || words.every((word) => textOf(row).includes(word)));
}

function textOf(row) {
  let text = texts.get(row);
  if (text === undefined) {
    text = [titleOf(row), row.session_id, sourceOf(row), row.model, row.workspace].join("\n").toLowerCase();
    texts.set(row, text);
  }
  return text;
}

/* The view is sorted by time, so a group ends where the next begins. A row without order does not open one again. */
function byDate(rows, now) {
  const today = new Date(now.getFullYear(), now.getMonth(), now.getDate()).getTime();
  const parts = [];
  let floor = Infinity;
  for (const row of rows) {
    const at = momentOf(row) * 1000;
    if (at < floor) {
      const [name, from] = period(at, today);
      floor = from;
      parts.push([name, []]);
    }
    parts.at(-1)[1].push(row);
  }
  return parts;
}

/** Return the name of the period that a moment is in, and when that begins. */
function period(at, today) {
  if (at >= today) return ["Today", today];
  if (at >= today - DAY_MS) return ["Yesterday", today - DAY_MS];
  if (at >= today - 7 * DAY_MS) return ["Last 7 days", today - 7 * DAY_MS];
  if (!(at > 0)) return ["No date", -Infinity];
  const date = new Date(at);
  if (Number.isNaN(date.getTime())) return ["No date", -Infinity];
  const name = date.toLocaleDateString("en", { month: "long", year: "numeric" });
  return [name, new Date(date.getFullYear(), date.getMonth(), 1).getTime()];
}
