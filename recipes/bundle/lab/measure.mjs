// Prints the size of the built page: the bytes of all emitted files, each compressed by gzip as a server sends it.
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import zlib from "node:zlib";
import { build } from "./build.mjs";

const folder = fs.mkdtempSync(path.join(os.tmpdir(), "bundle-"));
process.on("exit", () => fs.rmSync(folder, { recursive: true })); // also when the build is refused
await build(folder);
const files = fs.readdirSync(folder, { recursive: true }).map((name) => path.join(folder, name));
const bodies = files.filter((file) => fs.statSync(file).isFile()).map((file) => fs.readFileSync(file));
const total = (sizes) => sizes.reduce((sum, size) => sum + size, 0);
console.log(`METRIC bytes=${total(bodies.map((body) => zlib.gzipSync(body, { level: 9 }).length))}`);
console.log(`METRIC uncompressed=${total(bodies.map((body) => body.length))}`);
console.log(`METRIC files=${bodies.length}`);
