// Effects by axis: a dot with its 90 % interval for the best change, faint dots for all other tries.

import { el, svg } from "../../assets/elements.js";
import { ticks, tickWords } from "../../assets/plot.js";
import { gain, interval, known } from "../../assets/words.js";

export function forest(host, rows, pick) {
  const measured = rows.filter((row) => known(row.gain));
  if (!measured.length) return void host.append(el("p", { class: "soft" }, "No effects yet."));
  const chart = svg("svg", { role: "img", "aria-label": "Effects by axis; the table below has the same figures." });
  const tip = el("div", { class: "tip", hidden: true });
  host.append(chart, tip);
  const ends = measured.flatMap((row) => [row.gain, row.low, row.high].filter(known));
  const reach = Math.max(...ends.map(Math.abs)) || 1;
  const others = measured.flatMap((row) => row.tries.map(([, gained]) => gained)).sort((a, b) => a - b);
  const low = Math.min(0, ...ends, Math.max(others[Math.floor(others.length / 10)], -1.2 * reach));
  const high = Math.max(0, ...ends);
  const room = 0.05 * (high - low) || 1;

  function draw() {
    const width = host.clientWidth - 16;
    if (width < 60) return;
    const narrow = width < 520;
    const left = narrow ? 118 : 190;
    const [right, line, top] = [width - 14, 26, 8];
    const bottom = top + line * measured.length;
    const x = (at) => left + ((Math.min(Math.max(at, low - room), high + room) - low + room) / (high - low + 2 * room)) * (right - left);
    chart.setAttribute("viewBox", `0 0 ${width} ${bottom + 36}`);
    chart.setAttribute("height", bottom + 36);
    const group = svg("g", { class: "axis" });
    const scale = ticks(low - room, high + room, Math.max(2, (right - left) / 100));
    for (const at of scale.at) {
      group.append(svg("line", { class: "grid", x1: x(at), x2: x(at), y1: top, y2: bottom }));
      group.append(svg("text", { x: x(at), y: bottom + 15, "text-anchor": "middle" }, tickWords(at, scale.digits)));
    }
    group.append(svg("line", { class: "zero", x1: x(0), x2: x(0), y1: top, y2: bottom }));
    group.append(svg("text", { x: (left + right) / 2, y: bottom + 32, "text-anchor": "middle" },
      narrow ? "gain, shrunk; right is better" : "gain over the incumbent at that time, shrunk; right is better"));
    measured.forEach((row, at) => group.append(...one(row, top + line * (at + 0.5), x, left, narrow)));
    chart.replaceChildren(group);
  }

  function one(row, y, x, left, narrow) {
    const most = narrow ? 15 : 24;
    const name = row.axis.length > most ? `${row.axis.slice(0, most - 1)}…` : row.axis;
    const kept = row.tries.some(([number, , status]) => number === row.best && status === "keep") ? "keep" : "";
    const nodes = [svg("text", { class: "name", x: left - 8, y: y + 4, "text-anchor": "end" }, name)];
    for (const [number, gained, status] of row.tries) {
      if (number !== row.best) nodes.push(mark(svg("circle", { class: `dot ${status === "keep" ? "keep" : ""}`, cx: x(gained), cy: y, r: 2.6 }), number, gained, row));
    }
    if (known(row.low)) nodes.push(svg("line", { class: `whisker ${kept}`, x1: x(row.low), x2: x(row.high), y1: y, y2: y }));
    nodes.push(mark(svg("circle", { class: `dot ${kept || "speed"}`, cx: x(row.gain), cy: y, r: 5.5 }), row.best, row.gain, row));
    return nodes;
  }

  function mark(dot, number, gained, row) {
    dot.addEventListener("pointerenter", () => {
      const best = number === row.best ? interval(row.low, row.high) : "";
      tip.replaceChildren(el("p", {}, `#${number} ${row.axis}`), el("p", {}, `${gain(gained)} ${best}`));
      tip.hidden = false;
      const at = dot.getBoundingClientRect();
      const frame = host.getBoundingClientRect();
      tip.style.left = `${Math.max(4, Math.min(at.left - frame.left + 12, host.clientWidth - tip.offsetWidth - 4))}px`;
      tip.style.top = `${at.top - frame.top + 14}px`;
    });
    dot.addEventListener("pointerleave", () => { tip.hidden = true; });
    dot.addEventListener("click", () => pick(number));
    return dot;
  }

  new ResizeObserver(draw).observe(host);
  draw();
}
