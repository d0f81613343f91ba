/**
 * A list of any length in which only what is seen is in the document: a few dozen elements, moved as it scrolls.
 *
 * Headings and rows have one height, so the position of each follows from its index. The items come from a worker,
 * which is asked for more than is seen. What is selected and what is seen first keep their places when the list
 * changes. Keyboard and screen reader use it as a listbox.
 */
import { byId, element } from "./elements.js";

const BEYOND = 8;
const MOST_ELEMENTS = 200;

export class VirtualList {
  /**
   * @param {HTMLElement} viewport Scrolls, and is the listbox.
   * @param {Object} given
   * @param {(question: Object) => void} given.ask Asks for items around those that are seen.
   * @param {(target: HTMLElement, item: Object) => void} given.draw Draws an item into an element.
   * @param {(id: string | null) => void} given.onSelect
   * @param {(isByKey: boolean) => void} given.onOpen
   */
  constructor(viewport, { ask, draw, onSelect, onOpen }) {
    this.viewport = viewport;
    this.askFor = ask;
    this.draw = draw;
    this.onSelect = onSelect;
    this.onOpen = onOpen;
    this.canvas = element("div", "canvas");
    this.canvas.setAttribute("role", "presentation");
    viewport.append(this.canvas);
    this.items = new Map();
    this.elements = new Map();
    this.spare = [];
    this.headings = new Set();
    this.total = 0;
    this.revision = 0;
    this.selected = null;
    this.selectedAt = -1;
    this.wanted = null;
    this.anchor = null;
    this.isAsking = false;
    this.isDue = false;
    this.isToReveal = true;
    viewport.addEventListener("scroll", () => this.paintSoon(), { passive: true });
    viewport.addEventListener("keydown", (event) => this.pressed(event));
    viewport.addEventListener("click", (event) => this.clicked(event));
    new ResizeObserver(() => this.measure()).observe(viewport);
    this.measure();
  }

  measure() {
    this.height = parseFloat(getComputedStyle(this.viewport).getPropertyValue("--row")) || 32;
    this.resize();
    this.paintSoon();
  }

  resize() {
    this.canvas.style.height = `${this.total * this.height}px`;
  }

  /** Show another list from its beginning: other filters or another search. */
  restart() {
    this.anchor = null;
    this.viewport.scrollTop = 0;
    this.ask();
  }

  /** Take a reply of the worker. */
  receive(reply) {
    this.isAsking = false;
    if (reply.revision !== this.revision) this.replace(reply);
    for (const [index, item] of reply.items.entries()) this.items.set(reply.from + index, item);
    if (this.wanted === null) this.selectedAt = reply.selectedAt;
    if (this.isToReveal && reply.selectedAt >= 0) this.reveal(reply.selectedAt);
    if (reply.isKnown) this.isToReveal = false;
    this.paint();
    if (this.wanted !== null) this.select(this.wanted);
  }

  replace(reply) {
    const before = [...this.items].find(([, item]) => item.id === reply.anchor)?.[0];
    this.revision = reply.revision;
    this.items.clear();
    this.headings = new Set(reply.groups.map((group) => group.at));
    this.total = reply.total;
    this.resize();
    /* At the top, new rows are to be seen. Elsewhere, what is read stays where it is. */
    const isRead = before !== undefined && this.viewport.scrollTop >= this.height;
    if (isRead && reply.anchorAt >= 0) this.viewport.scrollTop += (reply.anchorAt - before) * this.height;
  }

  paintSoon() {
    if (this.isDue) return;
    this.isDue = true;
    requestAnimationFrame(() => {
      this.isDue = false;
      this.paint();
    });
  }

  /** The indexes from the first to behind the last that are in sight. */
  seen() {
    const top = this.viewport.scrollTop;
    const first = Math.max(0, Math.floor(top / this.height));
    return [first, Math.min(this.total, Math.ceil((top + this.viewport.clientHeight) / this.height))];
  }

  paint() {
    const [first, last] = this.seen();
    const from = Math.max(0, first - BEYOND);
    const to = Math.min(this.total, last + BEYOND, from + MOST_ELEMENTS);
    for (const [index, target] of this.elements) if (index < from || index >= to) this.putAway(index, target);
    let isMissing = false;
    for (let index = from; index < to; index += 1) {
      const item = this.items.get(index);
      if (item) this.put(index, item);
      else isMissing = true;
    }
    this.noteAnchor(first);
    this.tellActive();
    if (isMissing && !this.isAsking) this.ask();
  }

