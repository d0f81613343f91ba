/** Draws one item of the list, a row or the heading of a group, into an element that may have shown another. */
import { element, isolated, setText } from "./elements.js";
import { ago, counted, moment, several, written } from "./words.js";

const OPTION = ["role", "aria-label", "aria-selected", "aria-posinset", "aria-setsize"];

/**
 * @param {HTMLElement} target
 * @param {Object} item As the worker sends it.
 */
export function drawItem(target, item) {
  if (item.group !== undefined) drawHeading(target, item);
  else drawRow(target, item);
}

/** Bring the spans since a moment up to date. */
export function age(canvas) {
  const now = Date.now() / 1000;
  for (const time of canvas.querySelectorAll("time")) if (time.at) setText(time, ago(time.at, now));
}

function drawHeading(target, { group, count }) {
  target.className = "heading";
  for (const name of OPTION) target.removeAttribute(name);
  target.setAttribute("aria-hidden", "true");
  target.parts = null;
  target.replaceChildren(element("span", "", group), element("span", "count", counted(count)));
}

/* Elements are made once and used again: a frame of scrolling only sets texts. */
function drawRow(target, item) {
  target.parts ??= newParts(target);
  const { mark, title, source, messages, time } = target.parts;
  const states = [item.running && "running", item.outdated && "outdated", item.archived && "archived"];
  target.className = ["row", ...states.filter(Boolean)].join(" ");
  setText(mark, item.pinned && !item.running ? "★" : "");
  setText(title, item.title);
  setText(source, item.source);
  setText(messages, counted(item.count));
  const date = item.at ? moment(item.at) : null;
  time.at = date ? item.at : 0;
  time.dateTime = date ? date.toISOString() : "";
  time.title = date ? written(date) : "";
  target.setAttribute("aria-label", spoken(item, time.title));
  setText(time, date ? ago(item.at, Date.now() / 1000) : "");
}

function newParts(target) {
  target.setAttribute("role", "option");
  target.removeAttribute("aria-hidden");
  const parts = {
    mark: element("span", "mark"),
    title: isolated("", "title"),
    source: isolated("", "source"),
    messages: element("span", "messages"),
    time: element("time", ""),
  };
  target.replaceChildren(...Object.values(parts));
  return parts;
}

/* The headings of dates are not heard, so each row says its own. */
function spoken(item, date) {
  const states = [
    item.running && "running",
    item.pinned && "pinned",
    item.archived && "archived",
    item.outdated && "outdated",
  ];
  const facts = [item.title, ...states, item.source, several(item.count, "message"), date];
  return facts.filter(Boolean).join(", ");
}
