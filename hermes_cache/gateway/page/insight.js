/**
 * What the cache does, for the tabs that show it: looked at after each change, and seldom otherwise.
 *
 * The gateway remembers the last builds of each key and the last events. This keeps those of the last minutes, so
 * that the time line has them all.
 */
/* A connection may be dead though nobody closed it. */
const ANSWER_MS = 10_000;
const SOON_MS = 200;
const BUSY_MS = 1_000;
const CALM_MS = 5_000;
const KEPT_S = 180;
const MOST_KEPT = 400;

export class Insight {
  /** @param {(known: Object) => void} onKnown */
  constructor(onKnown) {
    this.onKnown = onKnown;
    this.known = null;
    this.builds = new Map();
    this.events = new Map();
    this.timer = null;
    this.dueAt = Infinity;
    this.isWanted = false;
    this.isLooking = false;
  }

  keep(isWanted) {
    if (isWanted === this.isWanted) return;
    this.isWanted = isWanted;
    if (isWanted) return this.lookSoon(0);
    clearTimeout(this.timer);
    this.dueAt = Infinity;
  }

  /** Look within so many ms. */
  lookSoon(inMs = SOON_MS) {
    const at = Date.now() + inMs;
    if (!this.isWanted || at >= this.dueAt) return;
    clearTimeout(this.timer);
    this.dueAt = at;
    this.timer = setTimeout(() => this.look(), inMs);
  }

  async look() {
    this.dueAt = Infinity;
    if (this.isLooking) return this.lookSoon();
    this.isLooking = true;
    try {
      const answer = await fetch("../api/cache", { cache: "no-store", signal: AbortSignal.timeout(ANSWER_MS) });
      if (answer.ok) this.take(await answer.json());
    } catch {
      /* The state of the connection is told by the stream. */
    } finally {
      this.isLooking = false;
    }
    const { building = 0, queued = 0, streams = 0 } = this.known?.stats ?? {};
    this.lookSoon(building || queued || streams ? BUSY_MS : CALM_MS);
  }

  take(overview) {
    if (this.known && overview.incarnation !== this.known.incarnation) {
      this.builds.clear();
      this.events.clear();
    }
    for (const build of overview.builds) this.builds.set(build.id, build);
    for (const event of overview.events) this.events.set(event.id, event);
    const since = overview.at_s - KEPT_S;
    drop(this.builds, (build) => build.began_at_s !== null && build.began_at_s + build.took_s < since);
    drop(this.events, (event) => event.at_s < since);
    const newest = (one, other) => (other.began_at_s ?? other.at_s ?? Infinity) - (one.began_at_s ?? one.at_s ?? Infinity);
    this.known = {
      ...overview,
      clockOffset: Date.now() / 1000 - overview.at_s,
      builds: [...this.builds.values()].sort(newest),
      events: [...this.events.values()].sort(newest),
    };
    this.onKnown(this.known);
  }
}

function drop(map, isOld) {
  for (const [id, each] of map) if (isOld(each) || map.size > MOST_KEPT) map.delete(id);
}
