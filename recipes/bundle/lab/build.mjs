// Builds the page into a folder with esbuild.  For a page of your own: call its build here, and list what it may not do.
import fs from "node:fs";
import path from "node:path";
import { packageOf, refuse } from "./browser.mjs";

const OPTIONS = ["minify", "target", "splitting", "treeShaking", "charset", "legalComments", "drop", "mangleProps"];

/** Build `src` into `folder`, with the options of build.json. */
export async function build(folder) {
  const options = JSON.parse(fs.readFileSync("build.json", "utf8"));
  refuse(Object.keys(options).filter((name) => !OPTIONS.includes(name)).map((name) => `build.json: ${name} is not allowed`));
  const esbuild = await packageOf("esbuild");
  const built = esbuild.build({
    ...options,
    ...(options.mangleProps ? { mangleProps: new RegExp(options.mangleProps) } : {}),
    entryPoints: ["src/main.js", "src/style.css"],
    bundle: true, format: "esm", outdir: folder, metafile: true, logLevel: "silent",
  });
  const { metafile } = await built.catch((failed) => refuse(failed.errors?.map(inWords) ?? [String(failed)]));
  const outputs = Object.values(metafile.outputs);
  const outside = outputs.flatMap((output) => output.imports.filter((each) => each.external).map((each) => each.path));
  refuse(outside.map((name) => `${name} is imported from outside the build, so its bytes are not counted`));
  fs.copyFileSync(path.join("src", "index.html"), path.join(folder, "index.html"));
}

/** Return a message of esbuild with its place. */
function inWords({ text, location }) {
  return location ? `${location.file}, line ${location.line}: ${text}` : text;
}
