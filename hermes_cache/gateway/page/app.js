"use strict";

const POLL_MS = 5000;
const REPAINT_MS = 60000;
const SHOWN = 300;

const list = document.getElementById("sessions");
const more = document.getElementById("more");
const outcome = document.getElementById("outcome");
const profile = document.getElementById("profile");
const all = document.getElementById("all");

let sessions = [];
let tag = null;
let stream = null;
let asking = false;
let askAgain = false;
let view = 0;

function query() {
  const parameters = new URLSearchParams();
  if (profile.value.trim()) parameters.set("profile", profile.value.trim());
  if (all.checked) parameters.set("all_profiles", "1");
  return parameters.toString();
}

/* One request at a time: if something happens meanwhile, ask once more at the end. */
async function refresh() {
  if (asking) {
    askAgain = true;
    return;
  }
  asking = true;
  try {
    await ask(view);
  } catch (error) {
    say("The gateway does not answer: " + error.message, true);
  }
  asking = false;
  if (askAgain) {
    askAgain = false;
    refresh();
  }
}

async function ask(asked) {
  const headers = tag ? { "If-None-Match": tag } : {};
  const answer = await fetch("api/sessions?" + query(), { headers, cache: "no-store" });
  if (asked !== view) {
    askAgain = true;
    return;
  }
  if (answer.status === 401) return location.reload(); /* the gateway has another token now: its form comes */
  if (answer.status === 304) return sayOutcome(answer, "unchanged");
  const body = await answer.json();
  if (!answer.ok) return refused(body.error);
  tag = answer.headers.get("ETag");
  sessions = body.sessions;
  draw();
  sayOutcome(answer, sessions.length + " sessions");
}

/* Do not show the rows of another view under the name of this one. */
function refused(reason) {
  if (!tag) sessions = [];
  draw();
  say(reason, true);
}

function sayOutcome(answer, what) {
  const reason = answer.headers.get("X-Hermes-Cache-Reason");
  const error = answer.headers.get("X-Hermes-Cache-Error");
  const how = answer.headers.get("X-Hermes-Cache") + (reason ? " (" + reason + ")" : "");
  const age = answer.headers.get("Age");
  say(what + " · " + how + " · " + age + " s old" + (error ? " · " + error : ""), Boolean(error));
}

function say(text, bad) {
  outcome.textContent = text;
  outcome.classList.toggle("bad", bad);
}

function draw() {
  list.replaceChildren(...sessions.slice(0, SHOWN).map(item));
  const hidden = sessions.length - SHOWN;
  more.hidden = hidden <= 0;
  more.textContent = "and " + hidden + " more";
}

function item(session) {
  const row = document.createElement("li");
  row.classList.toggle("streaming", session.is_streaming === true);
  row.append(
    part("span", "dot", ""),
    part("span", "title", session.display_title || session.title || "Untitled"),
    part("span", "source", session.source_label || session.raw_source || ""),
    part("span", "count", (session.message_count || 0) + " messages"),
    moment(session.last_message_at || session.updated_at || session.created_at),
  );
  return row;
}

function part(name, kind, text) {
  const element = document.createElement(name);
  element.className = kind;
  element.textContent = text;
  return element;
}

function moment(at) {
  const element = part("time", "", "");
  if (!Number.isFinite(at) || Math.abs(at) > 8e12) return element;
  const date = new Date(at * 1000);
  element.dateTime = date.toISOString();
  element.title = date.toLocaleString();
  element.textContent = ago(Date.now() / 1000 - at);
  return element;
}

function ago(seconds) {
  if (seconds < 60) return "now";
  if (seconds < 3600) return Math.floor(seconds / 60) + " min ago";
  if (seconds < 86400) return Math.floor(seconds / 3600) + " h ago";
  return Math.floor(seconds / 86400) + " d ago";
}

/* A hidden page holds no stream and asks nothing; shown again, it asks at once. */
function follow() {
  if (stream) stream.close();
  stream = null;
  if (document.hidden) return;
  const whose = all.checked ? "" : "?profile=" + encodeURIComponent(profile.value.trim() || "default");
  stream = new EventSource("api/sessions/events" + whose);
  stream.addEventListener("hello", refresh);
  stream.addEventListener("sessions_changed", refresh);
  refresh();
}

function changeView() {
  view += 1;
  tag = null;
  follow();
}

/* An address with the token behind `#` need not stay in the history. */
if (location.hash) history.replaceState(null, "", location.pathname + location.search);
profile.addEventListener("change", changeView);
all.addEventListener("change", changeView);
document.addEventListener("visibilitychange", follow);
/* The browser gives up a stream that was refused, because too many are open: ask for it again with the next poll. */
function poll() {
  if (document.hidden) return;
  if (stream && stream.readyState === EventSource.CLOSED) follow();
  else refresh();
}

setInterval(poll, POLL_MS);
setInterval(() => document.hidden || draw(), REPAINT_MS);
follow();
