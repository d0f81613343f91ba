/**
 * The followed view: fetched once, then kept up by patches from one stream, whatever happens in between.
 *
 * It comes back by itself after a restart, a 502, a 503 and a sleep. If the gateway has no seat for a stream, it
 * polls. While nobody looks it holds no stream and asks nothing.
 */
import { readEvents } from "./event_stream.js";
import { applied } from "./patches.js";

const POLL_MS = 5_000;
const FIRST_RETRY_MS = 500;
const LONGEST_RETRY_MS = 5_000;
/* The gateway sends a sign of life every 15 s, and answers a request for the list within 30 s. */
const SILENT_MS = 35_000;
/* After a sleep or a silence the browser may use a connection that is dead, too. */
const DOUBTED_MS = 4_000;
const TICK_MS = 2_000;
/* A tick that comes so late means that the machine slept. */
const SLEPT_MS = 10_000;

/**
 * @typedef {Object} Status
 * @property {"connecting" | "live" | "polling" | "offline" | "paused"} state
 * @property {string} detail Why it is not live, in words.
 * @property {number} heardAt When the gateway was heard last, in ms since 1970; 0 if never.
 * @property {number} retryAt When it is asked again, in ms since 1970; 0 if nothing waits.
 * @property {string} trouble Why the list may be outdated; empty if nothing is known against it.
 */

/** An answer that is no list. */
class Refused extends Error {
  constructor(answer, reason) {
    super(reason || `something before the gateway answers with status ${answer.status}`);
    this.status = answer.status;
    /* The reason of a gateway is JSON; a proxy that cannot reach the gateway answers otherwise. */
    this.isGateway = Boolean(reason);
  }
}

export class Followed {
  /**
   * @param {Object} given
   * @param {string} given.query The parameters of the view.
   * @param {(view: import("./patches.js").View, bytes: number) => void} given.onView
   * @param {(status: Status) => void} given.onStatus
   * @param {() => void} given.onSignedOut
   */
  constructor({ query, onView, onStatus, onSignedOut }) {
    this.query = query;
    this.onView = onView;
    this.onStatus = onStatus;
    this.onSignedOut = onSignedOut;
    this.view = null;
    /** @type {Status} */
    this.status = { state: "connecting", detail: "", heardAt: 0, retryAt: 0, trouble: "" };
    this.failures = 0;
    this.life = null;
    this.request = null;
    this.wakeUp = () => {};
    this.tickedAt = Date.now();
    /* When the gateway was asked last, in ms since 1970; Infinity while nothing is asked. */
    this.askedAt = Infinity;
    this.isDoubted = false;
    setInterval(() => this.tick(), TICK_MS);
  }

  /* Give up a connection that is dead though nobody closed it. */
  tick() {
    const now = Date.now();
    const hasSlept = now - this.tickedAt > SLEPT_MS;
    this.tickedAt = now;
    const silentMs = now - Math.max(this.status.heardAt, this.askedAt);
    if (!hasSlept && silentMs <= (this.isDoubted ? DOUBTED_MS : SILENT_MS)) return;
    this.isDoubted = true;
    this.retryNow();
  }

  /** Follow from now on. */
  start() {
    if (this.life) return;
    this.life = new AbortController();
    this.say({ state: this.view ? this.status.state : "connecting" });
    this.run(this.life.signal);
  }

  /** End the stream; what was seen is kept. */
  stop() {
    if (!this.life) return;
    this.life.abort();
    this.life = null;
    this.askedAt = Infinity;
    this.request?.abort();
    this.say({ state: "paused", detail: "", retryAt: 0 });
  }

  /** Give up what is under way and what is waited for, and ask at once. */
  retryNow() {
    this.failures = 0;
    this.request?.abort();
    this.wakeUp();
  }

