// Make elements of the page.  Text from agents and logs becomes text nodes only: nothing here parses HTML.

import { known } from "./words.js";

const SVG = "http://www.w3.org/2000/svg";

/** Set attributes by name.  A name that begins with "on" has a listener as its value.  Null, undefined and false are left out. */
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

/** Return the lines of a diff, with added and removed lines marked. */
export function diffLines(text) {
  const kind = (line) => (/^(\+\+\+|---|@@|diff|index)/.test(line) ? "at" : line[0] === "+" ? "add" : line[0] === "-" ? "del" : null);
  return text.split("\n").map((line) => {
    const name = kind(line);
    return name ? el("span", { class: name }, line || " ") : line + "\n";
  });
}
