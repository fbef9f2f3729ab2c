// Show every experiment in a table that can be sorted and filtered.  Rows are made in portions as they scroll into sight.

import { diffLines, el } from "../../assets/elements.js";
import { arrows, count, gain, interval, known, speed, value } from "../../assets/words.js";

const PORTION = 120;

export function sheet(host, rows, metric) {
  const columns = [
    { name: "#", of: (row) => row.number, cell: (row) => opener(row), number: true },
    { name: "status", of: (row) => row.status, cell: (row) => el("span", { class: `status ${row.status}` }, row.stopped ? "stopped" : row.status) },
    { name: metric, of: (row) => row.value, cell: (row) => value(row.value), number: true },
    { name: "gain", of: (row) => row.gain, cell: (row) => gain(row.gain), number: true },
    { name: "90 %", of: (row) => row.low, cell: (row) => (known(row.low) ? `${gain(row.low)} … ${gain(row.high)}` : ""), number: true, minor: true },
    ...(rows.some((row) => known(row.speed)) ? [{ name: "speed", of: (row) => row.speed, number: true, minor: true,
      cell: (row) => (known(row.speed) ? el("span", { class: row.slowed ? "slowed" : null }, `${row.slowed ? "~ " : ""}${speed(row.speed)}`) : "") }] : []),
    { name: "axis", of: (row) => row.axis, cell: (row) => row.axis || "", minor: true },
    { name: "title", of: (row) => row.title, cell: (row) => arrows(row.title), title: true },
    { name: "agent", of: (row) => row.agent ?? "", cell: (row) => row.agent ?? "", minor: true },
    { name: "seconds", of: (row) => row.seconds, cell: (row) => (known(row.seconds) ? row.seconds.toFixed(1) : ""), number: true, minor: true },
  ];
  const state = { sort: 0, down: true, statuses: new Set(), axis: "", text: "", shown: 0 };
  const body = el("tbody");
  const told = el("p", { class: "soft", role: "status" });
  const more = el("p", { class: "more" });
  const heads = columns.map((column, at) => el("th", { class: kind(column), scope: "col" },
    el("button", { type: "button", onclick: () => sortBy(at) }, column.name)));
  const texts = new Map(rows.map((row) => [row, [row.title, row.axis, row.knobs, row.agent, row.reason, row.rationale, `#${row.number}`].join("\n").toLowerCase()]));
  let found = rows;
  const frame = el("div", { class: "sheet", tabindex: 0, role: "region", "aria-label": "every experiment" });

  function kind({ number, minor, title }) {
    return [number ? "n" : "", minor ? "minor" : "", title ? "title" : ""].join(" ").trim() || null;
  }

  function filters() {
    const statuses = [...new Set(rows.map((row) => row.status))];
    const buttons = statuses.map((status) => {
      const of = rows.filter((row) => row.status === status);
      const tried = of.filter((row) => row.number > 0).length; // counts of experiments never include the baseline
      const words = [tried || tried === of.length ? tried : null, tried < of.length ? "baseline" : null].filter(known).join(" + ");
      const button = el("button", { type: "button", "aria-pressed": "false" }, `${status} ${words}`);
      button.addEventListener("click", () => {
        state.statuses.has(status) ? state.statuses.delete(status) : state.statuses.add(status);
        button.setAttribute("aria-pressed", String(state.statuses.has(status)));
        renew();
      });
      return button;
    });
    const axes = [...new Set(rows.map((row) => row.axis).filter(Boolean))].sort();
    const options = ["", ...axes].map((axis) => el("option", { value: axis }, axis || "every axis"));
    const axis = el("select", { "aria-label": "axis", onchange: (event) => { state.axis = event.target.value; renew(); } }, ...options);
    const text = el("input", { type: "search", placeholder: "title, knob, reason, #12 …", "aria-label": "search the experiments" });
    text.addEventListener("input", () => { state.text = text.value.toLowerCase().trim(); renew(); });
    return el("div", { class: "filters" }, el("span", { class: "set", role: "group", "aria-label": "status" }, ...buttons), axis, text);
  }

  function sortBy(at) {
    state.down = state.sort === at ? !state.down : false;
    state.sort = at;
    renew();
  }

  function matches(row) {
    return (!state.statuses.size || state.statuses.has(row.status)) && (!state.axis || row.axis === state.axis) &&
      (!state.text || texts.get(row).includes(state.text));
  }

  /** Unknown values come last, in either order. */
  function compare(a, b) {
    const { of } = columns[state.sort];
    const [x, y] = [of(a), of(b)];
    if (!known(x) || !known(y)) return known(x) ? -1 : known(y) ? 1 : a.number - b.number;
    const way = (typeof x === "string" ? x.localeCompare(y) : x - y) || a.number - b.number;
    return state.down ? -way : way;
  }

  function renew() {
    found = rows.filter(matches).sort(compare);
    state.shown = 0;
    body.replaceChildren();
    frame.scrollTop = 0;
    heads.forEach((head, at) => head.setAttribute("aria-sort", at === state.sort ? (state.down ? "descending" : "ascending") : "none"));
    told.textContent = `${count(found.length)} of ${count(rows.length)}`;
    grow();
  }

  function grow() {
    const next = found.slice(state.shown, state.shown + PORTION);
    state.shown += next.length;
    body.append(...next.map((row) => el("tr", { class: "row", id: `e${row.number}` }, ...columns.map((column) => el("td", { class: kind(column) }, column.cell(row))))));
    more.hidden = state.shown >= found.length;
    more.textContent = more.hidden ? "" : `${count(found.length - state.shown)} more below`;
  }

  function opener(row) {
    const button = el("button", { type: "button", class: "open", "aria-expanded": "false", "aria-label": `experiment ${row.number}: details` }, String(row.number));
    button.addEventListener("click", () => toggle(row, button));
    return button;
  }

  function toggle(row, button) {
    const line = button.closest("tr");
    const opened = button.getAttribute("aria-expanded") === "true";
    button.setAttribute("aria-expanded", String(!opened));
    if (opened) line.nextElementSibling.remove();
    else line.after(el("tr", { class: "detail" }, el("td", { colspan: columns.length }, inside(row))));
  }

  function inside(row) {
    const facts = [
      ["gain", known(row.gain) ? [gain(row.gain), interval(row.low, row.high), known(row.raw) ? `measured ${gain(row.raw)}` : ""].filter(Boolean).join("; ") : ""],
      ["axis", row.axis], ["knobs", arrows(row.knobs)], ["agent", row.agent], ["runs", row.runs || ""],
      ["speed", known(row.speed) ? `${speed(row.speed)} of the baseline's${row.slowed ? ": the machine was slow, so the time of a run was stretched" : ""}` : ""], ["commit", row.commit],
      ["at", [known(row.hours) ? `${row.hours.toFixed(2)} h of work` : "", known(row.tokens) ? `${count(row.tokens)} tokens trained` : ""].filter(Boolean).join(", ")],
    ].filter(([, fact]) => fact !== null && fact !== undefined && fact !== "");
    return el("div", { class: "inside" },
      el("p", {}, el("strong", {}, row.reason || "no reason is known")),
      el("dl", {}, ...facts.flatMap(([name, fact]) => [el("dt", {}, name), el("dd", {}, String(fact))])),
      ...part("rationale", row.rationale ? el("p", { class: "said" }, row.rationale) : null),
      ...part("diff against its base", block(row, row.diff, row.diff_cut, "first", true)),
      ...part("end of the log", block(row, row.log, row.log_cut, "last", false)),
    );
  }

  function part(name, node) {
    return node ? [el("h3", {}, name), node] : [];
  }

  function block(row, text, cut, which, colored) {
    if (!known(text) && !cut) return null;
    const note = cut ? el("p", { class: "soft" }, `Only the ${which} lines are in this file; autoresearch-mlx show ${row.number} has more.`) : null;
    const pre = el("pre", { tabindex: 0 }, ...(colored ? diffLines(text) : [text]));
    return el("div", {}, pre, note);
  }

  /** Open an experiment and scroll to it, whatever the filters are. */
  function open(number) {
    if (!found.some((row) => row.number === number)) {
      state.statuses.clear();
      Object.assign(state, { axis: "", text: "" });
      bar.replaceWith((bar = filters()));
      renew();
    }
    while (!document.getElementById(`e${number}`) && state.shown < found.length) grow();
    const line = document.getElementById(`e${number}`);
    const button = line.querySelector(".open");
    if (button.getAttribute("aria-expanded") === "false") button.click();
    frame.scrollTop = line.offsetTop - 60;
    frame.scrollIntoView({ block: "nearest" });
    button.focus({ preventScroll: true });
  }

  let bar = filters();
  const table = el("table", {}, el("caption", { class: "soft" }, "Open a row for its reason, diff and log."), el("thead", {}, el("tr", {}, ...heads)), body);
  frame.append(table, more);
  host.append(bar, told, frame);
  const near = { root: frame, rootMargin: "900px" };
  const watcher = new IntersectionObserver((seen) => {
    if (!seen.some((one) => one.isIntersecting)) return;
    grow();
    watcher.unobserve(more);
    watcher.observe(more); // observed again, because it may still be in sight
  }, near);
  watcher.observe(more);
  renew();
  return { open };
}
