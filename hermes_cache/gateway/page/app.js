/** Puts the page together: the connection, the list on the left, and what the cache does on the right. */
import { Actions } from "./actions.js";
import { Connection } from "./connection.js";
import { byId } from "./elements.js";
import { Inspector } from "./inspector.js";
import { Sidebar } from "./sidebar.js";
import { StatusLine } from "./status_line.js";

/* An address with the token behind `#` need not stay in the history. */
if (location.hash) history.replaceState(null, "", location.pathname + location.search);

const status = new StatusLine(() => connection.retry());
const inspector = new Inspector();
const sidebar = new Sidebar({
  ask: (question) => connection.ask(question),
  onSelect: (id) => inspector.choose(id),
  onOpen: (isByKey) => {
    showPane("cache");
    if (isByKey || narrow.matches) inspector.enterStory();
  },
});
const actions = new Actions({
  chosen: () => inspector.row,
  onDone: () => connection.look(),
  onNaive: (isNaive) => sidebar.showNaive(isNaive),
});
const connection = new Connection(document.body.dataset.view, {
  status: (message) => status.show(message.status),
  rows: (message) => {
    sidebar.receive(message);
    inspector.showRow(message);
    actions.showVerdict(message.naive);
  },
  insight: (message) => {
    inspector.show(message.known);
    actions.show(message.known);
  },
  /* The gateway has another token now: its form comes. */
  reload: () => location.reload(),
});
sidebar.restart();

/* On a phone one pane is seen at a time; what is not seen need not be looked at. */
const narrow = matchMedia("(max-width: 52rem)");

function showPane(name) {
  document.body.dataset.pane = name;
  for (const pane of ["list", "cache"]) byId(`show-${pane}`).setAttribute("aria-pressed", String(pane === name));
  connection.inspect(!narrow.matches || name === "cache");
}

for (const pane of ["list", "cache"]) byId(`show-${pane}`).addEventListener("click", () => showPane(pane));
narrow.addEventListener("change", () => showPane(document.body.dataset.pane));
showPane("list");
