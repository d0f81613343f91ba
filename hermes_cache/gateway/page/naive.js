/**
 * The same list from the demo's naive cache, beside the true one: a lock, a time to live, and an event that forgets.
 *
 * The gateway says which events the answer is behind. Their rows are shown in red.
 */
const POLL_MS = 400;
const ANSWER_MS = 60_000;

export class Naive {
  /** @param {() => void} onRows */
  constructor(onRows) {
    this.onRows = onRows;
    this.rows = null;
    this.verdict = { polls: 0, outdated: 0, ageS: 0, waitedS: 0, behind: [] };
    this.timer = null;
    this.isAsking = false;
  }

  keep(isWanted) {
    if (isWanted && this.timer === null) {
      this.timer = setInterval(() => this.ask(), POLL_MS);
      this.ask();
    } else if (!isWanted && this.timer !== null) {
      clearInterval(this.timer);
      this.timer = null;
    }
  }

  isOutdated(id) {
    return this.verdict.behind.some((event) => event.session_id === id);
  }

  async ask() {
    if (this.isAsking) return;
    this.isAsking = true;
    try {
      const answer = await fetch("../api/demo/naive", { cache: "no-store", signal: AbortSignal.timeout(ANSWER_MS) });
      if (answer.ok) this.take(await answer.json());
    } catch {
      /* The state of the connection is told by the stream. */
    } finally {
      this.isAsking = false;
    }
  }

  take({ sessions, polls, outdated, age_s: ageS, waited_s: waitedS, behind }) {
    this.rows = sessions;
    this.verdict = { polls, outdated, ageS, waitedS, behind };
    this.onRows();
  }
}
