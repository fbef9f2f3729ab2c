// Compares what the page offers with content.json: a check of this lab.  `node content.mjs record` writes that file anew.
//
// Each recorded text must still be visible, in the same order, and reach assistive technology.  There must be at least as
// many headings, links, controls, landmarks and pictures as recorded, and a description of a picture must say something.
import fs from "node:fs";
import { refuse, withBrowser, withPage } from "./browser.mjs";

const FILE = "content.json";
const LATER = 2000; // milliseconds

/** Return what a page offers: runs in the page. */
function offered() {
  const hiddenFromSome = (element) => {
    for (let each = element; each; each = each.parentElement ?? each.getRootNode().host) {
      if (each.getAttribute("aria-hidden") === "true" || each.inert) return "hidden from assistive technology";
      const style = getComputedStyle(each);
      if (Number(style.opacity) < 0.1) return "transparent";
      if (/circle\(0|inset\(50%|inset\(100%/.test(style.clipPath)) return "cut off";
    }
    return "";
  };
  const unseen = (element, rect) => {
    if (!element.checkVisibility({ visibilityProperty: true })) return "not shown";
    if (rect.width < 2 || rect.height < 2) return "too small to see";
    if (rect.right <= 0 || rect.bottom + scrollY <= 0 || rect.left >= innerWidth) return "outside the window";
    return hiddenFromSome(element);
  };
  const texts = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode.data.replace(/\s+/g, " ").trim();
    const parent = walker.currentNode.parentElement;
    if (!text || parent.closest("script, style, noscript, template")) continue;
    const range = document.createRange();
    range.selectNodeContents(walker.currentNode);
    const select = parent.closest("select"); // the options of a closed list have no place of their own
    const why = unseen(select ?? parent, (select ?? range).getBoundingClientRect())
      || (parseFloat(getComputedStyle(parent).fontSize) < 9 ? "written too small to read" : "");
    texts.push({ text, why });
  }
  const KINDS = {
    headings: "h1, h2, h3, h4, h5, h6, [role=heading]",
    links: "a[href]",
    buttons: "button, input[type=button], input[type=submit], [role=button]",
    fields: "input:not([type=hidden], [type=button], [type=submit], [type=checkbox], [type=radio]), textarea",
    boxes: "input[type=checkbox], input[type=radio]",
    lists: "select, ul, ol, dl",
    tables: "table",
    landmarks: "main, nav, header, footer, form, aside, [role=main], [role=navigation]",
    pictures: "img, svg, video, canvas",
  };
  const stripped = (element) => /^(none|presentation)$/.test(element.getAttribute("role") ?? "");
  const counts = {};
  for (const [kind, selector] of Object.entries(KINDS)) {
    const shown = [...document.querySelectorAll(selector)].filter((element) => !stripped(element));
    counts[kind] = shown.filter((element) => !unseen(element, element.getBoundingClientRect())).length;
  }
  const focusable = "a[href], button, input:not([type=hidden]), select, textarea";
  counts.reachable = [...document.querySelectorAll(focusable)].filter((each) => each.tabIndex >= 0 && !each.disabled).length;
  const pictures = [...document.images].map((image) => [image.getAttribute("src"), image.getAttribute("alt")]);
  return { texts, counts, pictures };
}

/** Return what the page offers when it has loaded, and later: a script could take something away in between. */
async function twice(page) {
  const first = await page.evaluate(offered);
  await new Promise((done) => setTimeout(done, LATER));
  return [first, await page.evaluate(offered)];
}

const [found, later] = await withBrowser((browser) => withPage(browser, "site", twice));

if (process.argv[2] === "record") {
  const content = {
    texts: found.texts.filter((each) => !each.why).map((each) => each.text),
    counts: found.counts,
    decorative: [], // pictures that say nothing, so that they need no description: write their src here
  };
  fs.writeFileSync(FILE, `${JSON.stringify(content, null, 2)}\n`);
  console.log(`${FILE}: ${content.texts.length} texts; write the pictures that are only decoration under "decorative"`);
  process.exit(0);
}

/** Return, as text, what was recorded and is missing from the page. */
function lacks(offer, wanted) {
  const wrong = [];
  const seen = offer.texts.filter((each) => !each.why).map((each) => each.text).join(" ");
  let at = 0;
  for (const text of wanted.texts) {
    const next = seen.indexOf(text, at);
    if (next >= 0) {
      at = next + text.length;
      continue;
    }
    const other = offer.texts.find((each) => each.text.includes(text));
    wrong.push(`the text ${JSON.stringify(text)} is ${!other ? "gone" : other.why || "in another place"}`);
  }
  for (const [kind, count] of Object.entries(wanted.counts)) {
    if (offer.counts[kind] < count) wrong.push(`${offer.counts[kind]} ${kind} instead of ${count}`);
  }
  for (const [src, description] of offer.pictures) {
    if (description === null || wanted.decorative.includes(src)) continue;
    const says = description.trim().toLowerCase();
    const nothing = ["", "image", "picture", "photo", "icon", "logo", src.toLowerCase()].includes(says);
    if (nothing) wrong.push(`the description of the picture ${src}, ${JSON.stringify(description)}, says nothing`);
  }
  return wrong;
}

const wanted = JSON.parse(fs.readFileSync(FILE, "utf8"));
const wrong = lacks(found, wanted);
refuse(wrong.length ? wrong : lacks(later, wanted).map((each) => `${LATER / 1000} seconds after loading, ${each}`));
