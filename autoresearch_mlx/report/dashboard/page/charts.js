// Two plots in SVG: the loss of now against the incumbent's, and every value of the session.

const SVG = "http://www.w3.org/2000/svg";
const LEFT = 52, RIGHT = 14, TOP = 10, BOTTOM = 22;

function node(name, attributes, text) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text != null) made.textContent = text;
  return made;
}

function frame(svg, [low, high], [from, to], digits) {
  const width = svg.clientWidth || 600, height = svg.clientHeight || 200;
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  const x = (v) => LEFT + (v - from) / (to - from || 1) * (width - LEFT - RIGHT);
  const y = (v) => TOP + (high - Math.min(Math.max(v, low), high)) / (high - low || 1) * (height - TOP - BOTTOM);
  const lines = [0, 1, 2, 3].map((n) => low + (high - low) * n / 3);
  const parts = lines.flatMap((v) => [
    node("line", { class: "grid", x1: LEFT, x2: width - RIGHT, y1: y(v), y2: y(v) }),
    node("text", { x: LEFT - 7, y: y(v) + 4, "text-anchor": "end" }, v.toFixed(digits)),
  ]);
  return { x, y, parts, width, height };
}

const path = (points, { x, y }) => points.map(([a, b], n) => `${n ? "L" : "M"}${x(a).toFixed(1)},${y(b).toFixed(1)}`).join("");
const digitsFor = (low, high) => Math.min(Math.max(Math.ceil(-Math.log10((high - low) / 3 || 1)) + 1, 0), 6);

// Losses fall steeply at first; the scale belongs to what comes after.
function losses(now, best) {
  const all = [...now, ...best], late = all.filter(([share]) => share >= 0.08);
  const values = (late.length > 1 ? late : all).map(([, loss]) => loss);
  const low = Math.min(...values), high = Math.max(...values), room = (high - low) * 0.06 || 0.1;
  return [low - room, high + room];
}

export function drawLive(svg, now, best) {
  const range = losses(now, best), at = frame(svg, range, [0, 1], digitsFor(...range));
  const parts = at.parts;
  for (const share of [0, 0.25, 0.5, 0.75, 1])
    parts.push(node("text", { x: at.x(share), y: at.height - 5, "text-anchor": share === 1 ? "end" : "middle" }, `${share * 100} %`));
  if (best.length) parts.push(node("path", { class: "best", d: path(best, at) }));
  if (now.length) {
    const [share, loss] = now[now.length - 1];
    parts.push(node("path", { class: "live", d: path(now, at) }), node("circle", { class: "tip", r: 4, cx: at.x(share), cy: at.y(loss) }));
  }
  svg.replaceChildren(...parts);
}

// The incumbent's loss at a share of the budget, on the straight line between its points.
export function lossAt(curve, share) {
  const after = curve.findIndex(([s]) => s >= share);
  if (after <= 0) return null;
  const [[a, from], [b, to]] = [curve[after - 1], curve[after]];
  return from + (to - from) * (share - a) / (b - a || 1);
}

// Far-off values stand at the edge, so that the kept steps stay legible.
function values(night) {
  const known = night.filter(([, v]) => v != null).map(([, v]) => v).sort((a, b) => a - b);
  if (!known.length) return null;
  const kept = night.filter(([, v, s]) => v != null && s === "keep").map(([, v]) => v);
  const inner = known.slice(Math.floor(known.length * 0.1), Math.ceil(known.length * 0.9));
  const low = Math.min(...kept, ...inner), high = Math.max(...kept, ...inner), room = (high - low) * 0.12 || Math.abs(high) * 0.01 || 1;
  return [low - room, high + room];
}

export function drawNight(svg, night) {
  const range = values(night);
  if (range == null) { svg.replaceChildren(node("text", { x: 4, y: 20 }, "nothing was measured yet")); return; }
  const last = Math.max(night[night.length - 1][0], 4), at = frame(svg, range, [0, last], digitsFor(...range));
  const parts = at.parts, kept = night.filter(([, v, s]) => v != null && s === "keep");
  for (const n of ticks(last)) parts.push(node("text", { x: at.x(n), y: at.height - 5, "text-anchor": "middle" }, n));
  for (const [n, v, status] of night) {
    if (v != null && status !== "keep") parts.push(node("circle", { class: "dot", r: night.length > 300 ? 2 : 3, cx: at.x(n), cy: at.y(v) }));
    else if (v == null) {
      const a = at.x(n), b = at.height - BOTTOM - 3;
      parts.push(node("path", { class: status === "discard" ? "cross cut-short" : "cross", d: `M${a - 2.5},${b - 5}l5,5m0,-5l-5,5` }));
    }
  }
  let d = "";
  kept.forEach(([n, v], k) => { d += k ? `H${at.x(n).toFixed(1)}V${at.y(v).toFixed(1)}` : `M${at.x(n).toFixed(1)},${at.y(v).toFixed(1)}`; });
  if (kept.length) parts.push(node("path", { class: "step", d: `${d}H${at.x(last).toFixed(1)}` }));
  for (const [n, v] of kept) parts.push(node("circle", { class: "dot keep", r: 3.6, cx: at.x(n), cy: at.y(v) }));
  svg.replaceChildren(...parts);
}

function ticks(last) {
  const step = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000].find((s) => last / s <= 8) ?? 10000;
  return Array.from({ length: Math.floor(last / step) + 1 }, (_, n) => n * step);
}
