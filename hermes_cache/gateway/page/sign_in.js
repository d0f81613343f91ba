"use strict";

const form = document.getElementById("sign-in");
const field = document.getElementById("token");
const problem = document.getElementById("problem");
/* A path that begins with `//` would be the address of another host, so `here` is a whole address. */
const whole = location.href.split("#")[0];
const here = location.pathname.endsWith("/sign-in") ? "./" : whole;

/* The token goes into the body of a request, never into an address that a server or a proxy writes down. */
async function trade(token) {
  problem.textContent = "";
  const body = new URLSearchParams({ token });
  try {
    const answer = await fetch(form.action, { method: "POST", body, headers: { Accept: "application/json" } });
    if (answer.ok) return location.replace(here);
    problem.textContent = (await answer.json()).error;
  } catch (error) {
    problem.textContent = "The gateway does not answer: " + error.message;
  }
  field.value = "";
  field.focus();
}

/* After a link from another site the browser sends no cookie for this page, but it may have one. */
async function tryCookie() {
  const answer = await fetch(form.action, { headers: { Accept: "application/json" } });
  if (answer.ok && (await answer.json()).signed_in) location.replace(here);
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  trade(field.value.trim());
});

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/* Returns whether the address has a token behind `#`; the token leaves the address and the history at once. */
function readAddress() {
  const given = decoded(location.hash.slice(1));
  if (!given) return false;
  history.replaceState(null, "", whole);
  trade(given);
  return true;
}

addEventListener("hashchange", readAddress);
if (!readAddress() && !document.referrer.startsWith(location.origin + "/")) tryCookie().catch(() => {});