  ask() {
    const [from, to] = this.seen();
    this.isAsking = true;
    this.askFor({
      from,
      to,
      revision: this.revision,
      anchor: this.anchor?.id ?? null,
      anchorAt: this.anchor?.at ?? 0,
      selected: this.selected,
    });
  }

  /* The worker is told with each question; it also sends news unasked, which begin at the anchor that it knows. */
  noteAnchor(first) {
    for (let index = first; index < first + 3; index += 1) {
      const item = this.items.get(index);
      if (!item?.id) continue;
      const isOther = this.anchor?.id !== item.id || this.anchor.at !== index;
      this.anchor = { id: item.id, at: index };
      if (isOther) this.askLater();
      return;
    }
  }

  askLater() {
    clearTimeout(this.later);
    this.later = setTimeout(() => this.isAsking || this.ask(), 120);
  }

  put(index, item) {
    let target = this.elements.get(index);
    if (!target) {
      target = this.spare.pop() ?? this.canvas.appendChild(element("div", ""));
      target.hidden = false;
      target.style.transform = `translateY(${index * this.height}px)`;
      target.shown = null;
      this.elements.set(index, target);
    }
    const isSelected = item.id !== undefined && item.id === this.selected;
    const made = `${item.made} ${item.number} ${this.total - this.headings.size} ${isSelected}`;
    if (target.shown === made) return;
    target.shown = made;
    this.draw(target, item);
    if (item.id === undefined) return;
    target.id = `row-${index}`;
    target.setAttribute("aria-selected", String(isSelected));
    target.setAttribute("aria-posinset", String(item.number));
    target.setAttribute("aria-setsize", String(this.total - this.headings.size));
  }

  putAway(index, target) {
    this.elements.delete(index);
    target.hidden = true;
    target.removeAttribute("id");
    this.spare.push(target);
  }

  tellActive() {
    const active = byId(`row-${this.selectedAt}`);
    if (active?.getAttribute("aria-selected") === "true") {
      this.viewport.setAttribute("aria-activedescendant", active.id);
    } else {
      this.viewport.removeAttribute("aria-activedescendant");
    }
  }

  pressed(event) {
    const page = Math.max(1, Math.floor(this.viewport.clientHeight / this.height) - 1);
    const [first] = this.seen();
    const here = this.selectedAt < 0 ? first - 1 : this.selectedAt;
    const steps = {
      ArrowDown: here + 1,
      j: here + 1,
      ArrowUp: Math.max(0, here) - 1,
      k: Math.max(0, here) - 1,
      PageDown: here + page,
      PageUp: here - page,
      Home: 0,
      End: this.total - 1,
    };
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key in steps) this.select(this.rowNear(steps[event.key], steps[event.key] < here ? -1 : 1));
    else if (event.key === "Enter" && this.selected !== null) this.onOpen(true);
    else return;
    event.preventDefault();
  }

  rowNear(index, step) {
    const within = Math.max(0, Math.min(this.total - 1, index));
    if (!this.headings.has(within)) return within;
    const beside = within + step;
    return beside < 0 ? within + 1 : beside;
  }

  /** Select the row at an index; if it is not here yet, when it comes. */
  select(index) {
    if (!this.total) return;
    this.wanted = null;
    this.reveal(index);
    const item = this.items.get(index);
    if (!item) {
      this.wanted = index;
      this.selectedAt = index;
      if (!this.isAsking) this.ask();
      return;
    }
    this.selectedAt = index;
    this.choose(item.id);
  }

  /** Select a row by its id; null for none. */
  choose(id) {
    if (id === this.selected) return;
    this.selected = id;
    if (id === null) this.selectedAt = -1;
    this.paint();
    this.ask();
    this.onSelect(id);
  }

  reveal(index) {
    const top = index * this.height;
    const { scrollTop, clientHeight } = this.viewport;
    const above = this.headings.has(index - 1) ? this.height : 0;
    if (top - above < scrollTop) this.viewport.scrollTop = top - above;
    else if (top + this.height > scrollTop + clientHeight) this.viewport.scrollTop = top + this.height - clientHeight;
  }

  clicked(event) {
    const target = event.target.closest("[role=option]");
    if (!target) return;
    this.select(Number(target.id.slice("row-".length)));
    this.onOpen(false);
  }
}
