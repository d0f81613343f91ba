/** A tab's side of the shared worker: what the tab asks for, and what it is told. */
import { reloadWhenBack } from "./start.js";

const SIGN_OF_LIFE_MS = 4_000;

export class Connection {
  /**
   * @param {string} query The parameters of the view that all tabs share.
   * @param {Object<string, (message: Object) => void>} handlers By the kind of message.
   */
  constructor(query, handlers) {
    this.number = 0;
    this.hasFailed = false;
    this.inspects = true;
    const address = new URL(`worker.js?view=${encodeURIComponent(query)}`, import.meta.url);
    const options = { type: "module", name: "hermes_cache" };
    const worker = globalThis.SharedWorker ? new SharedWorker(address, options) : new Worker(address, options);
    worker.addEventListener("error", () => this.fail(handlers));
    this.port = worker.port ?? worker;
    this.port.start?.();
    this.port.addEventListener("message", ({ data }) => handlers[data.kind](data));
    addEventListener("pagehide", ({ persisted }) => (persisted ? this.sayHere(false) : this.port.postMessage({ kind: "bye" })));
    addEventListener("pageshow", () => this.sayHere());
    document.addEventListener("visibilitychange", () => this.sayHere());
    setInterval(() => document.hidden || this.sayHere(), SIGN_OF_LIFE_MS);
    this.sayHere();
  }

  /** Say whether this tab shows what the cache does. */
  inspect(isShown) {
    this.inspects = isShown;
    this.sayHere();
  }

  /* A page that the browser keeps for the button 'back' is not seen, though it is not hidden. */
  sayHere(visible = !document.hidden) {
    this.port.postMessage({ kind: "here", visible, inspects: this.inspects });
  }

  /** Ask for rows; returns the number of the question, which the reply repeats. */
  ask(question) {
    this.number += 1;
    this.port.postMessage({ kind: "ask", number: this.number, ...question });
    return this.number;
  }

  retry() {
    if (this.hasFailed) location.reload();
    else this.port.postMessage({ kind: "retry" });
  }

  /* The gateway went while the browser fetched the worker's files. */
  fail(handlers) {
    this.hasFailed = true;
    const detail = "a part of the page could not be loaded";
    handlers.status({ status: { state: "offline", detail, heardAt: 0, retryAt: 0, trouble: "" } });
    reloadWhenBack();
  }

  /** Look into the cache at once: something was done to it. */
  look() {
    this.port.postMessage({ kind: "look" });
  }
}
