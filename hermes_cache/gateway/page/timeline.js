/**
 * The time line of the last minute: a lane of events, a lane of streams, and a lane of builds for each view.
 *
 * Everything in it has its place by its time; as time goes on, one group is moved, and nothing is drawn again. A
 * build that an event overtook is joined to that event.
 */
import { drawn } from "./elements.js";
import { eventWords, outcome, readersOf, viewNames } from "./naming.js";
import { several, span } from "./words.js";

const SPAN_S = 60;
const LANE = 30;
const HEAD = 22;
const MOST_LANES = 6;
const LEAST_WIDTH = 3;
/* The ring of the event that overtook a build must not cover it. */
const LEAST_OVERTAKEN = 11;
/* About the width of a sign in the labels, and the least that lies between two. */
const SIGN = 6;
const GAP = 8;
const LONGEST_NAME = 32;
const TICK_MS = 250;
const CALM_TICK_MS = 1_000;

export class Timeline {
  /**
   * @param {HTMLElement} box
   * @param {(build: Object) => void} onBuild Called for a build that is clicked.
   */
  constructor(box, onBuild) {
    this.box = box;
    this.onBuild = onBuild;
    this.known = null;
    this.base = 0;
    this.svg = drawn("svg", { role: "img", width: "100%" });
    this.grid = drawn("g", { class: "grid" });
    this.moving = drawn("g", {});
    this.names = drawn("g", { class: "names" });
    const hatch = drawn("pattern", { id: "hatch", width: 6, height: 6, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" });
    hatch.append(drawn("rect", { class: "hatch-ground", width: 6, height: 6 }), drawn("rect", { class: "hatch-line", width: 3, height: 6 }));
    this.svg.append(drawn("defs", {}, hatch), this.grid, this.moving, this.names);
    box.append(this.svg);
    box.addEventListener("click", ({ target }) => target.build && onBuild(target.build));
    new ResizeObserver(() => this.draw()).observe(box);
    const isCalm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    setInterval(() => this.move(), isCalm ? CALM_TICK_MS : TICK_MS);
  }

  show(known) {
    this.known = known;
    this.base ||= known.at_s;
    this.draw();
  }

  now() {
    return Date.now() / 1000 - this.known.clockOffset;
  }

  x(at) {
    return (at - this.base) * this.scale;
  }

  draw() {
    const width = this.box.clientWidth;
    if (!this.known || !width) return;
    this.width = width;
    this.scale = width / SPAN_S;
    const since = this.now() - SPAN_S;
    const builds = this.known.builds.filter((build) => build.began_at_s !== null && build.began_at_s + build.took_s > since);
    const events = this.known.events.filter((event) => event.at_s > since);
    /* The busiest views have lanes; in one order, so that no lane jumps. */
    const keys = [...new Set([...builds, ...this.known.entries].map((each) => each.key))].slice(0, MOST_LANES).sort();
    const height = HEAD + LANE * (keys.length + 2);
    this.svg.setAttribute("height", height);
    this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    const overtaken = builds.filter((build) => build.overtaken_by).length;
    this.svg.setAttribute("aria-label", `In the last minute: ${several(builds.length, "build")}, of which ${overtaken} overtaken, and ${several(events.length, "event")}. The lists below say which.`);
    this.drawGrid(height, keys);
    const lane = new Map(keys.map((key, index) => [key, HEAD + LANE * (index + 2)]));
    const own = (key) => builds.filter((build) => build.key === key);
    const bars = [...lane].flatMap(([key, y]) => own(key).flatMap((build) => this.build(build, y, events)));
    const labels = [...lane].flatMap(([key, y]) => this.readers(own(key), y));
    /* A line to a lower lane would strike through the labels of the upper ones, so these come last. */
    this.moving.replaceChildren(...this.streams(since), ...events.map((event) => this.event(event, height)), ...bars, ...labels);
    this.move();
  }

  drawGrid(height, keys) {
    const lines = [];
    for (let back = 0; back < SPAN_S; back += 10) {
      const x = this.width - back * this.scale;
      lines.push(drawn("line", { x1: x, x2: x, y1: HEAD - 6, y2: height }));
      if (back) lines.push(drawn("text", { x: x + 4, y: 11 }, `−${back} s`));
    }
    for (let at = HEAD; at <= height; at += LANE) lines.push(drawn("line", { class: "lane", x1: 0, x2: this.width, y1: at, y2: at }));
    this.grid.replaceChildren(...lines);
    const called = viewNames(keys);
    const names = ["events", "streams", ...keys.map((key) => shortened(called.get(key)))];
    const name = (text, index) => [
      drawn("rect", { x: 0, y: HEAD + LANE * index + 1, width: text.length * SIGN + 6, height: 13 }),
      drawn("text", { x: 2, y: HEAD + LANE * index + 11 }, text),
    ];
    this.names.replaceChildren(...names.flatMap(name));
    this.namesWidth = Math.max(...names.map((text) => text.length)) * SIGN + GAP;
  }

  event(event, height) {
    const x = this.x(event.at_s);
    const kind = event.kind.startsWith("stream") ? "event stream-event" : "event";
    return drawn(
      "g",
      { class: `${kind}${event.is_foreign ? " foreign" : ""}` },
      drawn("title", {}, eventWords(event)),
      drawn("line", { x1: x, x2: x, y1: HEAD + 20, y2: height }),
      drawn("path", { d: `M${x} ${HEAD + 24}l-5 -8h10z` }),
    );
  }

  build(build, y, events) {
    const x = this.x(build.began_at_s);
    const running = build.outcome === "running";
    const width = Math.max(build.overtaken_by ? LEAST_OVERTAKEN : LEAST_WIDTH, (running ? this.now() - build.began_at_s : build.took_s) * this.scale);
    const kind = build.overtaken_by ? "overtaken" : build.outcome;
    const said = [`Build ${build.id}: ${outcome(build)}, ${span(build.took_s)}`, readersOf(build)].filter(Boolean).join(". ");
    const bar = drawn("rect", { class: `build ${kind}`, x, y: y + 16, width, height: 11, rx: 2 }, drawn("title", {}, said));
    bar.build = build;
    bar.isRunning = running;
    const overtaking = events.find((event) => event.id === build.overtaken_by);
    if (!overtaking) return [bar];
    const at = this.x(overtaking.at_s);
    const line = drawn("path", { class: "overtakes", d: `M${at} ${HEAD + 24}V${y + 17}` });
    return [bar, line, drawn("circle", { class: "overtakes", cx: at, cy: y + 21.5, r: 3 })];
  }

  /* What the readers of builds got stands above them, if there is room: that of builds that were overtaken first. A
   * label that the edge would cut is left out; one that comes below the name of its lane is hidden. */
  readers(builds, y) {
    const shift = this.width - this.x(this.now());
    const taken = [];
    const told = [];
    const first = (build) => (build.overtaken_by ? 0 : 1);
    for (const build of builds.filter((each) => each.waited).sort((one, other) => first(one) - first(other))) {
      const text = waitedShort(build);
      const from = this.x(build.began_at_s);
      const to = from + text.length * SIGN;
      if (to + shift > this.width) continue;
      if (taken.some(([begin, end]) => from < end + GAP && begin < to + GAP)) continue;
      taken.push([from, to]);
      const label = drawn("text", { class: "readers", x: from, y: y + 12 }, text);
      label.from = from;
      told.push(label);
    }
    return told;
  }

  /* A stream lasts from its start, or from before the minute, to its stop, or to now. */
  streams(since) {
    const spans = new Map(this.known.streams.map((stream) => [stream.stream_id, { from: since - 5, to: Infinity }]));
    for (const event of [...this.known.events].reverse()) {
      if (event.kind === "stream_started") spans.set(event.stream_id, { from: event.at_s, to: spans.get(event.stream_id)?.to ?? event.at_s });
      if (event.kind === "stream_stopped") spans.set(event.stream_id, { from: spans.get(event.stream_id)?.from ?? since - 5, to: event.at_s });
    }
    const active = new Set(this.known.streams.map((stream) => stream.stream_id));
    return [...spans].map(([id, { from, to }]) => {
      const end = active.has(id) ? this.now() : to;
      const bar = drawn("rect", { class: "stream", x: this.x(from), y: HEAD + LANE + 13, width: Math.max(LEAST_WIDTH, (end - from) * this.scale), height: 11, rx: 2 }, drawn("title", {}, `Stream ${id} holds its lists down`));
      bar.isRunning = active.has(id);
      return bar;
    });
  }

  move() {
    if (!this.known || !this.width || document.hidden || !this.moving.childElementCount) return;
    const now = this.now();
    const shift = this.width - this.x(now);
    this.moving.setAttribute("transform", `translate(${shift})`);
    for (const bar of this.moving.children) {
      if (bar.from + shift < this.namesWidth) bar.setAttribute("visibility", "hidden");
      if (bar.isRunning) bar.setAttribute("width", Math.max(LEAST_WIDTH, this.x(now) - bar.getAttribute("x")));
    }
  }
}

function waitedShort({ waited, sent_on: sentOn }) {
  if (!sentOn) return `${waited} waited`;
  const after = `${sentOn} ${sentOn === 1 ? "waits" : "wait"} on`;
  return waited > sentOn ? `${waited - sentOn} got it, ${after}` : after;
}

function shortened(name) {
  return name.length > LONGEST_NAME ? `${name.slice(0, LONGEST_NAME - 1)}…` : name;
}
