/** A trainer as an operator's would be: takes the base, looks at the captures, writes a model folder. How it behaves says its first argument. */
import { cpSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { constants, getPriority } from 'node:os';
import { join } from 'node:path';

const [how, ...words] = process.argv.slice(2);
const flags = {};
for (let at = 0; at < words.length; at += 2) flags[words[at]] = words[at + 1];
const captures = readdirSync(flags['--captures']).filter((name) => name.endsWith('.jsonl'));
const rows = captures.flatMap((name) =>
  readFileSync(join(flags['--captures'], name), 'utf8').trim().split('\n').map(JSON.parse),
);
const secrets = Object.keys(process.env).filter((name) => name.startsWith('OUTRIDER_'));
console.log(`learns from ${rows.length} rows, first ${rows[0].text}; secrets: ${secrets.length}`);
if (how === 'fails') {
  console.error('\u001b[31mepoch 1\repoch 2: out of \u0007memory\u001b[0m');
  process.exit(3);
}
if (how === 'hangs') setInterval(() => undefined, 1_000);
else {
  // What is set by the one that starts it comes a moment later.
  for (
    let tries = 0;
    how === 'waits' && getPriority() < constants.priority.PRIORITY_LOW && tries < 200;
    tries++
  )
    await new Promise((resolve) => setTimeout(resolve, 10));
  console.log(`priority ${getPriority()}`);
  cpSync(flags['--base'], flags['--out'], { recursive: true });
  const file = join(flags['--out'], 'outrider.json');
  const spec = JSON.parse(readFileSync(file, 'utf8'));
  // Another version: its card says that it was tried.
  spec.batch = { safe: true, maxSize: 4 };
  writeFileSync(file, JSON.stringify(spec));
}
