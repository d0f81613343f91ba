// Follows a view of a gateway until it changes: node follow_over_http.mjs http://127.0.0.1:8787/
const base = process.argv[2];
// A page has: import { applied } from "/page/patches.js";
const source = await (await fetch(base + "page/patches.js")).text();
const { applied } = await import("data:text/javascript," + encodeURIComponent(source));

let view;
function take(kind, edition, data) {
  if (kind === "view") {
    view = { edition, body: JSON.parse(data) };
    console.log("the whole view:", view.body.sessions.length, "rows");
  } else if (kind === "patch") {
    const patch = JSON.parse(data);
    view = applied(view, patch);
    console.log("a patch:", patch.rows.map((row) => row.title));
    console.log("and now the view has", view.body.sessions.length, "rows");
    process.exit();
  }
}

// A page has an EventSource, which also connects again by itself and names the edition that it has.
const answer = await fetch(base + "api/sessions/follow?show_cli=1");
let text = "";
for await (const part of answer.body.pipeThrough(new TextDecoderStream())) {
  const events = (text + part).split("\n\n");
  text = events.pop();
  for (const event of events) {
    const { event: kind, id, data } = Object.fromEntries(event.split("\n").map((line) => line.split(/: (.*)/s)));
    take(kind, id, data);
  }
}
