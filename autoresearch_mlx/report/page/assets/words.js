// Elements and numbers.  Text from agents and logs only ever becomes text nodes: nothing here parses HTML.

const SVG = "http://www.w3.org/2000/svg";

function set(node, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  return node;
}

function el(tag, attributes = {}, ...children) {
  const node = set(document.createElement(tag), attributes);
  node.append(...children.filter((child) => child !== null));
  return node;
}

function svg(tag, attributes = {}, ...children) {
  const node = set(document.createElementNS(SVG, tag), attributes);
  node.append(...children);
  return node;
}

const known = (number) => number !== null && number !== undefined;

/** A metric as the command line shows it: six decimals, six significant digits from 1000 on. */
function value(number) {
  if (!known(number)) return "-";
  return Math.abs(number) < 1000 ? number.toFixed(6) : String(Number(number.toPrecision(6)));
}

function gain(number) {
  return known(number) ? (number < 0 ? "" : "+") + value(number) : "-";
}

function interval(low, high) {
  return known(low) && known(high) ? `90 %: ${gain(low)} to ${gain(high)}` : "";
}

function count(number) {
  return known(number) ? Math.round(number).toLocaleString("en-US") : "-";
}

/** Between "-" and ">" a browser would break the line. */
function arrows(text) {
  return (text || "").replaceAll(" -> ", " → ");
}

/** Whole lines of a diff, each with its class. */
function diffLines(text) {
  const kind = (line) => (/^(\+\+\+|---|@@|diff|index)/.test(line) ? "at" : line[0] === "+" ? "add" : line[0] === "-" ? "del" : null);
  return text.split("\n").map((line) => {
    const name = kind(line);
    return name ? el("span", { class: name }, line || " ") : line + "\n";
  });
}

/** Ticks at 1, 2 or 5 times a power of ten. */
function ticks(low, high, most) {
  const rough = (high - low) / Math.max(most, 1);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * ([1, 2, 5].find((times) => times * power >= rough) || 10);
  const found = [];
  for (let at = Math.ceil(low / step) || 0; at * step <= high + step * 1e-9 && found.length < 50; at++) found.push(at * step);
  return { at: found, digits: Math.max(0, -Math.floor(Math.log10(step) + 1e-9)) };
}

let canvas = null;
function textWidth(text, font) {
  canvas = canvas || document.createElement("canvas").getContext("2d");
  canvas.font = font;
  return canvas.measureText(text).width;
}
