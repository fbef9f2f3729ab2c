// Uses the built page as a person does, with random inputs: a check of this lab.  It ends with an error that says what
// the page no longer does.  For a page of your own, write its tests here.
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { refuse, withBrowser, withPage } from "./browser.mjs";
import { build } from "./build.mjs";

const FAHRENHEIT = "degree Fahrenheit";
const UNITS = {
  length: { metre: 1, kilometre: 1000, centimetre: 0.01, millimetre: 0.001, mile: 1609.344, yard: 0.9144, foot: 0.3048,
    inch: 0.0254, "nautical mile": 1852 },
  mass: { kilogram: 1, gram: 0.001, milligram: 1e-6, tonne: 1000, pound: 0.45359237, ounce: 0.028349523125,
    stone: 6.35029318 },
  temperature: { kelvin: 1, "degree Celsius": 1, [FAHRENHEIT]: 5 / 9 },
};
const ZERO = { "degree Celsius": 273.15, [FAHRENHEIT]: 459.67 * 5 / 9 };
const MONTHS = "January February March April May June July August September October November December".split(" ");

function expected(quantity, value, from, to) {
  const base = value * UNITS[quantity][from] + (ZERO[from] ?? 0);
  return (base - (ZERO[to] ?? 0)) / UNITS[quantity][to];
}

function dateOf(moment) {
  return `${MONTHS[moment.getMonth()]} ${moment.getDate()}, ${moment.getFullYear()}`;
}

async function use(page, seen) {
  const wrong = [];
  const same = (what, found, wanted) => {
    if (JSON.stringify(found) !== JSON.stringify(wanted)) {
      wrong.push(`${what}: ${JSON.stringify(found)} instead of ${JSON.stringify(wanted)}`);
    }
  };
  const options = (id) => page.$$eval(`#${id} option`, (found) => found.map((each) => each.value));
  const text = (selector) => page.$eval(selector, (found) => found.innerText.trim());
  const value = (id) => page.$eval(`#${id}`, (found) => found.value);
  const history = () => page.$$eval("#history li", (found) => found.map((each) => each.innerText));
  const result = async (what, quantity, number, from, to) => {
    const [found, wanted] = [await text("#result"), expected(quantity, number, from, to)];
    const near = Math.abs(parseFloat(found) - wanted) <= Math.abs(wanted) * 1e-6 + 1e-12;
    if (!near || !found.endsWith(` ${to}`)) wrong.push(`${what}: ${found} instead of ${wanted} ${to}`);
  };

  const before = new Date();
  const date = await text("#today");
  if (![before, new Date()].map(dateOf).includes(date)) wrong.push(`the date is ${date}`);
  same("the title", await page.title(), "Converter");
  same("the quantities", await options("quantity"), Object.keys(UNITS));
  await result("at the start", "length", 1, "metre", "kilometre");
  for (const quantity of ["mass", "temperature", "length"]) {
    await page.select("#quantity", quantity);
    const names = Object.keys(UNITS[quantity]);
    same(`the units of ${quantity}`, [await options("from"), await options("to")], [names, names]);
    for (const from of names) {
      const to = names[Math.floor(Math.random() * names.length)];
      const number = Math.floor(Math.random() * 90000 + 1000) / 10;
      await page.select("#from", from);
      await page.select("#to", to);
      await page.$eval("#value", (input) => { input.value = ""; });
      await page.type("#value", `${number}\n`);
      await result(`${number} ${from}`, quantity, number, from, to);
      same("the last entry of the history", (await history())[0], `${number} ${from} = ${await text("#result")}`);
      await page.click("#swap");
      same("the units after a click on Swap", [await value("from"), await value("to")], [to, from]);
      await result(`${number} ${to} after a click on Swap`, quantity, number, to, from);
    }
  }
  same("the length of the history", (await history()).length, 5);
  await page.click("#clear");
  same("the history after a click on Clear", await history(), []);
  const style = await page.$eval("output", (found) => getComputedStyle(found).fontSize);
  same("the size of the result's letters", style, "24px");
  same("the widths of the columns", (await page.$eval("label", (found) => getComputedStyle(found).display)), "grid");
  return [...seen.errors.map((each) => `an error of a script: ${each}`),
    ...seen.outside.map((each) => `the page loads ${each}, which is not counted`), ...wrong];
}

const folder = fs.mkdtempSync(path.join(os.tmpdir(), "page-"));
process.on("exit", () => fs.rmSync(folder, { recursive: true })); // also when the build is refused
await build(folder);
refuse(await withBrowser((browser) => withPage(browser, folder, use)));
