// Fill the parts of the page with the server's data.  Every text is inserted as text: nothing here parses markup.

import { diffLines, el } from "./elements.js";
import { drawLive, lossAt } from "./loss.js";
import { plot } from "./plot.js";
import { strips } from "./strips.js";
import { amount, arrows, clock, count, gain, speed, value } from "./words.js";

export const the = (id) => document.getElementById(id);

// Only changed elements are touched, so that a screen reader keeps its place and a selection stays.
function put(id, text) { if (the(id).textContent !== text) the(id).textContent = text; }

function facts(id, pairs) {
  const known = pairs.filter(([, v]) => v != null), list = the(id);
  while (list.children.length > known.length) list.lastChild.remove();
  known.forEach(([name, text, small], n) => {
    const entry = list.children[n] ?? list.appendChild(el("div", {}, el("dt"), el("dd")));
    if (entry.firstChild.textContent !== name) entry.firstChild.textContent = name;
    const whole = small ? `${text} ${small}` : `${text}`;
    if (entry.lastChild.textContent !== whole) entry.lastChild.replaceChildren(text, ...(small ? [" ", el("small", {}, small)] : []));
  });
}

/** Text with commands between backticks, as nodes. */
function inCode(words) {
  return words.split("`").map((part, n) => (n % 2 ? el("code", {}, part) : part));
}

const SAID = { propose: "waiting for a proposal", start: "starting", compile: "first step, compiling", train: "training", evaluate: "evaluating", smoke: "trying it for two steps", guard: "checking", paused: "paused", waiting: "waiting" };

export function showState(session, now) {
  const running = now.running, run = session.run, state = the("state");
  const words = !running ? "idle" : ["paused", "waiting"].includes(running.phase) ? running.phase : run?.paused ? "pauses after this one" : run?.stop ? "stops after this one" : run ? "running" : "busy";
  state.className = `state ${!running ? "" : run?.paused || run?.stop || ["paused", "waiting"].includes(running.phase) ? "waits" : "runs"}`;
  if (state.lastChild.textContent !== words) state.lastChild.textContent = words;
}

export function showNow(session, now) {
  const r = now.running, budget = session.hardware.budget_seconds, machine = now.machine;
  const program = r?.phase === "guard" || (r?.phase === "train" && r.step == null); // of which only the timeout is known
  const resting = !r ? "Idle" : r.phase === "paused" ? (r.words ? `Paused: ${r.words}` : "Paused by hand") : r.phase === "waiting" ? `Waiting${/^for /.test(r.words) ? "" : ":"} ${r.words}` : r.number == null ? "Between two experiments" : null;
  const beside = (now.lanes ?? []).filter((lane) => lane.number !== r?.number).map((lane) => `#${lane.number}`);
  put("now-over", r?.number != null ? `experiment ${r.number} · ${program && r.phase === "train" ? "running" : SAID[r.phase] ?? r.phase ?? "starting"}${beside.length ? ` · beside it ${beside.join(", ")}` : ""}` : session.status.branch);
  put("now-title", resting ?? (arrows(r.title) || "Waiting for a proposal"));
  const used = r?.share ?? (budget && r?.seconds_left != null ? 1 - r.seconds_left / budget : null);
  const trains = r?.phase === "train" && used != null;
  the("bar").hidden = !trains;
  if (trains) the("bar").firstChild.style.width = `${Math.min(Math.max(used, 0), 1) * 100}%`;
  facts("now-facts", [
    ...(now.briefs ?? []).map((line) => ["brief", line.replace(/^brief /, "")]),
    ["step", r?.step != null ? count(r.step) : null],
    ["loss", r?.loss != null ? r.loss.toFixed(4) : null],
    ["tokens/s", r?.tokens_per_second != null ? count(r.tokens_per_second) : null],
    [program ? "at most" : "left", r?.seconds_left != null ? clock(r.seconds_left) : null, budget ? `of ${clock(budget)}` : session.hardware.budget ? `to ${session.hardware.budget}` : null],
    ["run's memory", r ? memory(machine.run_bytes) : null],
    ["machine", memory(machine.memory_used), `of ${Math.round(machine.memory_total / 2 ** 30)} GB used`],
    ["temperature", machine.celsius != null ? `${machine.celsius.toFixed(0)} °C` : null],
  ]);
  showLive(session, now);
}

