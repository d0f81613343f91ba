/** The left side: filters, search, and the list of sessions. */
import { readAddress, writeAddress } from "./address.js";
import { byId, element, setText } from "./elements.js";
import { age, drawItem } from "./row.js";
import { VirtualList } from "./virtual_list.js";
import { counted, several } from "./words.js";

const CHOICES = { profile: "All profiles", source: "All sources", project: "All projects" };
const AGE_MS = 20_000;

export class Sidebar {
  /**
   * @param {Object} given
   * @param {(question: Object) => number} given.ask Asks the worker; returns the question's number.
   * @param {(id: string | null) => void} given.onSelect
   * @param {(isByKey: boolean) => void} given.onOpen
   */
  constructor({ ask, onSelect, onOpen }) {
    this.askWorker = ask;
    this.view = readAddress();
    this.naive = false;
    this.validFrom = 0;
    this.list = new VirtualList(byId("sessions"), {
      ask: (question) => this.ask(question),
      draw: drawItem,
      onSelect: (id) => {
        this.view.session = id ?? "";
        writeAddress(this.view, false);
        onSelect(id);
      },
      onOpen,
    });
    this.list.selected = this.view.session || null;
    this.search = byId("search");
    this.search.addEventListener("input", () => this.change({ q: this.search.value.trim() }, false));
    this.search.addEventListener("keydown", (event) => this.leaveSearch(event));
    for (const name of Object.keys(CHOICES)) {
      byId(name).addEventListener("change", ({ target }) => this.change({ [name]: target.value }));
    }
    for (const button of document.querySelectorAll("[data-shelf]")) {
      button.addEventListener("click", () => this.change({ shelf: button.dataset.shelf }));
    }
    addEventListener("popstate", () => this.goTo(readAddress()));
    addEventListener("keydown", (event) => this.pressed(event));
    setInterval(() => document.hidden || age(this.list.canvas), AGE_MS);
    this.showChoice();
  }

  filter() {
    const { profile, source, project, shelf, q } = this.view;
    return { profile, source, project, shelf, search: q, naive: this.naive };
  }

  ask(question) {
    const number = this.askWorker({ ...question, filter: this.filter() });
    this.validFrom ||= number;
    return number;
  }

  change(fields, isStep = true) {
    this.goTo({ ...this.view, ...fields });
    writeAddress(this.view, isStep);
  }

  goTo(view) {
    this.view = view;
    this.list.selected = view.session || null;
    this.showChoice();
    this.restart();
  }

  restart() {
    this.validFrom = 0;
    this.list.restart();
  }

  showNaive(isNaive) {
    this.naive = isNaive;
    this.restart();
  }

  showChoice() {
    if (this.search.value.trim() !== this.view.q) this.search.value = this.view.q;
    for (const button of document.querySelectorAll("[data-shelf]")) {
      button.setAttribute("aria-pressed", String(button.dataset.shelf === this.view.shelf));
    }
    for (const name of Object.keys(CHOICES)) this.fill(byId(name), name, this.facets?.[name] ?? []);
  }

  /* What is chosen stays among the choices, also if no row has it any more. */
  fill(select, name, found) {
    const chosen = this.view[name];
    const values = found.some(([value]) => value === chosen) || !chosen ? found : [[chosen, 0], ...found];
    const made = JSON.stringify(values);
    if (select.made !== made && document.activeElement !== select) {
      const options = values.map(([value, count]) => new Option(`${shortened(name, value)}  ${counted(count)}`, value));
      select.replaceChildren(new Option(CHOICES[name], ""), ...options);
      select.made = made;
    }
    if (select.made) select.value = chosen;
    select.classList.toggle("chosen", Boolean(chosen));
  }

  /** Take a reply of the worker; an answer to an earlier question is dropped. */
  receive(reply) {
    if (!this.validFrom || reply.number < this.validFrom) return;
    this.facets = reply.facets ?? this.facets;
    this.list.receive(reply);
    this.showChoice();
    this.tell(reply);
  }

  tell(reply) {
    const { running = 0, archived = 0, all = 0 } = this.facets ?? {};
    const parts = [several(reply.count, "session"), running && !this.naive && `${running} running`, this.view.q && `found in ${Math.max(1, Math.round(reply.tookMs))} ms`];
    setText(byId("count"), reply.isKnown ? parts.filter(Boolean).join(" · ") : "");
    setText(document.querySelector("[data-shelf=archived]"), archived ? `Archived ${counted(archived)}` : "Archived");
    /* A screen reader hears what a search found, and not each change of the list. */
    if (reply.filter.search !== this.heardSearch) setText(byId("found"), reply.filter.search ? `${several(reply.count, "session")} found` : "");
    this.heardSearch = reply.filter.search;
    const empty = byId("empty");
    empty.hidden = reply.count > 0;
    if (!reply.isKnown) setText(empty, "Loading the list…");
    else if (!all && !this.naive) setText(empty, "This home has no sessions yet.");
    else if (this.view.q) empty.replaceChildren("No session has ", element("bdi", "", `“${this.view.q}”`), ".");
    else setText(empty, "No session here.");
    document.title = running ? `(${running}) Sessions` : "Sessions";
  }

  pressed(event) {
    const isTyping = event.target.matches("input, select, textarea");
    const finds = (event.key === "k" && (event.metaKey || event.ctrlKey)) || (event.key === "/" && !isTyping);
    if (!finds) return;
    event.preventDefault();
    document.body.dataset.pane = "list";
    this.search.focus();
    this.search.select();
  }

  leaveSearch(event) {
    if (event.key === "Escape" && this.search.value) {
      this.search.value = "";
      this.change({ q: "" }, false);
    } else if (event.key === "ArrowDown" || event.key === "Enter") {
      byId("sessions").focus();
      if (this.list.selectedAt < 0) this.list.select(this.list.rowNear(0, 1));
    } else {
      return;
    }
    event.preventDefault();
  }
}

/* Projects have no names here. */
function shortened(name, value) {
  return name === "project" ? `Project ${value.slice(0, 8)}` : value;
}
