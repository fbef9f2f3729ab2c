// Make the recorded calls for replay.py.  The argument names the version: `first` or `edited`.
import fs from 'node:fs';
import Module, { createRequire, register } from 'node:module';
import path from 'node:path';
import readline from 'node:readline';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { inspect } from 'node:util';
import v8 from 'node:v8';

const LEAST_SECONDS = 0.01;
const MOST_PASSES = 60;
const usage = process.cpuUsage.bind(process);
const answer = process.stdout.write.bind(process.stdout);
process.stdout.write = process.stderr.write.bind(process.stderr); // keeps the functions' output out of the answers
const here = path.dirname(fileURLToPath(import.meta.url));
const root = path.dirname(here);
const settings = JSON.parse(fs.readFileSync(path.join(here, 'replay.json'), 'utf8'));
const notes = JSON.parse(fs.readFileSync(path.join(here, 'calls.json'), 'utf8'));
const require = createRequire(path.join(root, 'index.js'));
const which = process.argv[2];
let loads = 0;

if (which === 'first') {
  const full = (file) => path.join(here, 'first', `${file}.txt`);
  const urls = settings.editable.map((file) => [pathToFileURL(path.join(root, file)).href, full(file)]);
  register('./node_hooks.mjs', import.meta.url, { data: { first: Object.fromEntries(urls) } });
  const paths = new Map(settings.editable.map((file) => [path.join(root, file), full(file)]));
  const plain = Module._extensions['.js'];
  Module._extensions['.js'] = Module._extensions['.cjs'] = (module, filename) => {
    if (paths.has(filename)) module._compile(fs.readFileSync(paths.get(filename), 'utf8'), filename);
    else plain(module, filename);
  };
}

function isModule(file) {
  if (file.endsWith('.mjs')) return true;
  if (file.endsWith('.cjs')) return false;
  for (let folder = path.dirname(path.join(root, file)); ; folder = path.dirname(folder)) {
    const found = path.join(folder, 'package.json');
    if (fs.existsSync(found)) return JSON.parse(fs.readFileSync(found, 'utf8')).type === 'module';
    if (folder === path.dirname(folder)) return false;
  }
}

async function load() {
  loads += 1;
  for (const file of settings.editable) delete require.cache[path.join(root, file)];
  const loaded = {};
  for (const file of settings.editable) {
    const full = path.join(root, file);
    loaded[file] = isModule(file) ? await import(`${pathToFileURL(full).href}?load=${loads}`) : require(full);
  }
  return loaded;
}

const consumed = (value) =>
  value && typeof value.next === 'function' && typeof value[Symbol.iterator] === 'function' ? [...value] : value;
const told = (value) =>
  inspect(value, { depth: 12, maxArrayLength: null, maxStringLength: null, breakLength: Infinity, sorted: true });

function line(note, outcome) {
  const said = 'error' in outcome ? `throws ${outcome.error}` : told(outcome.value);
  return `${note.name || 'default'} -> ${said} | ${told(outcome.args)}`.replaceAll('\n', ' ');
}

async function aPass() {
  const loaded = await load();
  const prepared = notes.map((note) => {
    const found = loaded[note.file];
    return [note.name === '' ? found : found[note.name], v8.deserialize(Buffer.from(note.data, 'base64'))];
  });
  const outcomes = [];
  const before = usage();
  for (const [call, args] of prepared) {
    try {
      const value = call(...args);
      outcomes.push({ args, value: consumed(value && typeof value.then === 'function' ? await value : value) });
    } catch (error) {
      outcomes.push({ args, error });
    }
  }
  const used = usage(before);
  return [(used.user + used.system) / 1e6, outcomes];
}

if (which === 'probe') {
  const [, outcomes] = await aPass();
  const lines = outcomes.map((each, n) => (each.error?.code ? null : line(notes[n], each)));
  answer(JSON.stringify(lines));
  process.exit(0);
}
for await (const how of readline.createInterface({ input: process.stdin })) {
  let [passes, spent, outcomes] = [0, 0, []];
  const most = how === 'once' ? 1 : MOST_PASSES;
  while (passes === 0 || (spent < LEAST_SECONDS && passes < most)) {
    const [seconds, found] = await aPass();
    [passes, spent, outcomes] = [passes + 1, spent + seconds, found];
  }
  const lines = outcomes.map((each, n) => line(notes[n], each) + '\n');
  answer(`${(spent / passes).toFixed(9)} ${notes.length}\n${lines.join('')}`);
}
process.exit(0);
