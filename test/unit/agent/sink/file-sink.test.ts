import assert from 'node:assert/strict';
import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import fc from 'fast-check';
import { type AgentConfig, loadConfig } from '../../../../agent/config.ts';
import { deadLetterTo, FileSink } from '../../../../agent/sink/file-sink.ts';
import type { Result } from '../../../../shared/contract/result.ts';
import { isAppError } from '../../../../shared/runtime/errors.ts';
import { newId } from '../../../../shared/runtime/ids.ts';
import { temporaryFolder } from '../../../support/fixed.ts';
import { sinkMaker } from '../../../support/sinks.ts';

const failure = (input = 'a.jpg'): Result => ({
  id: newId(),
  pipeline: 'p',
  error: { code: 'EXPIRED', message: '' },
  input,
  atMs: 1,
});

/** Every line, parsed: a torn one throws. */
const linesOf = async (path: string): Promise<unknown[]> =>
  (await readFile(path, 'utf8'))
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line) as unknown);

async function pathIn(t: TestContext): Promise<string> {
  return join(await temporaryFolder(t), 'results', 'vision.ndjson');
}

test('writes one line a result, in a folder that it makes, and goes on where it was', async (t) => {
  const path = await pathIn(t);
  const results = [failure(), failure('zwei\nZeilen'), failure('ü')];
  const before = new FileSink({ path });
  await before.put(results[0]!);
  await before.put(results[1]!);
  await before.close();
  const after = new FileSink({ path });
  await after.put(results[2]!);
  await after.close();
  assert.deepEqual(await linesOf(path), results);
  assert.equal(after.name, `file:${path}`);
});

test('results that come beside each other are all there, each in a line of its own', async (t) => {
  const path = await pathIn(t);
  const sink = new FileSink({ path });
  const results = Array.from({ length: 50 }, (_, i) => failure('x'.repeat(i)));
  await Promise.all(results.map((result) => sink.put(result)));
  await sink.close();
  assert.deepEqual(await linesOf(path), results);
});

test('rotates before the limit, and keeps one predecessor', async (t) => {
  const path = await pathIn(t);
  const lineBytes = Buffer.byteLength(`${JSON.stringify(failure())}\n`);
  const maxBytes = 3 * lineBytes;
  const sink = new FileSink({ path, maxBytes });
  const results = Array.from({ length: 8 }, () => failure());
  for (const result of results) {
    await sink.put(result);
    assert.ok((await stat(path)).size <= maxBytes);
  }
  await sink.close();
  assert.deepEqual(await linesOf(`${path}.1`), results.slice(3, 6));
  assert.deepEqual(await linesOf(path), results.slice(6));
  assert.deepEqual((await readdir(join(path, '..'))).sort(), ['vision.ndjson', 'vision.ndjson.1']);
});

test('a result larger than the limit is written all the same, in a file of its own', async (t) => {
  const path = await pathIn(t);
  const sink = new FileSink({ path, maxBytes: 300 });
  const [small, large] = [failure(), failure('x'.repeat(1_000))];
  for (const result of [small, large, small]) await sink.put(result);
  await sink.close();
  assert.deepEqual(await linesOf(`${path}.1`), [large]);
  assert.deepEqual(await linesOf(path), [small]);
});

test('a last line that a power cut has torn is cut off, wherever it was torn', async (t) => {
  const path = await pathIn(t);
  await mkdir(join(path, '..'));
  const whole = [failure(), failure('ü'.repeat(50_000))];
  const torn = Buffer.from(`${JSON.stringify(failure('ü'.repeat(50_000)))}\n`);
  const last = failure();
  await fc.assert(
    fc.asyncProperty(fc.nat(torn.length - 1), fc.nat(2), async (cut, count) => {
      const kept = whole.slice(0, count);
      const before = Buffer.from(kept.map((result) => `${JSON.stringify(result)}\n`).join(''));
      await writeFile(path, Buffer.concat([before, torn.subarray(0, cut)]));
      const sink = new FileSink({ path });
      await sink.put(last);
      await sink.close();
      assert.deepEqual(await linesOf(path), [...kept, last]);
    }),
    { numRuns: 40 },
  );
});

test('a full disk has its code', async () => {
  const sink = new FileSink({ path: '/dev/full' });
  for (let i = 0; i < 2; i++)
    await assert.rejects(sink.put(failure()), (error) => isAppError(error, 'DISK_FULL'));
  await sink.close();
});

test('dead letters say which sink did not take which result, from all sinks at once', async (t) => {
  const path = await pathIn(t);
  const write = deadLetterTo(new FileSink({ path }));
  const letters = Array.from({ length: 20 }, (_, i) => ({ sink: `sink-${i}`, result: failure() }));
  await Promise.all(letters.map(({ sink, result }) => write(sink, result)));
  assert.deepEqual(await linesOf(path), letters);
});

test('pipelines that name the same file share it', async (t) => {
  const folder = await temporaryFolder(t);
  const config = join(folder, 'outrider.yaml');
  const sink = '{ type: file, path: all.ndjson }';
  await writeFile(
    config,
    `pipelines:
  - { name: one, task: text-classification, cloud: big, sinks: [${sink}] }
  - { name: two, task: text-classification, cloud: big, sinks: [${sink}] }\n`,
  );
  const loaded = (await loadConfig(['--config', config], {})) as AgentConfig;
  const { maker } = sinkMaker(loaded, folder);
  const sinks = (
    await Promise.all(loaded.pipelines.map((one) => maker.make(one, async () => undefined)))
  ).flat();
  const results = Array.from({ length: 20 }, (_, i) => failure('x'.repeat(i)));
  for (const [i, result] of results.entries()) await sinks[i % 2]!.put(result);
  await maker.stop();
  assert.deepEqual(await linesOf(join(folder, 'all.ndjson')), results);
});