function showLive(session, now) {
  const best = session.incumbent?.curve ?? [], points = now.points;
  the("live").hidden = !points.length;
  if (!points.length) return;
  put("key-now", now.running?.number != null ? `#${now.running.number}, now` : "now");
  the("key-best").hidden = !best.length;
  put("key-best", best.length ? `#${session.incumbent.number}, the incumbent` : "");
  const [share, loss] = points[points.length - 1], then = lossAt(best, share);
  put("live-words", then == null ? "Training loss, reported by the script" : `Training loss, reported by the script, ${beside(loss - then)} the incumbent's at this point`);
  drawLive(the("live-chart"), points, best);
}

/** A difference of less than half of the last shown decimal counts as "equal". */
function beside(difference) {
  const size = Math.abs(difference).toFixed(4);
  return Number(size) === 0 ? "equal to" : `${size} ${difference < 0 ? "below" : "above"}`;
}

export function showStands(session) {
  const s = session.status, best = session.incumbent, spent = s.spent;
  facts("stand-facts", [
    ["incumbent", value(best?.value), best ? `#${best.number}${best.measured !== best.value ? ", by the runs that count now" : ""}` : null],
    ["gained in all", !best ? null : best.number === 0 ? "nothing yet" : gain(best.gained)],
    ...s.waiting.map((w) => ["waiting for you", `#${w.number}`, w.words.slice(w.words.indexOf(", ") + 2)]),
    ["experiments", count(s.experiments)],
    ["kept", count(s.kept)], ["discarded", count(s.discarded)], ["failed", count(s.failed)],
    ["sigma of one run", s.sigma != null ? amount(s.sigma) : "not known yet"],
    ["speed of the machine", s.speed ? speed(s.speed.newest) : null, s.speed ? [s.speed.disturbed_by || "of the baseline's", s.speed.slow ? `${count(s.speed.slow)} of ${count(s.speed.runs)} runs under 90 %` : ""].filter(Boolean).join("; ") : null],
    ["losers stopped early", s.stops?.stopped ? count(s.stops.stopped) : null, s.stops?.stopped ? `${clock(s.stops.saved_seconds)} saved` : null],
    ["certified", s.certificate ? s.certificate.words : null],
    ["calls to models", spent.calls ? count(spent.calls) : null, spent.calls ? `${count(spent.tokens)} tokens` : null],
    ["cost", spent.cost != null && spent.calls ? spent.cost.toFixed(2) : null],
  ]);
  if (the("left-out").dataset.shown !== session.left_out.join("\n")) { // so that a selection stays
    the("left-out").dataset.shown = session.left_out.join("\n");
    the("left-out").replaceChildren(...session.left_out.map((words) => el("p", {}, ...inCode(words))));
  }
  put("metric", s.metric);
}

function perHour(number) { return number < 10 ? number.toFixed(1) : count(Math.round(number)); }

export function showPlan(session, now) {
  const plan = session.plan, run = session.run;
  if (!plan) { facts("plan-facts", [["", now.running ? "another command is using this session; no run is in progress" : "No run is in progress."]]); return; }
  const elapsed = plan.began != null ? now.time - plan.began : null;
  const byCount = plan.left != null && plan.pace_seconds ? now.time + plan.left * plan.pace_seconds : null;
  const ends = [plan.ends, byCount].filter((t) => t != null), eta = ends.length ? Math.min(...ends) : null;
  const more = eta != null && plan.pace_seconds ? Math.max(Math.floor((eta - now.time) / plan.pace_seconds), 0) : null;
  facts("plan-facts", [
    ["running for", clock(elapsed)],
    ["done in this run", plan.done ? `${count(plan.done)},` : "none yet", !plan.done ? null : plan.kept ? `${count(plan.kept)} kept` : "none kept"],
    ["experiments per hour", plan.done && elapsed > 0 ? perHour(plan.done / elapsed * 3600) : null],
    ["time of an experiment", plan.pace_seconds ? clock(plan.pace_seconds) : null],
    ["ends", run.stop ? "after this one" : eta != null ? `about ${when(eta)}` : plan.left != null ? `after ${count(plan.left)} more` : "when told to"],
    ["experiments left", more != null && !run.stop ? `about ${count(more)}` : null],
  ]);
}

let night = { tag: null, near: null, plot: null };

