// Draw the loss of the running measurement and that of the incumbent, over the used share of the budget.

import { svg } from "./elements.js";
import { ticks, tickWords } from "./plot.js";

const LEFT = 52, RIGHT = 14, TOP = 10, BOTTOM = 22;

/** Both curves are lists of [share, loss]; the incumbent's may be empty. */
export function drawLive(chart, now, best) {
  const width = chart.clientWidth || 600, height = chart.clientHeight || 200, [low, high] = losses(now, best);
  chart.setAttribute("viewBox", `0 0 ${width} ${height}`);
  const x = (share) => LEFT + share * (width - LEFT - RIGHT);
  const y = (loss) => TOP + (high - Math.min(Math.max(loss, low), high)) / (high - low) * (height - TOP - BOTTOM);
  const path = (points) => points.map(([share, loss], n) => `${n ? "L" : "M"}${x(share).toFixed(1)},${y(loss).toFixed(1)}`).join("");
  const scale = ticks(low, high, 4), parts = [];
  for (const loss of scale.at) {
    parts.push(svg("line", { class: "grid", x1: LEFT, x2: width - RIGHT, y1: y(loss), y2: y(loss) }));
    parts.push(svg("text", { x: LEFT - 7, y: y(loss) + 4, "text-anchor": "end" }, tickWords(loss, scale.digits)));
  }
  for (const share of [0, 0.25, 0.5, 0.75, 1])
    parts.push(svg("text", { x: x(share), y: height - 5, "text-anchor": share === 1 ? "end" : "middle" }, `${share * 100} %`));
  if (best.length) parts.push(svg("path", { class: "best", d: path(best) }));
  if (now.length) {
    const [share, loss] = now[now.length - 1];
    parts.push(svg("path", { class: "live", d: path(now) }), svg("circle", { class: "head", r: 4, cx: x(share), cy: y(loss) }));
  }
  chart.replaceChildren(...parts);
}

// Losses fall steeply at first, so the scale is chosen for the later part.
function losses(now, best) {
  const all = [...now, ...best], late = all.filter(([share]) => share >= 0.08);
  const values = (late.length > 1 ? late : all).map(([, loss]) => loss);
  const low = Math.min(...values), high = Math.max(...values), room = (high - low) * 0.06 || 0.1;
  return [low - room, high + room];
}

/** Return the incumbent's loss at a share of the budget, between two points on a straight line; null before the first point. */
export function lossAt(curve, share) {
  const after = curve.findIndex(([s]) => s >= share);
  if (after <= 0) return null;
  const [[a, from], [b, to]] = [curve[after - 1], curve[after]];
  return from + (to - from) * (share - a) / (b - a || 1);
}
