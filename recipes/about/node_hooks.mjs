// Hooks with which Node loads the editable modules: wrapped, while calls are recorded, or in their first version.
import fs from 'node:fs';
import { fileURLToPath } from 'node:url';

let wrap = {};
let first = {};

export function initialize(data) {
  wrap = data.wrap ?? {};
  first = data.first ?? {};
}

export async function load(url, context, nextLoad) {
  const [plain, query] = url.split('?');
  const file = wrap[plain];
  if (file !== undefined && query !== 'original' && (await isModule(url, context, nextLoad))) {
    const names = Object.keys(await import(`${plain}?original`));
    const lines = names.map((name, n) => {
      const wrapped = `wrapped(${JSON.stringify(file)}, ${JSON.stringify(name)}, original[${JSON.stringify(name)}])`;
      return `const e${n} = ${wrapped};\nexport { e${n} as ${name} };`;
    });
    const source = [
      `import * as original from ${JSON.stringify(`${plain}?original`)};`,
      "const wrapped = globalThis[Symbol.for('autoresearch.wrapped')];",
      ...lines,
    ].join('\n');
    return { format: 'module', source, shortCircuit: true };
  }
  if (first[plain] !== undefined) {
    const loaded = await nextLoad(url, context);
    return loaded.format === 'module' ? { ...loaded, source: fs.readFileSync(first[plain], 'utf8') } : loaded;
  }
  return nextLoad(url, context);
}

async function isModule(url, context, nextLoad) {
  if (context.format) return context.format === 'module';
  return (await nextLoad(url, context)).format === 'module' || fileURLToPath(url.split('?')[0]).endsWith('.mjs');
}
