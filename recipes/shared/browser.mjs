// Opens pages of a folder in Chromium.  Not editable: the scripts that measure and check use it.
//
// Chromium is the program that CHROME_PATH names, or chromium or google-chrome on PATH, or Google Chrome on a Mac.
import fs from "node:fs";
import http from "node:http";
import { createRequire } from "node:module";
import path from "node:path";
import { pathToFileURL } from "node:url";

const NAMES = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
const ON_A_MAC = ["Google Chrome.app/Contents/MacOS/Google Chrome", "Chromium.app/Contents/MacOS/Chromium"];
const WINDOW = { width: 1000, height: 800 };
const TYPES = {
  ".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8",
  ".mjs": "text/javascript; charset=utf-8", ".json": "application/json", ".svg": "image/svg+xml", ".png": "image/png",
  ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".webp": "image/webp", ".avif": "image/avif", ".gif": "image/gif",
  ".ico": "image/x-icon", ".woff2": "font/woff2", ".woff": "font/woff", ".txt": "text/plain; charset=utf-8",
};

/** Return the path of a package's main file in the lab's own folder of tools. */
export function packagePath(name) {
  const folder = path.resolve(process.env.AUTORESEARCH_TOOLS ?? ".tools");
  try {
    return createRequire(`${folder}/`).resolve(name);
  } catch {
    return refuse([`${name} is not in ${folder}; the line install under [tools] in lab.toml brings it`]);
  }
}

/** Import a package from the lab's own folder of tools. */
export async function packageOf(name) {
  const found = await import(pathToFileURL(packagePath(name)));
  return found.default ?? found;
}

/** Return the path of Chromium. */
export function chromium() {
  const folders = (process.env.PATH ?? "").split(path.delimiter);
  const inHome = path.join(process.env.HOME ?? "/", "Applications");
  const candidates = [
    process.env.CHROME_PATH,
    ...NAMES.flatMap((name) => folders.map((folder) => path.join(folder, name))),
    ...["/Applications", inHome].flatMap((folder) => ON_A_MAC.map((name) => path.join(folder, name))),
  ];
  const found = candidates.find((file) => file && fs.existsSync(file));
  if (!found) throw new Error("no Chromium: install Chromium or Google Chrome, or name it in CHROME_PATH");
  return found;
}

/** Return the options with which Chromium starts; for root, as in a container, its own sandbox is off. */
export function chromiumFlags() {
  const root = process.getuid?.() === 0;
  return ["--disable-dev-shm-usage", "--hide-scrollbars", "--mute-audio", ...(root ? ["--no-sandbox"] : [])];
}

/** Serve a folder on a free port of this machine; return its address and a function that ends it. */
export async function serve(folder) {
  const root = fs.realpathSync(folder);
  const server = http.createServer((request, response) => {
    const wanted = decodeURIComponent(new URL(request.url, "http://localhost").pathname);
    const file = path.join(root, wanted.endsWith("/") ? `${wanted}index.html` : wanted);
    let body;
    try {
      if (!fs.realpathSync(file).startsWith(root + path.sep)) throw new Error("outside the folder");
      body = fs.readFileSync(file);
    } catch {
      response.writeHead(404).end("not found");
      return;
    }
    response.writeHead(200, { "content-type": TYPES[path.extname(file)] ?? "application/octet-stream" }).end(body);
  });
  await new Promise((ready) => server.listen(0, "127.0.0.1", ready));
  const close = () => { server.closeAllConnections(); server.close(); };
  return { url: `http://127.0.0.1:${server.address().port}/`, close };
}

/** Run `work(browser)` with Chromium, end it afterwards, and return what `work` returns. */
export async function withBrowser(work) {
  const puppeteer = await packageOf("puppeteer-core");
  const browser = await puppeteer.launch({ executablePath: chromium(), args: chromiumFlags() });
  try {
    return await work(browser);
  } finally {
    await browser.close();
  }
}

/**
 * Run `work(page, seen)` with the page of a folder open, and return what it returns.
 *
 * `seen.outside` has the addresses of other servers that the page asked for (they are not reached), `seen.errors` the
 * errors of its scripts.  The size of the window is fixed, and animations are off.
 */
export async function withPage(browser, folder, work, { viewport = WINDOW, userAgent = "", until = "networkidle0" } = {}) {
  const server = await serve(folder);
  const context = await browser.createBrowserContext(); // nothing is left of pages that were open before
  try {
    const page = await context.newPage();
    const seen = { outside: [], errors: [] };
    await page.setViewport(viewport);
    if (userAgent) await page.setUserAgent(userAgent);
    await page.emulateMediaFeatures([{ name: "prefers-reduced-motion", value: "reduce" }]);
    await page.setRequestInterception(true);
    page.on("request", (request) => {
      const url = request.url();
      if (url.startsWith(server.url) || /^(data|blob):/.test(url)) return request.continue();
      seen.outside.push(url);
      return request.abort();
    });
    page.on("pageerror", (error) => seen.errors.push(String(error?.message ?? error)));
    await page.goto(`${server.url}index.html`, { waitUntil: until, timeout: 60000 });
    return await work(page, seen);
  } finally {
    await context.close();
    server.close();
  }
}

/** End the script with a reason, which the loop shows, if there is one. */
export function refuse(reasons) {
  if (reasons.length === 0) return;
  const more = reasons.length > 3 ? `; and ${reasons.length - 3} more` : "";
  console.error(reasons.slice(0, 3).join("; ") + more);
  process.exit(1);
}
