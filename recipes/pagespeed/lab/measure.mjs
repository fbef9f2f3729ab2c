// Prints what Lighthouse measures on the page, which a server on this machine serves: a slow phone is simulated.
//
// The time of the largest contentful paint is the metric, and not the score, because the score hardly moves near its ends.
import { packageOf, serve, withBrowser } from "./browser.mjs";

const lighthouse = await packageOf("lighthouse");
const server = await serve("site");
const options = { onlyCategories: ["performance"], output: "json", logLevel: "error" };
const audit = async (browser) => lighthouse(`${server.url}index.html`, options, undefined, await browser.newPage());
const result = (await withBrowser(audit)).lhr;
server.close();
const failed = result.runtimeError ?? result.audits["largest-contentful-paint"].errorMessage;
if (failed) throw new Error(`Lighthouse: ${failed.message ?? failed}`);
const number = (audit) => result.audits[audit].numericValue;
console.log(`METRIC lcp_ms=${number("largest-contentful-paint").toFixed(1)}`);
console.log(`METRIC fcp_ms=${number("first-contentful-paint").toFixed(1)}`);
console.log(`METRIC tbt_ms=${number("total-blocking-time").toFixed(1)}`);
console.log(`METRIC cls=${number("cumulative-layout-shift").toFixed(4)}`);
console.log(`METRIC bytes=${number("total-byte-weight")}`);
console.log(`METRIC score=${(100 * result.categories.performance.score).toFixed(1)}`);
