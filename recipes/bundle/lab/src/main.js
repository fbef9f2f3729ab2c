import "./old-browsers.js";
import calendar from "./calendar.js";
import units from "./units.js";

const QUANTITIES = ["length", "mass", "temperature"];

const at = (id) => document.getElementById(id);
const history = [];

function fill(select, names) {
  select.replaceChildren(...names.map((name) => new Option(name, name)));
}

function choose() {
  const names = Object.keys(units[at("quantity").value]);
  fill(at("from"), names);
  fill(at("to"), names);
  at("to").selectedIndex = 1;
  show();
}

function convert(quantity, value, from, to) {
  const [scale, zero] = units[quantity][from];
  const [otherScale, otherZero] = units[quantity][to];
  return (value * scale + zero - otherZero) / otherScale;
}

function show() {
  const value = Number(at("value").value);
  const [from, to] = [at("from").value, at("to").value];
  const result = convert(at("quantity").value, value, from, to);
  at("result").textContent = `${Number(result.toPrecision(8))} ${to}`;
}

function remember() {
  history.unshift(`${at("value").value} ${at("from").value} = ${at("result").textContent}`);
  history.length = Math.min(history.length, 5);
  list();
}

function list() {
  at("history").replaceChildren(...history.map((text) => {
    const item = document.createElement("li");
    item.textContent = text;
    return item;
  }));
}

function swap() {
  const from = at("from").value;
  at("from").value = at("to").value;
  at("to").value = from;
  show();
}

fill(at("quantity"), QUANTITIES);
choose();
at("quantity").addEventListener("change", choose);
for (const id of ["value", "from", "to"]) {
  at(id).addEventListener("input", show);
  at(id).addEventListener("change", remember);
}
at("swap").addEventListener("click", swap);
at("clear").addEventListener("click", () => {
  history.length = 0;
  list();
});
at("today").textContent = calendar.long(new Date(), "en");
