/** The view in the address of the page: what is filtered, searched, chosen and shown. */

const NAMES = ["profile", "source", "project", "shelf", "q", "session"];

/** Return what the address asks for; an absent field is an empty text. */
export function readAddress() {
  const given = new URLSearchParams(location.search);
  return Object.fromEntries(NAMES.map((name) => [name, given.get(name) ?? ""]));
}

/**
 * Put a view into the address. Other parameters stay.
 *
 * @param {Object<string, string>} view
 * @param {boolean} isStep Whether the browser's 'back' leads to the view before.
 */
export function writeAddress(view, isStep) {
  const given = new URLSearchParams(location.search);
  for (const name of NAMES) {
    if (view[name]) given.set(name, view[name]);
    else given.delete(name);
  }
  const query = given.toString();
  const address = location.pathname + (query ? `?${query}` : "");
  if (address === location.pathname + location.search) return;
  if (isStep) history.pushState(null, "", address);
  else history.replaceState(null, "", address);
}
