// Prints how many parts of the page break a rule of axe-core, at a fixed size of the window.
//
// Automatic rules find only some of the barriers that a person meets.  axe-core runs in a JavaScript world of its own, so
// a script of the page cannot change it.
import fs from "node:fs";
import { packagePath, refuse, withBrowser, withPage } from "./browser.mjs";

const OPTIONS = { resultTypes: ["violations", "incomplete"], elementRef: false };

/** Return what axe-core finds on a page. */
async function audit(page, seen) {
  const session = await page.createCDPSession();
  const { frameTree } = await session.send("Page.getFrameTree");
  const world = { frameId: frameTree.frame.id, worldName: "measure" };
  const { executionContextId } = await session.send("Page.createIsolatedWorld", world);
  const run = async (expression) => {
    const options = { expression, contextId: executionContextId, awaitPromise: true, returnByValue: true };
    const { result, exceptionDetails } = await session.send("Runtime.evaluate", options);
    if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
    return result.value;
  };
  await run(`${fs.readFileSync(packagePath("axe-core"), "utf8")};0`);
  return { ...(await run(`axe.run(document, ${JSON.stringify(OPTIONS)})`)), outside: seen.outside };
}

const found = await withBrowser((browser) => withPage(browser, "site", audit));
refuse(found.outside.map((url) => `the page loads ${url}; this lab measures only what is in the folder site`));

const parts = (results) => results.reduce((sum, rule) => sum + rule.nodes.length, 0);
for (const rule of found.violations) {
  console.log(`${rule.id} (${rule.impact}): ${rule.help}`);
  for (const node of rule.nodes) console.log(`    ${node.target.join(" ")}`);
}
console.log(`METRIC violations=${parts(found.violations)}`);
console.log(`METRIC rules=${found.violations.length}`);
console.log(`METRIC undecided=${parts(found.incomplete)}`);
