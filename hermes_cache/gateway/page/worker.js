/**
 * What all tabs of a browser share: one stream, one copy of the rows, one look into the cache.
 *
 * It runs as a shared worker, or, in a browser without these, as the worker of one tab. A tab gets only the rows that
 * it shows. So twenty tabs take one seat at the gateway, and no tab parses or sorts a list. The stream ends when no
 * tab is visible, and begins again when one is.
 */
import { Followed } from "./followed.js";
import { Insight } from "./insight.js";
import { facets, indexOf, itemAt, listing, momentOf, sourceOf, titleOf } from "./listing.js";
import { Naive } from "./naive.js";

/* A tab that crashed says no goodbye; a visible one says every few seconds that it is there. One that is silent for
 * so long counts as hidden, and is not forgotten: after a sleep of the machine it speaks again. */
const SILENT_MS = 15_000;
const MOST_LISTINGS = 8;
const BLOCK = 60;

/** @type {Map<MessagePort, {visible: boolean, inspects: boolean, ask: Object | null, heardAt: number}>} */
const tabs = new Map();
const query = new URLSearchParams(self.location.search).get("view");
const numbers = new WeakMap();
let lastNumber = 0;
let listings = new Map();
let knownFacets = null;
let change = { bytes: 0, at: 0 };

const followed = new Followed({ query, onView: showView, onStatus: showStatus, onSignedOut: () => all({ kind: "reload" }) });
const insight = new Insight((known) => all({ kind: "insight", known }, (tab) => tab.inspects));
const naive = new Naive(() => {
  listings = new Map();
  pushRows((tab) => tab.ask?.filter.naive);
});

function showView(view, bytes) {
  change = { bytes, at: performance.now() };
  listings = new Map();
  knownFacets = null;
  pushRows(() => true);
  insight.lookSoon();
}

function showStatus(status) {
  all({ kind: "status", status });
}

function all(message, chosen = () => true) {
  for (const [port, tab] of tabs) if (tab.visible && chosen(tab)) port.postMessage(message);
}

function pushRows(chosen) {
  for (const [port, tab] of tabs) if (tab.visible && tab.ask && chosen(tab)) port.postMessage(reply(tab.ask));
}

const shown = () => followed.view?.body.sessions ?? null;

function listed(filter) {
  const day = new Date().toDateString();
  const name = JSON.stringify([filter, day]);
  let found = listings.get(name);
  if (!found) {
    const rows = filter.naive ? naive.rows : shown();
    const began = performance.now();
    found = { ...listing(rows ?? [], filter, new Date()), isKnown: rows !== null, revision: ++lastNumber };
    found.tookMs = performance.now() - began;
    if (listings.size >= MOST_LISTINGS) listings.delete(listings.keys().next().value);
    listings.set(name, found);
  }
  return found;
}

/* A reply has the rows around those that the tab shows. If the list changed, they are where the tab's first row is. */
function reply(ask) {
  const found = listed(ask.filter);
  const moved = ask.anchor !== null && ask.revision !== found.revision ? indexOf(found, ask.anchor) : -1;
  const by = moved < 0 ? 0 : moved - ask.anchorAt;
  const from = Math.max(0, Math.min(ask.from + by, found.total - 1) - BLOCK);
  const to = Math.min(found.total, ask.to + by + BLOCK);
  const selectedAt = ask.selected === null ? -1 : indexOf(found, ask.selected);
  const rows = shown();
  knownFacets ??= rows && facets(rows);
  return {
    kind: "rows",
    number: ask.number,
    filter: ask.filter,
    isKnown: found.isKnown,
    revision: found.revision,
    total: found.total,
    count: found.rows.length,
    groups: found.groups,
    tookMs: found.tookMs,
    from,
    items: Array.from({ length: Math.max(0, to - from) }, (_, each) => item(found, from + each, ask.filter)),
    anchor: ask.anchor,
    anchorAt: moved,
    selectedAt,
    selected: selectedAt < 0 ? null : itemAt(found, selectedAt).row,
    facets: knownFacets,
    naive: ask.filter.naive ? naive.verdict : null,
    change,
  };
}

function item(found, index, filter) {
  const { group, row, number } = itemAt(found, index);
  if (group) return { group: group.name, count: group.count, made: `${group.name} ${group.count}` };
  let made = numbers.get(row);
  if (!made) numbers.set(row, (made = ++lastNumber));
  const outdated = filter.naive && naive.isOutdated(row.session_id);
  return {
    id: row.session_id,
    number,
    made: `${made} ${outdated}`,
    title: titleOf(row),
    source: sourceOf(row),
    profile: row.profile,
    count: Number(row.message_count) || 0,
    at: momentOf(row),
    running: row.is_streaming === true,
    pinned: Boolean(row.pinned),
    archived: Boolean(row.archived),
    outdated,
  };
}

function heard(port, message) {
  const tab = tabs.get(port) ?? { visible: false, inspects: false, ask: null, heardAt: 0 };
  tabs.set(port, tab);
  tab.heardAt = Date.now();
  if (message.kind === "bye") tabs.delete(port);
  else if (message.kind === "here") here(port, tab, message);
  else if (message.kind === "ask") asked(port, tab, message);
  else if (message.kind === "retry") followed.retryNow();
  else if (message.kind === "look") insight.lookSoon(0);
  settle();
}

function here(port, tab, { visible, inspects }) {
  const appears = visible && !tab.visible;
  Object.assign(tab, { visible, inspects });
  if (!appears) return;
  port.postMessage({ kind: "status", status: followed.status });
  if (insight.known) port.postMessage({ kind: "insight", known: insight.known });
  if (tab.ask) port.postMessage(reply(tab.ask));
}

function asked(port, tab, ask) {
  tab.ask = ask;
  port.postMessage(reply(ask));
}

/* The stream and the looks live as long as somebody sees what they tell. */
function settle() {
  const seen = [...tabs.values()].filter((tab) => tab.visible);
  if (seen.length) followed.start();
  else followed.stop();
  insight.keep(seen.some((tab) => tab.inspects));
  naive.keep(seen.some((tab) => tab.ask?.filter.naive));
}

setInterval(() => {
  for (const tab of tabs.values()) if (Date.now() - tab.heardAt > SILENT_MS) tab.visible = false;
  settle();
}, 1_000);
self.addEventListener("online", () => followed.retryNow());
if ("onconnect" in self) {
  self.addEventListener("connect", ({ ports: [port] }) => {
    port.addEventListener("message", ({ data }) => heard(port, data));
    port.start();
  });
} else {
  self.addEventListener("message", ({ data }) => heard(self, data));
}
