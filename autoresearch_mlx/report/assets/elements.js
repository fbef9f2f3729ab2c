// Elements of the page.  Text from agents and logs only ever becomes text nodes: nothing here parses HTML.

import { known } from "./words.js";

const SVG = "http://www.w3.org/2000/svg";

/** Set attributes by name; the value for a name that begins with "on" is a listener.  Null, undefined and false are left out. */
function set(node, attributes) {
  for (const [name, held] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), held);
    else if (known(held) && held !== false) node.setAttribute(name, held === true ? "" : held);
  }
  return node;
}

export function el(tag, attributes = {}, ...children) {
  const node = set(document.createElement(tag), attributes);
  node.append(...children.filter(known));
  return node;
}

export function svg(tag, attributes = {}, ...children) {
  const node = set(document.createElementNS(SVG, tag), attributes);
  node.append(...children);
  return node;
}

/** The lines of a diff, added and removed ones marked. */
export function diffLines(text) {
  const kind = (line) => (/^(\+\+\+|---|@@|diff|index)/.test(line) ? "at" : line[0] === "+" ? "add" : line[0] === "-" ? "del" : null);
  return text.split("\n").map((line) => {
    const name = kind(line);
    return name ? el("span", { class: name }, line || " ") : line + "\n";
  });
}
