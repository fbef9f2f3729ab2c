// Compares the page with the first version in the folder original: a check of this lab.
//
// Both are shown at the sizes that Lighthouse uses for a phone and a desktop.  When loading ends, what the window shows must
// look the same; a while later, the whole page must look the same and have the same text, title and links.
import { pathToFileURL } from "node:url";
import path from "node:path";
import { packagePath, refuse, withBrowser, withPage } from "./browser.mjs";

const BOUND = 0.01; // share of the picture's points that may differ visibly
const VISIBLY = 48; // of 255, in one colour
const LATER = 1500; // milliseconds

const constants = path.join(path.dirname(packagePath("lighthouse")), "config", "constants.js");
const { screenEmulationMetrics, userAgents } = await import(pathToFileURL(constants));

/** Return how the page of a folder looks on a device, and the errors of its scripts. */
async function shown(browser, folder, device) {
  const { width, height, deviceScaleFactor, mobile } = screenEmulationMetrics[device];
  const viewport = { width, height, deviceScaleFactor, isMobile: mobile };
  const look = async (page, seen) => {
    const early = await page.screenshot({ encoding: "base64" });
    await new Promise((done) => setTimeout(done, LATER));
    return {
      early,
      later: await page.screenshot({ encoding: "base64", fullPage: true }),
      text: await page.evaluate(() => document.body.innerText.replace(/\s+/g, " ").trim()),
      title: await page.title(),
      links: await page.$$eval("a[href]", (found) => found.map((each) => each.getAttribute("href")).join(" ")),
      ...seen,
    };
  };
  return withPage(browser, folder, look, { viewport, userAgent: userAgents[device], until: "load" });
}

/** Return, as text, where two texts differ. */
function apart(found, wanted) {
  let at = 0;
  while (at < wanted.length && found[at] === wanted[at]) at += 1;
  const part = (text) => JSON.stringify(text.slice(Math.max(0, at - 10), at + 30));
  return `${part(found)} instead of ${part(wanted)}`;
}

/** Return the share of points that differ between two pictures: runs in the browser, which can read PNG. */
async function difference(pictures, visibly) {
  const points = await Promise.all(pictures.map(async (picture) => {
    const image = new Image();
    image.src = `data:image/png;base64,${picture}`;
    await image.decode();
    const canvas = new OffscreenCanvas(image.width, image.height);
    const context = canvas.getContext("2d");
    context.drawImage(image, 0, 0);
    return { width: image.width, height: image.height, data: context.getImageData(0, 0, image.width, image.height).data };
  }));
  const [a, b] = points;
  if (a.width !== b.width) return 1;
  const common = Math.min(a.height, b.height) * a.width;
  let differ = Math.abs(a.height - b.height) * a.width;
  for (let at = 0; at < common * 4; at += 4) {
    const apart = Math.max(...[0, 1, 2].map((colour) => Math.abs(a.data[at + colour] - b.data[at + colour])));
    if (apart > visibly) differ += 1;
  }
  return differ / (Math.max(a.height, b.height) * a.width);
}

/** Return what is wrong with the edited page on a device. */
async function wrongOn(browser, device) {
  const [first, edited] = [await shown(browser, "original", device), await shown(browser, "site", device)];
  const wrong = edited.errors.slice(first.errors.length).map((error) => `an error of a script: ${error}`);
  wrong.push(...edited.outside.map((url) => `the page loads ${url}; only what is in the folder site is served`));
  for (const what of ["text", "title", "links"]) {
    if (edited[what] !== first[what]) wrong.push(`${device}: the ${what}: ${apart(edited[what], first[what])}`);
  }
  const blank = await browser.newPage();
  for (const [when, words] of [["early", "when loading ends"], ["later", "later"]]) {
    const share = await blank.evaluate(difference, [first[when], edited[when]], VISIBLY);
    const said = `${(100 * share).toFixed(1)} % of the picture differ ${words}; ${100 * BOUND} % may`;
    if (share > BOUND) wrong.push(`${device}: ${said}`);
  }
  return wrong;
}

const wrong = await withBrowser(async (browser) => [
  ...(await wrongOn(browser, "mobile")),
  ...(await wrongOn(browser, "desktop")),
]);
refuse([...new Set(wrong)]);
