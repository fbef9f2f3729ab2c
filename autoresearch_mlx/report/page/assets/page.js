// Put the parts of the page together.  The figures come from the JSON in this file, so nothing is fetched.

import { plot } from "../../assets/plot.js";
import { strips } from "../../assets/strips.js";
import { arrows, count, gain, interval, known, significant, speed, value } from "../../assets/words.js";
import { forest } from "./forest.js";
import { sheet } from "./sheet.js";

const page = JSON.parse(document.getElementById("data").textContent);

function theme() {
  const button = document.getElementById("theme");
  const root = document.documentElement;
  const dark = () => (root.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  const name = () => { button.textContent = dark() ? "light" : "dark"; button.setAttribute("aria-label", `switch to ${button.textContent}`); };
  button.hidden = false;
  button.addEventListener("click", () => { root.dataset.theme = dark() ? "light" : "dark"; name(); });
  name();
}

const OVER = [{ key: "number", name: "experiments" }, { key: "hours", name: "hours of work" }, { key: "tokens", name: "tokens trained" }];

function progress(host, pick) {
  const rows = page.experiments;
  const kept = rows.filter((row) => row.status === "keep");
  const ranked = [...kept].sort((a, b) => (b === kept[kept.length - 1]) - (a === kept[kept.length - 1]) || (b.gain || 0) - (a.gain || 0));
  const kind = (row) => (row.status === "keep" ? "keep" : known(row.value) ? "" : row.status === "discard" ? "stopped" : "fail");
  const points = rows.map((row) => ({
    x: row, y: row.level ?? row.value, number: row.number, kind: kind(row),
    label: row.status === "keep" && row.number > 0 ? arrows(row.title) : "", rank: ranked.indexOf(row),
    tip: [`#${row.number} ${row.status}`, arrows(row.title), known(row.value) ? `${page.metric} ${value(row.value)}` : row.reason,
      row.ahead || "", known(row.gain) ? `${gain(row.gain)} ${interval(row.low, row.high)}` : "", row.slowed ? `the machine ran at ${speed(row.speed)} speed` : ""],
  }));
  const better = page.direction === "min" ? "lower" : "higher";
  plot(host, { name: `${page.metric} of every experiment`, height: 430, xs: OVER, points, steps: true, near: page.near, pick,
    yName: `${page.metric}${page.fleet ? `, at the level of ${page.fleet.machines[0].machine}` : ""}, ${better} is better`,
    key: [["", "discarded"], ["keep", "kept; the line is the incumbent"], ["fail", "failed"],
      ...(points.some((point) => point.kind === "stopped") ? [["stopped", "stopped early"]] : [])] });
}

function noise(host, pick) {
  const { sigma, again, epochs } = page.noise; // the document calls a regime by its older name, epoch
  const centre = page.fleet ? "the commit's mean on its machine" : "the mean of its commit";
  const points = again.map((run) => ({
    x: { number: run.at, hours: run.hours }, y: run.off, number: run.number,
    kind: run.tainted ? "tainted" : run.chosen ? "chosen" : "again",
    tip: [`#${run.number}${run.chosen ? ", the run it was chosen by" : ""}`, `${page.metric} ${value(run.value)}`,
      `${gain(run.off)} from ${centre}`, run.epoch ? `regime ${run.epoch}` : "", run.tainted ? "disturbed" : ""],
  }));
  const marks = epochs.map(([regime, at]) => ({ x: { number: at, hours: (again.find((run) => run.at === at) || {}).hours }, name: `regime ${regime}` }));
  plot(host, { name: "Runs of commits that ran more than once", height: 300, xs: OVER.slice(0, 2), points, pick, lines: [0], regimes: marks,
    bands: known(sigma) && sigma > 0 ? [[-sigma, sigma], [-2 * sigma, 2 * sigma]] : [], yName: `${page.fleet ? "" : "difference "}from ${centre}; up is worse`,
    key: [["again", "made to measure the noise"], ["chosen", "run by which it was chosen"]] });
}

const NAMES = { speed: "machine's speed, where 1 is the baseline's", stretch: "wall-clock time as a multiple of the budget", tokens_per_second: "tokens per second", peak_memory_mb: "peak memory, MB (on a GPU reported by the script)", memory_free_mb: "free memory, MB", swap_used_mb: "swap in use, MB",
  load: "load before the run", temperature_c: "temperature, °C", thermal_level: "level of thermal pressure", battery_percent: "battery, %",
  battery_c: "battery's temperature, °C", cpu_speed_percent: "CPU's speed limit, %", gpu_watts: "GPU's power, W",
  gpu_users: "other programs on the GPU", gpu_busy_percent: "GPU busy before the run, %" };

function speeds() {
  const over = OVER.slice(0, 2);
  const points = (of, name) => page.runs.filter((run) => known(of(run))).map((run) => ({
    x: { number: run.at, hours: run.hours }, y: of(run), kind: "speed", number: run.number,
    tip: [`#${run.number}`, `${name} ${Math.abs(of(run)) >= 1000 ? count(of(run)) : significant(of(run), 6)}`],
  }));
  for (const host of document.querySelectorAll("[data-fact]")) {
    const name = host.dataset.fact;
    const of = (run) => (name in run ? run[name] : run.machine[name]);
    const words = NAMES[name] || name.replaceAll("_", " ");
    plot(host, { name: words, height: name === "tokens_per_second" ? 260 : 190, xs: over, points: points(of, words), yName: words });
  }
}

theme();
const table = sheet(document.getElementById("sheet"), page.experiments, page.metric);
progress(document.getElementById("progress"), table.open);
if (page.fleet) strips(document.getElementById("strips"), page.fleet, table.open);
forest(document.getElementById("forest"), page.axes, table.open);
noise(document.getElementById("again"), table.open);
speeds();
document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-number]");
  if (link) { event.preventDefault(); table.open(Number(link.dataset.number)); }
});
