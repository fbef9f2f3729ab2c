// Draw a strip for each machine of a fleet, with a bar for each change that it measured: up for a gain, down for a loss.

import { el, svg } from "./elements.js";
import { known } from "./words.js";

const MOST = 4; // sigma; a larger effect fills its half of the strip
const HALF = 20; // pixels from the middle of a strip to its edge

/** Draw into host.  fleet is the document of `compare --machines --json`; pick is called with an experiment's number. */
export function strips(host, fleet, pick) {
  const cells = fleet.strips.flatMap((strip) => strip.cells);
  const last = Math.max(1, ...cells.map((cell) => cell.number));
  const key = el("div", { class: "tools" }, el("span", { class: "key" },
    el("span", {}, el("i", { class: "keep" }), "kept"), el("span", {}, el("i", {}), "not kept"), el("span", {}, el("i", { class: "fail" }), "no value"),
    el("span", {}, `a full bar is ${MOST} sigma or more`)));
  const chart = svg("svg", { role: "img", "aria-label": "Effect of each change on each machine, in sigma; the table has the figures." });
  const tip = el("div", { class: "tip", hidden: true });
  host.replaceChildren(key, chart, tip);

  function draw() {
    const width = host.clientWidth - 16;
    if (width < 60) return;
    const narrow = width < 520;
    const left = narrow ? 8 : Math.min(220, 40 + 7 * Math.max(...fleet.strips.map((strip) => Math.max(strip.machine.length, strip.chip.length))));
    const head = narrow ? 18 : 0, row = 2 * HALF + 14 + head;
    const step = (width - left - 8) / last, bar = Math.max(1.5, Math.min(22, step - 2));
    const bottom = row * fleet.strips.length;
    chart.setAttribute("viewBox", `0 0 ${width} ${bottom + 20}`);
    chart.setAttribute("height", bottom + 20);
    const group = svg("g", { class: "axis" });
    fleet.strips.forEach((strip, at) => group.append(...one(strip, row * at + head + HALF + 6, { width, left, step, bar, narrow, top: row * at })));
    const every = Math.max(1, Math.ceil(last / Math.max(2, Math.floor((width - left) / 60))));
    for (let n = every === 1 ? 1 : every; n <= last; n += every) group.append(svg("text", { x: left + (n - 0.5) * step, y: bottom + 14, "text-anchor": "middle" }, `${n}`));
    chart.replaceChildren(group);
  }

  function one(strip, middle, at) {
    const nodes = at.narrow
      ? [svg("text", { class: "name", x: at.left, y: at.top + 14 }, `${strip.machine}, ${strip.chip}`)]
      : [svg("text", { class: "name", x: at.left - 10, y: middle - 3, "text-anchor": "end" }, strip.machine), svg("text", { x: at.left - 10, y: middle + 13, "text-anchor": "end" }, strip.chip)];
    nodes.push(svg("line", { class: "zero", x1: at.left, x2: at.width - 8, y1: middle, y2: middle }));
    for (const cell of strip.cells) {
      const x = at.left + (cell.number - 0.5) * at.step - at.bar / 2;
      const size = known(cell.sigmas) ? Math.max(3, (Math.min(MOST, Math.abs(cell.sigmas)) / MOST) * HALF) : 5;
      const up = !known(cell.sigmas) || cell.sigmas >= 0;
      const kind = !known(cell.sigmas) ? "fail" : cell.status === "keep" ? "keep" : "";
      const y = !known(cell.sigmas) ? middle - size / 2 : up ? middle - size : middle;
      nodes.push(mark(svg("rect", { class: `dot ${kind}`, x, y, width: kind === "fail" ? 2 : at.bar, height: size }), cell, strip));
    }
    return nodes;
  }

  function mark(node, cell, strip) {
    node.addEventListener("pointerenter", () => {
      const size = known(cell.sigmas) ? `${cell.sigmas >= 0 ? "+" : ""}${cell.sigmas.toFixed(1)} sigma on ${strip.machine}` : `no value on ${strip.machine}`;
      tip.replaceChildren(el("p", {}, `#${cell.number} ${cell.status}`), el("p", {}, cell.title), el("p", {}, size));
      tip.hidden = false;
      const box = node.getBoundingClientRect(), frame = host.getBoundingClientRect();
      tip.style.left = `${Math.max(4, Math.min(box.left - frame.left + 12, host.clientWidth - tip.offsetWidth - 4))}px`;
      tip.style.top = `${box.bottom - frame.top + 10}px`;
    });
    node.addEventListener("pointerleave", () => { tip.hidden = true; });
    node.addEventListener("click", () => pick(cell.number));
    return node;
  }

  new ResizeObserver(draw).observe(host);
  draw();
}