/** The plot keeps its zoom while the session goes on. */
export function showNight(session, open) {
  const { metric, direction } = session.status, host = the("night-chart");
  const points = session.night.map((e) => ({
    x: { number: e.number }, y: e.level ?? e.value, number: e.number, kind: e.status === "keep" ? "keep" : e.value != null ? "" : e.status === "discard" ? "stopped" : "fail",
    tip: [`#${e.number} ${e.status}`, arrows(e.title), e.value != null ? `${metric} ${value(e.value)}` : "", e.gain != null ? gain(e.gain) : ""],
  }));
  if (night.plot && night.tag === session.tag && Boolean(night.near) === Boolean(session.near)) return night.plot.update({ points, near: session.near });
  host.replaceChildren();
  night = { tag: session.tag, near: session.near, plot: plot(host, {
    name: `${metric} of every experiment`, height: 260, xs: [{ key: "number", name: "experiments" }], points, near: session.near, steps: true, pick: open,
    yName: `${metric}${session.fleet ? `, at the level of ${session.fleet.machines[0].machine}` : ""}, ${direction === "min" ? "lower" : "higher"} is better`,
    key: [["", "discarded"], ["keep", "kept; the line is the incumbent"], ["stopped", "stopped early"], ["fail", "failed"]],
  }) };
}

/** The strips of a fleet's machines; the card stays hidden for a session on one machine. */
export function showFleet(session, open) {
  the("fleet").hidden = !session.fleet;
  if (!session.fleet) return;
  facts("fleet-facts", session.fleet.machines.map((m) => [`${m.machine}, ${m.chip}`, m.gain != null ? gain(m.gain) : value(m.incumbent ?? m.baseline),
    `${m.gain != null ? "over its baseline; " : ""}${count(m.runs)} runs`]));
  const shown = JSON.stringify(session.fleet.strips);
  if (the("strips").dataset.shown === shown) return; // so that a tooltip stays open
  the("strips").dataset.shown = shown;
  strips(the("strips"), session.fleet, open);
}

export function showRows(session, open) {
  const held = new Set(session.status.waiting.map((w) => w.number));
  const first = session.incumbent?.number, speeds = session.experiments.some((e) => e.speed != null);
  the("speed").hidden = !speeds;
  the("rows").replaceChildren(...session.experiments.map((e) => {
    const failed = !["keep", "discard"].includes(e.status), why = failed || e.value == null ? e.reason : e.axis;
    return el("tr", {},
      el("td", {}, el("button", { type: "button", "aria-label": `Experiment ${e.number}, details`, onclick: () => open(e.number) }, e.number)),
      el("td", { class: e.status === "keep" ? "keep" : failed ? "failed" : null }, e.number === first ? `${e.status} ★` : held.has(e.number) ? `${e.status} ?` : e.status),
      el("td", { class: "n" }, value(e.value)),
      el("td", { class: "n" }, gain(e.gain)),
      ...(speeds ? [el("td", { class: e.slowed ? "n waits-here" : "n", title: e.slowed ? "the machine was slow, so the time of a run was stretched" : null }, `${e.slowed ? "~ " : ""}${speed(e.speed)}`)] : []),
      el("td", {}, arrows(e.title) || "-", why ? el("small", {}, why) : null));
  }));
}

export function showIdeas(session, drop, writes) {
  const rows = session.ideas.map((i) => el("li", {},
    el("span", {}, i.title, el("small", {}, [i.source === "you" ? "yours" : i.source, i.axis, i.state === "taken" ? `being tried, #${i.experiment}` : null].filter(Boolean).join(" · "))),
    writes && i.state === "open" ? el("button", { type: "button", class: "quiet", "aria-label": `Drop idea ${i.id}`, onclick: () => drop(i.id) }, "Drop") : null));
  the("ideas").replaceChildren(...(rows.length ? rows : [el("li", {}, "None yet.")]));
}

export function showNotes(session, writes) {
  const rows = session.notes.map((text) => el("li", {}, el("span", {}, text)));
  the("notes").replaceChildren(...(rows.length ? rows : [el("li", {}, "Nothing yet.")]));
  the("clear-notes").hidden = !writes || !session.notes.length;
}

export function showOne(e, metric) {
  put("one-over", `experiment ${e.number} · ${e.status} · ${metric} ${value(e.value)} · gain ${gain(e.gain)}${e.agent ? ` · by ${e.agent}` : ""}`);
  put("one-title", arrows(e.title));
  put("one-reason", e.reason);
  put("one-rationale", e.rationale);
  the("one-diff").replaceChildren(...diffLines(e.diff || "no change"));
  put("one-log", e.log_tail || "no log");
  the("one").showModal();
}

// A GB has 2^30 bytes, as in the terminal, so that both show the same number.
const memory = (bytes) => bytes == null ? null : bytes >= 0.1 * 2 ** 30 ? `${(bytes / 2 ** 30).toFixed(1)} GB` : `${(bytes / 2 ** 20).toFixed(0)} MB`;

// The time of day, with the weekday if it is not today.
function when(seconds) {
  const at = new Date(seconds * 1000), time = at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", hour12: false });
  return at.toDateString() === new Date().toDateString() ? time : `${at.toLocaleDateString([], { weekday: "short" })} ${time}`;
}