  async run(life) {
    while (!life.aborted) {
      this.request = new AbortController();
      const { signal } = this.request;
      let step = "offline";
      this.askedAt = Date.now();
      try {
        await this.load(signal);
        step = "polling";
        await this.follow(signal, () => (step = "connecting"));
        this.failures += 1;
        this.say({ state: step });
      } catch (error) {
        if (life.aborted) return;
        this.failed(error, step, signal.aborted);
      }
      if (!life.aborted) await this.pause(this.waitMs());
    }
  }

  /* A list that comes without a stream is polled; a stream that broke is tried again before anything is said of it. */
  failed(error, step, isGivenUp) {
    this.failures += 1;
    if (error.status === 401) this.onSignedOut();
    if (isGivenUp) return;
    const detail = error instanceof Refused ? error.message : "the gateway does not answer";
    this.say({ state: step, detail });
  }

  waitMs() {
    if (this.status.state === "polling") return POLL_MS;
    return Math.min(LONGEST_RETRY_MS, FIRST_RETRY_MS * 2 ** Math.min(this.failures - 1, 5));
  }

  async load(signal) {
    const since = this.view ? `&since=${encodeURIComponent(this.view.edition)}` : "";
    const answer = await fetch(`../api/sessions?${this.query}${since}`, { signal, cache: "no-store" });
    const trouble = answer.headers.get("X-Hermes-Cache-Error") ?? "";
    if (answer.status === 304) return this.heard({ trouble });
    if (!answer.ok) return this.tolerate(await refusal(answer));
    const body = await answer.json();
    const isPatch = answer.headers.get("Content-Type").includes("patch");
    const edition = answer.headers.get("X-Hermes-Cache-Edition") ?? "";
    this.take(isPatch ? this.patched(body) : { edition, body }, trouble, answer.headers.get("Content-Length"));
  }

  /* A home that cannot be read is no reason not to follow it: the stream says when it can be read again. */
  tolerate(refused) {
    if (refused.status !== 503 || !refused.isGateway) throw refused;
    this.heard({ trouble: refused.message });
  }

  patched(patch) {
    try {
      return applied(this.view, patch);
    } catch (error) {
      this.view = null;
      throw error;
    }
  }

  async follow(signal, onOpen) {
    const since = this.view?.edition ? `&since=${encodeURIComponent(this.view.edition)}` : "";
    const answer = await fetch(`../api/sessions/follow?${this.query}${since}`, { signal, cache: "no-store" });
    if (!answer.ok) throw await refusal(answer);
    onOpen();
    this.failures = 0;
    this.heard({ state: "live", detail: "" });
    await readEvents(answer, (event) => this.news(event), () => this.hear());
  }

  news(event) {
    const data = JSON.parse(event.data);
    if (event.kind === "view") this.take({ edition: event.id, body: data }, "", event.data.length);
    else if (event.kind === "patch") this.take(this.patched(data), "", event.data.length);
    else if (event.kind === "interrupted") this.heard({ trouble: data.reason });
  }

  take(view, trouble, bytes) {
    const isNew = !this.view || this.view.edition !== view.edition;
    this.view = view;
    this.heard({ trouble });
    if (isNew) this.onView(view, Number(bytes) || 0);
  }

  hear() {
    this.status.heardAt = Date.now();
    this.isDoubted = false;
  }

  heard(change) {
    this.hear();
    this.say({ ...change, retryAt: 0 });
  }

  say(change) {
    const before = JSON.stringify({ ...this.status, heardAt: 0 });
    Object.assign(this.status, change);
    if (JSON.stringify({ ...this.status, heardAt: 0 }) !== before) this.onStatus(this.status);
  }

  async pause(ms) {
    this.askedAt = Infinity;
    this.say({ retryAt: Date.now() + ms });
    await new Promise((resume) => {
      const timer = setTimeout(resume, ms);
      this.wakeUp = () => {
        clearTimeout(timer);
        resume();
      };
    });
  }
}

async function refusal(answer) {
  let reason = "";
  try {
    reason = (await answer.json()).error;
  } catch {
    /* A proxy's own page. */
  }
  return new Refused(answer, reason);
}
