// Record the calls that the tests make to the edited files, for replay.py: `node measuring/record_node.mjs`.
//
// The tests run with this file loaded first in each of their processes.  There it wraps the functions that the editable
// modules export.  A call from outside is noted with its arguments; calls inside the modules are not, because an edit may
// change them.
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import Module, { register } from 'node:module';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import v8 from 'node:v8';

const MOST_CALLS = 2000;
const MOST_BYTES = 1_000_000;
const MOST_SECONDS = 0.5;
const here = path.dirname(fileURLToPath(import.meta.url));
const root = path.dirname(here);
const settings = JSON.parse(fs.readFileSync(path.join(here, 'replay.json'), 'utf8'));
const editable = new Map(settings.editable.map((each) => [fs.realpathSync(path.join(root, each)), each]));

if (process.env.RECORD_CALLS_INTO) wrapHere(process.env.RECORD_CALLS_INTO);
else recordAll();

function wrapHere(folder) {
  const calls = [];
  const seen = new Set();
  let depth = 0;
  let bytes = 0;
  let seconds = 0;

  function note(file, name, args) {
    let data;
    try {
      data = v8.serialize(args).toString('base64');
    } catch {
      return; // an argument that cannot be kept, such as a function
    }
    const key = `${file} ${name} ${data}`;
    if (seen.has(key) || calls.length >= MOST_CALLS || bytes + data.length > MOST_BYTES || seconds > MOST_SECONDS) return;
    seen.add(key);
    bytes += data.length;
    calls.push({ file, name, data });
  }

  function wrapped(file, name, given) {
    if (typeof given !== 'function' || /^class\b/.test(Function.prototype.toString.call(given))) return given;
    return new Proxy(given, {
      apply(target, self, args) {
        if (depth > 0) return Reflect.apply(target, self, args);
        note(file, name, args);
        depth += 1;
        const began = performance.now();
        try {
          return Reflect.apply(target, self, args);
        } finally {
          seconds += (performance.now() - began) / 1000;
          depth -= 1;
        }
      },
    });
  }

  globalThis[Symbol.for('autoresearch.wrapped')] = wrapped;
  const plain = Module._extensions['.js'];
  Module._extensions['.js'] = Module._extensions['.cjs'] = (module, filename) => {
    plain(module, filename);
    const file = editable.get(filename);
    if (file === undefined) return;
    if (typeof module.exports === 'function') {
      const whole = wrapped(file, '', module.exports);
      for (const name of Object.keys(module.exports)) whole[name] = wrapped(file, name, module.exports[name]);
      module.exports = whole;
    } else if (module.exports && typeof module.exports === 'object') {
      for (const name of Object.keys(module.exports)) {
        module.exports[name] = wrapped(file, name, module.exports[name]);
      }
    }
  };
  const files = Object.fromEntries([...editable].map(([full, file]) => [pathToFileURL(full).href, file]));
  register('./node_hooks.mjs', import.meta.url, { data: { wrap: files } });
  process.on('exit', () => {
    if (calls.length) fs.writeFileSync(path.join(folder, `${process.pid}.json`), JSON.stringify(calls));
  });
}

function recordAll() {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'calls-'));
  const options = `${process.env.NODE_OPTIONS ?? ''} --import ${import.meta.url}`;
  const env = { ...process.env, NODE_OPTIONS: options, RECORD_CALLS_INTO: folder };
  const ran = spawnSync('sh', ['-c', settings.tests], { cwd: root, env, stdio: 'inherit' });
  const found = new Map();
  for (const name of fs.readdirSync(folder)) {
    for (const call of JSON.parse(fs.readFileSync(path.join(folder, name), 'utf8'))) {
      found.set(JSON.stringify(call), call);
    }
  }
  fs.rmSync(folder, { recursive: true });
  if (ran.status !== 0) process.exit(ran.status ?? 1);
  const calls = [...found.values()].slice(0, MOST_CALLS);
  const target = path.join(here, 'calls.json');
  fs.writeFileSync(target, JSON.stringify(calls));
  const [once, again] = [probed(calls), probed(calls)];
  const kept = calls.filter((_, n) => once[n] !== null && once[n] === again[n]);
  fs.writeFileSync(target, JSON.stringify(kept));
  console.log(`${kept.length} calls recorded, ${calls.length - kept.length} left out because they cannot be repeated`);
  if (kept.length === 0) process.exit(1);
}

function probed(calls) {
  const worker = path.join(here, 'replay_node.mjs');
  const ran = spawnSync(process.execPath, [worker, 'probe'], { cwd: root, input: '', maxBuffer: 2 ** 28 });
  return ran.status === 0 ? JSON.parse(ran.stdout) : calls.map(() => null);
}
