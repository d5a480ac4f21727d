/** `outrider route simulate` as a user runs it, on captures of a made-up pair of models. */
import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { z } from 'zod';
import { seededRandom } from '../../../shared/runtime/random.ts';
import { temporaryFolder } from '../../support/fixed.ts';
import { outrider } from '../../support/programs.ts';

const SHORT = ['--runs', '5', '--requests', '2000', '--agreement', '0.95'];

async function run(t: TestContext, cwd: string, ...args: string[]) {
  const program = outrider(t, ['route', 'simulate', ...args], { cwd });
  const { code } = await program.exited;
  return { code, output: program.output() };
}

/** Local answers that are right as often as they say. */
async function captured(t: TestContext): Promise<string> {
  const folder = await temporaryFolder(t);
  const random = seededRandom(2);
  const lines = Array.from({ length: 3_000 }, (_, index) => {
    const score = 1 - 0.5 * random.next() ** 3;
    const label = random.next() < score ? 'cat' : 'dog';
    const local = [
      { label: 'cat', score },
      { label: 'dog', score: 1 - score },
    ];
    return JSON.stringify({ id: `r${index}`, local, cloud: [{ label, score: 0.99 }], bytes: 1_000 });
  });
  await writeFile(join(folder, 'captures.jsonl'), lines.join('\n'));
  return folder;
}

test('prints the curve and every way to decide, and draws them', async (t) => {
  const folder = await captured(t);
  const task = ['--task', 'image-classification'];
  const { code, output } = await run(t, folder, 'captures.jsonl', ...SHORT, ...task, '--svg', 'curve.svg');
  assert.equal(code, 0, output);
  assert.match(output, /^Promise: with 95 % confidence, 95 % of all answers are the cloud’s\.$/m);
  assert.match(output, /^3,000 captures: /m);
  assert.match(output, /^ +100 % +100\.00 %$/m);
  for (const way of ['edge only', 'probability from 0\\.5', 'probability from 0\\.9', 'oracle threshold'])
    assert.match(output, new RegExp(`^${way} +\\d+\\.\\d % +– +\\d+\\.\\d\\d % +(kept|broken)$`, 'm'));
  assert.match(output, /^learned, 2,000 requests +\d.* % +\d.* % +\d.* % +broken in \d+ % of 5 runs$/m);
  assert.match(output, /The figure is in curve\.svg\./);
  const svg = await readFile(join(folder, 'curve.svg'), 'utf8');
  assertWellFormed(svg);
  assert.match(svg, /promised: 95 %/);
});

const point = z.object({ escalated: z.number().min(0).max(1), agreement: z.number().min(0).max(1) });
const report = z.object({
  captures: z.literal(3_000),
  edgeOnly: point,
  curve: z.array(point).length(11),
  oracle: point.extend({ threshold: z.number() }),
  fixed: z.array(point.extend({ name: z.string() })).length(3),
  drawn: z
    .object({
      learned: z.array(point.extend({ requests: z.int(), calls: z.number(), broken: z.number() })).length(2),
    })
    .nullable(),
  inOrder: z.object({ stretches: z.array(point).length(10) }).nullable(),
});

test('prints JSON, the same for the same seed', async (t) => {
  const folder = await captured(t);
  const args = ['--json', 'captures.jsonl', ...SHORT, '--task', 'image-classification', '--seed', '9'];
  const [one, same] = await Promise.all([run(t, folder, ...args), run(t, folder, ...args)]);
  assert.equal(one.output, same.output);
  const { edgeOnly, oracle, drawn } = report.parse(JSON.parse(one.output));
  const late = drawn?.learned.at(-1);
  assert.ok(edgeOnly.agreement < 0.95 && oracle.agreement >= 0.95);
  assert.ok(late && late.escalated >= oracle.escalated && late.escalated < 1);
});

test('replays in order, once', async (t) => {
  const folder = await captured(t);
  const task = ['--task', 'image-classification'];
  const { output } = await run(t, folder, 'captures.jsonl', '--in-order', '--json', ...SHORT, ...task);
  assert.equal(report.parse(JSON.parse(output)).drawn, null);
});

test('says what it can do, and what is wrong in one sentence', async (t) => {
  const folder = await captured(t);
  const group = outrider(t, ['route', '--help']);
  await group.exited;
  assert.match(group.output(), /^ {2}simulate /m);
  const help = await run(t, folder, '--help');
  assert.equal(help.code, 0);
  assert.match(help.output, /^Usage: outrider route simulate \[options\] <captures\.jsonl>[\s\S]*--in-order/);
  const cases: [string[], number, RegExp][] = [
    [[], 2, /one file of captures is needed.*USAGE/],
    [['captures.jsonl', '--sideways'], 2, /--sideways.*see outrider route simulate --help.*USAGE/],
    [['captures.jsonl', '--agreement', '2', '--runs', 'many'], 2, /--agreement: .*--runs: .*USAGE/],
    [['none.jsonl'], 1, /none\.jsonl cannot be read: .+ \(FILE_UNREADABLE\)/],
    [['captures.jsonl'], 1, /captures\.jsonl line 1: it names no task.*BAD_REQUEST/],
  ];
  for (const [args, exitCode, said] of cases) {
    const { code, output } = await run(t, folder, ...args);
    assert.match(output, said);
    assert.equal(code, exitCode, output);
  }
});

/** Every tag is closed, in turn. */
function assertWellFormed(svg: string): void {
  const open: string[] = [];
  for (const [, close, name = '', self] of svg.matchAll(/<(\/?)([a-zA-Z]+)(?:"[^"]*"|[^"<>])*?(\/?)>/g)) {
    if (close) assert.equal(open.pop(), name);
    else if (!self) open.push(name);
  }
  assert.deepEqual(open, []);
  assert.equal(svg.replace(/<(?:"[^"]*"|[^"<>])*>/g, '').match(/[<>]/), null, 'stray < or >');
}
