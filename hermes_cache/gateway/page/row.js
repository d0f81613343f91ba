/** Draws one item of the list, a row or the heading of a group, into an element that may have shown another. */
import { element, isolated, setText } from "./elements.js";
import { ago, counted, moment } from "./words.js";

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
  target.removeAttribute("role");
  target.removeAttribute("aria-label");
  target.removeAttribute("aria-selected");
  target.removeAttribute("aria-posinset");
  target.removeAttribute("aria-setsize");
  target.setAttribute("aria-hidden", "true");
  target.replaceChildren(element("span", "", group), element("span", "count", counted(count)));
}

function drawRow(target, item) {
  target.className = ["row", item.running && "running", item.outdated && "outdated", item.archived && "archived"]
    .filter(Boolean)
    .join(" ");
  target.setAttribute("role", "option");
  target.removeAttribute("aria-hidden");
  target.setAttribute("aria-label", spoken(item));
  const when = element("time", "");
  const date = moment(item.at);
  if (date && item.at) {
    when.at = item.at;
    when.dateTime = date.toISOString();
    when.title = date.toLocaleString();
    when.textContent = ago(item.at, Date.now() / 1000);
  }
  target.replaceChildren(
    element("span", "mark", item.pinned && !item.running ? "★" : ""),
    isolated(item.title, "title"),
    isolated(item.source, "source"),
    element("span", "messages", counted(item.count)),
    when,
  );
}

function spoken(item) {
  const states = [
    item.running && "running",
    item.pinned && "pinned",
    item.archived && "archived",
    item.outdated && "outdated",
  ];
  const facts = [item.title, ...states, item.source, `${counted(item.count)} messages`];
  return facts.filter(Boolean).join(", ");
}
