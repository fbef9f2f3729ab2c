// Draw points over experiments, hours or tokens, with tooltips, keys, and zoom by dragging.

import { el, svg } from "./elements.js";
import { known, significant } from "./words.js";

const MARGIN = { left: 68, right: 14, top: 12, bottom: 38 };

/**
 * Draw into host over its full width.  The fields of spec:
 *   name     what the plot shows, for a screen reader
 *   height   in pixels
 *   xs       [{ key, name }]: the quantities over which the points can be plotted
 *   points   [{ x: { key: number }, y, kind, tip: [text], number, label, rank }]: kind is the dot's class; a point
 *            without y is a tick at the lower edge; labels with a low rank are placed first
 *   near     [low, high], the range of y to show, or null for all values
 *   yName, steps (a line from one kept point to the next), bands [[low, high]], lines [y], regimes [{ x, name }],
 *   key      [[class, text]]
 *   pick     function that is called with the number of a chosen experiment
 * Returns { update }, a function that takes new points and near and keeps the zoom, or null if there is nothing to draw.
 */
export function plot(host, spec) {
  const axes = spec.xs.filter(({ key }) => spec.points.some((p) => known(p.x[key])));
  if (!axes.length) {
    host.append(el("p", { class: "soft" }, "Nothing to show yet."));
    return null;
  }
  const state = { key: axes[0].key, near: Boolean(spec.near), zoom: null, at: -1 };
  const chart = svg("svg", { tabindex: 0, role: "img", "aria-label": `${spec.name}. Arrow keys walk from point to point.` });
  const tip = el("div", { class: "tip", role: "status", hidden: true });
  const reset = el("button", { type: "button", hidden: true, onclick: () => zoom(null) }, "whole plot");
  host.append(tools(), chart, tip);
  let view = null;

  function tools() {
    const bar = el("div", { class: "tools" });
    if (axes.length > 1) {
      const options = axes.map(({ key, name }) => el("option", { value: key }, name));
      const choose = (event) => { state.key = event.target.value; zoom(null); };
      bar.append(el("label", {}, "over ", el("select", { onchange: choose }, ...options)));
    }
    if (spec.near) {
      const toggle = el("button", { type: "button", "aria-pressed": "false" }, "all values");
      toggle.addEventListener("click", () => {
        state.near = !state.near;
        toggle.setAttribute("aria-pressed", String(!state.near));
        zoom(null);
      });
      bar.append(toggle);
    }
    bar.append(reset);
    if (spec.key) bar.append(el("span", { class: "key" }, ...spec.key.map(([kind, text]) => el("span", {}, el("i", { class: kind }), text))));
    return bar;
  }

  function zoom(box) {
    state.zoom = box;
    reset.hidden = !box;
    hide();
    draw();
  }

  function extent() {
    if (state.zoom) return state.zoom;
    const shown = spec.points.filter((p) => known(p.x[state.key]));
    const xs = shown.map((p) => p.x[state.key]);
    const ys = shown.filter((p) => known(p.y)).map((p) => p.y).concat(spec.bands ? spec.bands.flat() : []);
    let [left, right] = [Math.min(...xs), Math.max(...xs)];
    if (!ys.length) ys.push(0); // every run failed, so there are only ticks at the edge
    let [low, high] = state.near ? spec.near : [Math.min(...ys), Math.max(...ys)];
    if (!(high > low)) [low, high] = [(low || 0) - (Math.abs(low) * 0.01 || 1), (low || 0) + (Math.abs(low) * 0.01 || 1)];
    else if (!state.near) [low, high] = [low - 0.06 * (high - low), high + 0.06 * (high - low)];
    const room = 0.02 * (right - left) || 0.5;
    return { left: left - room, right: right + room, low, high };
  }

  function draw() {
    const width = host.clientWidth - 16;
    if (width < 60) return;
    const left = width < 480 ? 58 : MARGIN.left;
    const box = { left, right: width - MARGIN.right, top: MARGIN.top + (spec.yName ? 14 : 0), bottom: spec.height - MARGIN.bottom };
    const range = extent();
    view = {
      box, range,
      x: (at) => box.left + ((at - range.left) / (range.right - range.left)) * (box.right - box.left),
      y: (at) => box.bottom - ((at - range.low) / (range.high - range.low)) * (box.bottom - box.top),
    };
    chart.setAttribute("viewBox", `0 0 ${width} ${spec.height}`);
    chart.setAttribute("height", spec.height);
    const points = placed();
    const layers = [grid(), bands(), spec.steps ? steps(points) : null, dots(points), labels(points), svg("g", { class: "mark" })];
    chart.replaceChildren(...layers.filter(Boolean));
    view.points = points;
  }

  /** Points inside the view; points above or below the view are drawn at its edge. */
  function placed() {
    const { box, range } = view;
    const inside = spec.points.filter((p) => known(p.x[state.key]) && p.x[state.key] >= range.left && p.x[state.key] <= range.right);
    return inside.map((p) => {
      const y = known(p.y) ? view.y(p.y) : box.bottom - 5;
      const edge = known(p.y) && (y < box.top ? "up" : y > box.bottom ? "down" : null);
      return { p, px: view.x(p.x[state.key]), py: Math.min(Math.max(y, box.top), box.bottom), edge };
    }).sort((a, b) => a.px - b.px);
  }

  function grid() {
    const { box, range } = view;
    const group = svg("g", { class: "axis" });
    const across = ticks(range.left, range.right, Math.max(2, (box.right - box.left) / 90), state.key === "number" ? 1 : 0);
    const up = ticks(range.low, range.high, Math.max(2, (box.bottom - box.top) / 45));
    for (const at of across.at) {
      group.append(svg("line", { class: "grid", x1: view.x(at), x2: view.x(at), y1: box.top, y2: box.bottom }));
      group.append(svg("text", { x: view.x(at), y: box.bottom + 16, "text-anchor": "middle" }, tickWords(at, across.digits)));
    }
    for (const at of up.at) {
      group.append(svg("line", { class: "grid", x1: box.left, x2: box.right, y1: view.y(at), y2: view.y(at) }));
      group.append(svg("text", { x: box.left - 6, y: view.y(at) + 4, "text-anchor": "end" }, tickWords(at, up.digits)));
    }
    const name = axes.find(({ key }) => key === state.key).name;
    group.append(svg("text", { x: (box.left + box.right) / 2, y: box.bottom + 34, "text-anchor": "middle" }, name));
    if (spec.yName) group.append(svg("text", { x: 4, y: 12 }, spec.yName));
    return group;
  }

  function bands() {
    const { box } = view;
    const group = svg("g");
    const clip = (y) => Math.min(Math.max(view.y(y), box.top), box.bottom);
    for (const [low, high] of spec.bands || []) {
      group.append(svg("rect", { class: "band", x: box.left, width: box.right - box.left, y: clip(high), height: Math.max(0, clip(low) - clip(high)) }));
    }
    for (const y of spec.lines || []) {
      if (clip(y) === view.y(y)) group.append(svg("line", { class: "zero", x1: box.left, x2: box.right, y1: view.y(y), y2: view.y(y) }));
    }
    for (const { x, name } of spec.regimes || []) {
      const at = view.x(x[state.key]);
      if (!(at >= box.left && at <= box.right)) continue;
      group.append(svg("line", { class: "regime", x1: at, x2: at, y1: box.top, y2: box.bottom }));
      group.append(svg("text", { x: at + 4, y: box.top + 10 }, name));
    }
    return group;
  }

  /** The line from one incumbent to the next, and on to the last experiment. */
  function steps(points) {
    const { box } = view;
    const kept = spec.points.filter((p) => p.kind === "keep" && known(p.x[state.key]));
    if (!kept.length) return null;
    const clip = (y) => Math.min(Math.max(y, box.top), box.bottom);
    const end = points.length ? points[points.length - 1].px : box.right;
    let path = "";
    let was = null;
    for (const p of kept) {
      const x = view.x(p.x[state.key]);
      if (x > box.right) break;
      const at = Math.max(x, box.left);
      path += was === null || x < box.left ? `M${at} ${clip(view.y(p.y))}` : `L${at} ${clip(view.y(was))}L${at} ${clip(view.y(p.y))}`;
      was = p.y;
    }
    return was === null ? null : svg("path", { class: "steps", d: `${path}L${end} ${clip(view.y(was))}` });
  }

  function dots(points) {
    const many = points.length > 250;
    const group = svg("g");
    const order = (kind) => (kind === "keep" ? 1 : 0);
    for (const { p, px, py, edge } of [...points].sort((a, b) => order(a.p.kind) - order(b.p.kind))) {
      if (!known(p.y)) group.append(svg("line", { class: `dot ${p.kind}`, x1: px, x2: px, y1: py - 5, y2: py + 5 }));
      else if (edge) {
        const tipY = edge === "up" ? -5 : 5;
        group.append(svg("path", { class: `dot ${p.kind}`, d: `M${px - 4} ${py}L${px + 4} ${py}L${px} ${py + tipY}Z` }));
      } else group.append(svg("circle", { class: `dot ${p.kind}`, cx: px, cy: py, r: p.kind === "keep" ? (many ? 4.5 : 5.5) : many ? 2.6 : 4 }));
    }
    return group;
  }

  /** Place the most important labels first, and leave out a label that would cover a placed label. */
  function labels(points) {
    const { box } = view;
    const group = svg("g");
    const wanted = points.filter(({ p, edge }) => p.label && !edge).sort((a, b) => a.p.rank - b.p.rank);
    const kept = points.filter(({ p }) => p.kind === "keep");
    const taken = points.map(({ p, px, py }) => { const r = p.kind === "keep" ? 6 : points.length > 250 ? 0 : 4; return [px - r, py - r, px + r, py + r]; });
    kept.forEach(({ px, py }, at) => {
      const next = kept[at + 1] || { px: box.right, py };
      taken.push([px, py - 1, next.px, py + 1], [next.px - 1, Math.min(py, next.py), next.px + 1, Math.max(py, next.py)]);
    });
    const most = Math.floor((box.right - box.left) / 75);
    const longest = box.right - box.left < 480 ? 20 : 34;
    const texts = [];
    for (const { p, px, py } of wanted) {
      if (texts.length >= most) break;
      const text = p.label.length > longest ? `${p.label.slice(0, longest - 1)}…` : p.label;
      const spot = room(px, py, textWidth(text, "11.5px system-ui") + 4, 14, box, taken, texts);
      if (!spot) continue;
      const lead = leading(px, py, spot);
      texts.push(spot);
      taken.push(spot, lead);
      if (lead[3] - lead[1] > 12) group.append(svg("line", { class: "lead", x1: px, y1: py, x2: Math.min(Math.max(px, spot[0]), spot[2]), y2: spot[1] > py ? spot[1] : spot[3] }));
      group.append(svg("text", { class: "label", x: spot[0], y: spot[3] - 3 }, text));
    }
    return group;
  }

  /** The box of the line from a point to its label. */
  function leading(px, py, [left, top, right, bottom]) {
    const x = Math.min(Math.max(px, left), right);
    const y = top > py ? top : bottom;
    return [Math.min(x, px) - 1, Math.min(y, py) + 1, Math.max(x, px) + 1, Math.max(y, py) - 1];
  }

  function room(px, py, width, height, box, taken, texts) {
    const meets = (a) => (b) => a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3];
    for (const gap of [7, 22, 40, 62, 90, 124]) {
      for (const up of [true, false]) {
        for (const right of [up, !up]) {
          const left = right ? px + 5 : px - 5 - width;
          const top = up ? py - gap - height : py + gap;
          const spot = [left, top, left + width, top + height];
          const inside = left >= box.left + 2 && spot[2] <= box.right && top >= box.top + 10 && spot[3] <= box.bottom - 12;
          if (inside && !taken.some(meets(spot)) && !texts.some(meets(leading(px, py, spot)))) return spot;
        }
      }
    }
    return null;
  }

  function nearest(x, y) {
    let [best, least] = [-1, 40 * 40];
    view.points.forEach(({ px, py }, at) => {
      const off = (px - x) ** 2 + (py - y) ** 2;
      if (off < least) [best, least] = [at, off];
    });
    return best;
  }

  function show(at) {
    state.at = at;
    const { p, px, py } = view.points[at];
    chart.querySelector(".mark").replaceChildren(svg("circle", { class: "ring", cx: px, cy: py, r: 8 }));
    tip.replaceChildren(...p.tip.filter(Boolean).map((line) => el("p", {}, line)));
    tip.hidden = false;
    const x = px + chart.getBoundingClientRect().left - host.getBoundingClientRect().left;
    const y = py + chart.getBoundingClientRect().top - host.getBoundingClientRect().top;
    const left = x + 14 + tip.offsetWidth > host.clientWidth ? x - 14 - tip.offsetWidth : x + 14;
    tip.style.left = `${Math.max(4, Math.min(left, host.clientWidth - tip.offsetWidth - 4))}px`;
    tip.style.top = `${Math.max(4, y - tip.offsetHeight - 10)}px`;
  }

  function hide() {
    state.at = -1;
    tip.hidden = true;
    chart.querySelector(".mark")?.replaceChildren();
  }

  /** The pointer's position, in the plot's own pixels. */
  function where(event) {
    const frame = chart.getBoundingClientRect();
    return [event.clientX - frame.left, event.clientY - frame.top];
  }

  let from = null;
  chart.addEventListener("pointerdown", (event) => {
    if (event.button === 0 && event.pointerType === "mouse") from = where(event);
  });
  chart.addEventListener("pointermove", (event) => {
    if (!view) return;
    const [x, y] = where(event);
    if (from && Math.abs(x - from[0]) > 6) {
      tip.hidden = true;
      const frame = { x: Math.min(x, from[0]), y: Math.min(y, from[1]), width: Math.abs(x - from[0]), height: Math.abs(y - from[1]) };
      return void chart.querySelector(".mark").replaceChildren(svg("rect", { class: "choice", ...frame }));
    }
    const at = nearest(x, y);
    if (at >= 0) show(at);
    else hide();
  });
  window.addEventListener("pointerup", (event) => {
    if (!from) return;
    const [x, y] = where(event);
    const [x0, y0] = from;
    from = null;
    if (Math.abs(x - x0) < 8 || Math.abs(y - y0) < 8) return;
    const { box, range } = view;
    const toX = (at) => range.left + ((at - box.left) / (box.right - box.left)) * (range.right - range.left);
    const toY = (at) => range.low + ((box.bottom - at) / (box.bottom - box.top)) * (range.high - range.low);
    zoom({ left: toX(Math.min(x, x0)), right: toX(Math.max(x, x0)), low: toY(Math.max(y, y0)), high: toY(Math.min(y, y0)) });
  });
  chart.addEventListener("pointerleave", () => { if (!from) hide(); });
  chart.addEventListener("blur", hide);
  chart.addEventListener("click", (event) => {
    const at = nearest(...where(event));
    if (at >= 0) { show(at); if (event.detail === 2) pick(); }
  });
  chart.addEventListener("keydown", (event) => {
    const last = view.points.length - 1;
    const moves = { ArrowRight: Math.min(state.at + 1, last), ArrowLeft: state.at < 0 ? last : Math.max(state.at - 1, 0), Home: 0, End: last };
    if (event.key in moves) show(moves[event.key]);
    else if (event.key === "Enter") pick();
    else if (event.key === "Escape") { if (state.zoom) zoom(null); else hide(); }
    else return;
    event.preventDefault();
  });

  function pick() {
    if (state.at >= 0 && spec.pick && known(view.points[state.at].p.number)) spec.pick(view.points[state.at].p.number);
  }

  function update({ points, near }) {
    const chosen = state.at >= 0 ? view.points[state.at].p.number : null;
    Object.assign(spec, { points, near });
    draw();
    const again = chosen === null || !view ? -1 : view.points.findIndex(({ p }) => p.number === chosen);
    if (again >= 0) show(again);
    else hide();
  }

  new ResizeObserver(() => draw()).observe(host);
  draw();
  return { update };
}

/** Return about `most` ticks at 1, 2 or 5 times a power of ten, at least `least` apart, and the ticks' decimals. */
export function ticks(low, high, most, least = 0) {
  const rough = Math.max((high - low) / Math.max(most, 1), least);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * ([1, 2, 5].find((times) => times * power >= rough) || 10);
  const found = [];
  for (let at = Math.ceil(low / step) || 0; at * step <= high + step * 1e-9 && found.length < 50; at++) found.push(at * step);
  return { at: found, digits: Math.max(0, -Math.floor(Math.log10(step) + 1e-9)) };
}

export function tickWords(at, digits) {
  if (Math.abs(at) >= 1e6) return `${Number((at / 1e6).toPrecision(4)).toLocaleString("en-US")} M`;
  if (digits > 6) return at ? significant(at, 3) : "0";
  return (at || 0).toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

let canvas = null;
function textWidth(text, font) {
  canvas = canvas || document.createElement("canvas").getContext("2d");
  canvas.font = font;
  return canvas.measureText(text).width;
}
