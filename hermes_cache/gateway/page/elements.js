/** Makes elements. Text is only ever set as text, so nothing in a title becomes markup. */

/** Return a new element with a class and with children, which are elements or texts. */
export function element(name, kind, ...children) {
  const made = document.createElement(name);
  if (kind) made.className = kind;
  made.append(...children);
  return made;
}

/** Return a text whose direction does not reach beyond it. */
export function isolated(text, kind) {
  return element("bdi", kind, text);
}

/** Set the text of an element if it is another one: an equal text costs the browser a layout, too. */
export function setText(target, text) {
  if (target.textContent !== text) target.textContent = text;
}

const SVG = "http://www.w3.org/2000/svg";

/** Return a new element of a drawing. */
export function drawn(name, attributes, ...children) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

export function byId(id) {
  return document.getElementById(id);
}
