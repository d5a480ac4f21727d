import assert from 'node:assert/strict';
import { appendFile, mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { z } from 'zod';
import { DeltaMaker, type DeltaMakerOptions } from '../../../../cloud/deltas/delta-maker.ts';
import { DeltaShelf } from '../../../../cloud/deltas/delta-shelf.ts';
import { filePairs, type PairFacts, wantedPairs } from '../../../../cloud/deltas/wanted-pairs.ts';
import { createHubMetrics } from '../../../../cloud/metrics.ts';
import type { DeltaKind } from '../../../../shared/contract/deltas.ts';
import { digest, type ModelRef } from '../../../../shared/contract/names.ts';
import { decodeDelta } from '../../../../shared/release/delta/decode.ts';
import { encodeDelta } from '../../../../shared/release/delta/encode.ts';
import { type Delta, deltaPath } from '../../../../shared/release/release.ts';
import { AppError } from '../../../../shared/runtime/errors.ts';
import { fileSha256 } from '../../../../shared/runtime/file-digest.ts';
import { silentLogger as logger } from '../../../../shared/runtime/logger.ts';
import { FakeClock, settle } from '../../../support/fake-clock.ts';
import { quickFolder } from '../../../support/fixed.ts';
import { recordingLogger } from '../../../support/recording-logger.ts';
import { SignedHub } from '../../../support/signed-hub.ts';

const ref = (version: string, name = 'edge'): ModelRef => ({
  ...{ name, version },
  digest: `${name === 'edge' ? 'a' : 'b'}${version}`.padEnd(64, '0'),
});
const device = (id: string, edge: ModelRef, deltaKinds?: string[]): PairFacts['devices'][number] => ({
  id,
  reported: {
    agentVersion: '1.0.0',
    pipelines: [{ name: 'p', task: 'image-classification', edge, cloud: null }],
    ...(deltaKinds && { deltaKinds }),
  },
});
const published = (...versions: string[]) => versions.map((one) => ({ ...ref(one), published: true }));
const textOf = (pairs: ReturnType<typeof wantedPairs>): string[] =>
  pairs.map(({ base, result }) => `${base.name} ${base.version}-${result.version}`);

test('differences are made from what devices have to what they are to have, the most devices first', () => {
  const facts: PairFacts = {
    devices: [
      device('1', ref('1')),
      device('2', ref('2')),
      device('3', ref('2')),
      device('4', ref('7', 'other')),
    ],
    wantedBy: (id) => (id === '4' ? [ref('8', 'other')] : [ref('4')]),
    versions: published('1', '2', '3', '4'),
  };
  assert.deepEqual(textOf(wantedPairs(facts, [])), ['edge 2-4', 'edge 1-4', 'other 7-8', 'edge 3-4']);
  const next = wantedPairs({ ...facts, devices: [], wantedBy: () => [] }, [ref('5')]);
  assert.deepEqual(textOf(next), ['edge 4-5', 'edge 3-4'], 'for devices that report later');
});

test('a difference is of a kind that the devices of the model have told, and of none where one has told nothing', () => {
  const kinds = (...devices: PairFacts['devices']) =>
    wantedPairs({ devices, wantedBy: () => [], versions: published('1', '2') }, []).map((one) => one.kinds);
  const [old, today, later] = [
    device('1', ref('1')),
    device('2', ref('1'), ['steps']),
    device('3', ref('1'), ['of-a-later-agent', 'steps']),
  ];
  assert.deepEqual(kinds(), [['steps']], 'nobody runs it yet: what comes is of today');
  assert.deepEqual(kinds(today, later), [['steps']]);
  assert.deepEqual(kinds(old), [[undefined]]);
  assert.deepEqual(kinds(old, today), [['steps', undefined]]);
  assert.deepEqual(kinds(device('4', ref('9', 'other')), today), [['steps']], 'another model’s device');
});

test('of many versions that devices have, four are worth it', () => {
  const many = Array.from({ length: 9 }, (_, i) => device(`${i}`, ref(`${i + 1}`)));
  const facts: PairFacts = {
    devices: [...many, device('more', ref('5'))],
    wantedBy: () => [ref('10')],
    versions: published('10'),
  };
  const pairs = wantedPairs(facts, []);
  assert.deepEqual([pairs.length, pairs[0]?.base.version], [4, '5']);
});

test('files are paired by path, then by kind and size; small ones, and ones that are there, are not', () => {
  const file = (path: string, sha256: string, bytes = 100_000) => ({ path, sha256, bytes });
  const base = [file('onnx/model.onnx', 'a'), file('tokenizer.json', 'b'), file('config.json', 'c', 500)];
  const pairs = filePairs(base, [
    file('onnx/model_int8.onnx', 'd'),
    file('tokenizer.json', 'e'),
    file('config.json', 'f', 600),
    file('copy.onnx', 'a'),
    file('vocabulary.txt', 'g'),
  ]);
  assert.deepEqual(
    pairs.map((one) => `${one.base.path} ${one.result.path}`),
    ['onnx/model.onnx onnx/model_int8.onnx', 'tokenizer.json tokenizer.json'],
  );
});

/** Files of four versions on a disk, each a little different, and a repository that signs. */
async function setUp(t: TestContext, changes: Partial<DeltaMakerOptions> & { maxBytes?: number } = {}) {
  const folder = await quickFolder(t);
  const hub = await SignedHub.open();
  t.after(() => rm(hub.root, { recursive: true, force: true }));
  const clock = new FakeClock();
  const copies = new Map<string, NonNullable<ReturnType<DeltaMakerOptions['copyOf']>>>();
  const text = Array.from({ length: 20_000 }, (_, i) => `${(i * 7_919) % 99_991}`);
  for (const version of ['1', '2', '3', '4']) {
    const path = join(folder, version, 'words.txt');
    await mkdir(dirname(path));
    await writeFile(path, [...text, `version ${version}`].join(' '));
    const { size } = await stat(path);
    copies.set(version, {
      folder: dirname(path),
      files: [{ path: 'words.txt', sha256: await fileSha256(path), bytes: size }],
    });
  }
  const facts: { devices: PairFacts['devices']; versions: PairFacts['versions'] } = {
    devices: [device('1', ref('1'))],
    versions: published('1', '2'),
  };
  const shelfFolder = join(folder, 'deltas');
  const openShelf = () =>
    DeltaShelf.open({ folder: shelfFolder, maxBytes: changes.maxBytes ?? 1e6, clock, logger });
  const shelf = await openShelf();
  const log = recordingLogger();
  const made: string[] = [];
  const options: DeltaMakerOptions = {
    shelf,
    facts: () => ({ ...facts, wantedBy: () => [] }),
    copyOf: ({ version }) => copies.get(version),
    updates: hub.repository,
    make: async ({ base, result, out, ...wanted }) => {
      made.push(`${basename(dirname(base.path))}-${basename(dirname(result.path))}`);
      return encodeDelta({ base, result, out }, wanted);
    },
    ...{ clock, logger: log, metrics: createHubMetrics() },
    ...changes,
  };
  const maker = new DeltaMaker(options);
  t.after(() => maker.stop());
  const listed = () => hub.repository.deltas();
  return { folder, hub, clock, copies, facts, shelf, openShelf, shelfFolder, maker, made, listed, log };
}

test('a difference is made, listed among the signed targets, and makes the file', async (t) => {
  const { folder, maker, shelf, listed, hub, made, copies } = await setUp(t);
  await maker.prepare(ref('2'), 60_000);
  const [delta] = listed();
  assert.ok(delta && delta.bytes < 1_000);
  assert.deepEqual(
    [delta.base, delta.result],
    ['1', '2'].map((one) => copies.get(one)?.files[0]?.sha256),
  );
  const target = hub.repository.target(`deltas/${delta.sha256}.${delta.base}-${delta.result}`);
  assert.deepEqual(target, { sha256: delta.sha256, bytes: delta.bytes });
  const seen = hub.device();
  await seen.refresh();
  assert.deepEqual(seen.deltas(), [delta], 'a device that verifies sees the same');
  const out = join(folder, 'out');
  decodeDelta(
    { base: join(folder, '1', 'words.txt'), delta: shelf.pathOf(delta.sha256) ?? '', out },
    delta.resultBytes,
  );
  assert.equal(await fileSha256(out), delta.result);
  await maker.prepare(ref('2'), 60_000);
  assert.deepEqual(made, ['1-2'], 'once');
  const release = { version: hub.repository.targets().etag };
  await maker.prepare(ref('2'), 60_000);
  assert.equal(hub.repository.targets().etag, release.version, 'nothing is signed again for nothing');
});

/** As an agent of before there were kinds reads the signed targets (release.ts and delta-targets.ts of version 0.1.0, 2026-11-29). */
function seenBefore(targets: Record<string, { custom?: unknown }>): string[] {
  const custom = z.object({
    delta: z.object({ base: digest, result: digest, resultBytes: z.int().nonnegative() }),
  });
  return Object.entries(targets).flatMap(([path, target]) => {
    const read = custom.safeParse(target.custom);
    if (!path.startsWith('deltas/') || !read.success) return [];
    return path === `deltas/${read.data.delta.base}-${read.data.delta.result}` ? [path] : [];
  });
}

test('beside one of a kind an older agent is offered one that it can read, and sees no other; today’s agent sees both', async (t) => {
  const makes: string[] = [];
  const { maker, facts, listed, hub, shelf, openShelf } = await setUp(t, {
    make: async ({ base, result, out, ...wanted }) => {
      makes.push(wanted.kinds.join());
      const encoded = encodeDelta({ base, result, out }, wanted);
      // Words have no numbers of 8 bits: only what it is said to be of counts here.
      const [kind] = wanted.kinds;
      if (!kind || !('bytes' in encoded)) return encoded;
      await appendFile(out, 'another content');
      return { ...encoded, kind };
    },
  });
  const targets = () => JSON.parse(Buffer.from(hub.repository.targets().body).toString()).signed.targets;
  facts.devices = [device('1', ref('1'), ['steps'])];
  await maker.prepare(ref('2'), 60_000);
  assert.deepEqual([makes, seenBefore(targets())], [['steps'], []]);
  assert.equal(listed()[0]?.kind, 'steps');

  facts.devices = [...facts.devices, device('2', ref('1'))];
  await maker.prepare(ref('2'), 60_000);
  assert.deepEqual(makes, ['steps', '']);
  const old = seenBefore(targets());
  assert.equal(old.length, 1);
  const plain = shelf.all().find(({ kind }) => kind === undefined) ?? assert.fail();
  assert.equal(
    hub.repository.target(`deltas/${plain.sha256}.${plain.base}-${plain.result}`)?.bytes,
    plain.bytes,
  );
  const seen = hub.device();
  await seen.refresh();
  const byPath = (all: readonly Delta[]) => [...all].sort((a, b) => deltaPath(a).localeCompare(deltaPath(b)));
  assert.deepEqual(byPath(seen.deltas()), byPath(shelf.all()));
  assert.deepEqual(byPath((await openShelf()).all()), byPath(shelf.all()));
  await maker.prepare(ref('2'), 60_000);
  assert.equal(makes.length, 2, 'once each');
});

test('one that might have been of a kind and is of none is made once, for older agents too', async (t) => {
  const { maker, facts, listed, made } = await setUp(t);
  facts.devices = [device('1', ref('1')), device('2', ref('1'), ['steps'])];
  await maker.prepare(ref('2'), 60_000);
  assert.deepEqual([made, listed().map(({ kind }) => kind)], [['1-2'], [undefined]]);
});

test('of a hub of before there were kinds an agent reads differences as ever, and passes over one of a kind that it does not know', async (t) => {
  const { hub } = await setUp(t);
  const [base, result] = ['b'.repeat(64), 'c'.repeat(64)];
  const known = { base, result, resultBytes: 100_000, sha256: 'd'.repeat(64), bytes: 9 };
  await hub.repository.listDeltas([known, { ...known, sha256: 'e'.repeat(64), kind: 'later' as DeltaKind }]);
  assert.deepEqual(
    seenBefore(JSON.parse(Buffer.from(hub.repository.targets().body).toString()).signed.targets),
    [`deltas/${base}-${result}`],
    'named as it always was',
  );
  const seen = hub.device();
  await seen.refresh();
  assert.deepEqual(seen.deltas(), [known]);
});

test('a record of before there were kinds is begun anew: what is in its differences it does not say', async (t) => {
  const { maker, openShelf, shelfFolder } = await setUp(t);
  await maker.prepare(ref('2'), 60_000);
  const path = join(shelfFolder, 'index.json');
  const index = JSON.parse(await readFile(path, 'utf8'));
  await writeFile(path, JSON.stringify({ ...index, schema: 1 }));
  assert.deepEqual((await openShelf()).all(), []);
});

test('a report of another version brings its difference, at first demand', async (t) => {
  const { maker, facts, clock, made, listed } = await setUp(t);
  maker.start();
  facts.versions = published('1', '2', '3', '4');
  facts.devices = [device('1', ref('2'))];
  maker.consider();
  await clock.advance(5_000);
  await settle();
  assert.deepEqual(made, ['2-4', '3-4']);
  assert.equal(listed().length, 2);
});

test('it is gone when a version is gone, and when there is no room it is the one that was fetched longest ago', async (t) => {
  const { maker, facts, listed, shelf, shelfFolder, copies, clock } = await setUp(t);
  facts.versions = published('1', '2', '3');
  facts.devices = [device('1', ref('1')), device('2', ref('2'))];
  await maker.prepare(ref('3'), 60_000);
  assert.equal(listed().length, 2);
  copies.delete('1');
  await clock.advance(1_000);
  await maker.prepare(ref('3'), 60_000);
  assert.deepEqual(
    listed().map(({ base }) => base),
    [copies.get('2')?.files[0]?.sha256],
  );
  assert.equal(shelf.all().length, 1);
  const shelves = (await readdir(shelfFolder)).filter((name) => name.length === 2);
  const files = await Promise.all(shelves.map((name) => readdir(join(shelfFolder, name))));
  assert.equal(files.flat().length, 1);

  const small = await setUp(t, { maxBytes: 80 });
  small.facts.devices = [device('1', ref('1')), device('2', ref('2')), device('3', ref('3'))];
  small.facts.versions = published('1', '2', '3', '4');
  await small.maker.prepare(ref('4'), 60_000);
  assert.ok(small.shelf.bytes <= 80 && small.listed().length < 3, `${small.shelf.bytes}`);
  assert.equal(small.listed().length, small.shelf.all().length);
});

test('after a restart what was made is there; what is damaged is not listed, nor a torn record believed', async (t) => {
  const { maker, openShelf, shelfFolder, listed, hub, made } = await setUp(t);
  await maker.prepare(ref('2'), 60_000);
  const [delta] = listed();
  assert.ok(delta);
  const again = await openShelf();
  assert.deepEqual(again.all(), [delta]);
  await rm(again.pathOf(delta.sha256) ?? '');
  assert.deepEqual((await openShelf()).all(), []);
  await writeFile(join(shelfFolder, 'index.json'), '{"schema":1,');
  assert.deepEqual((await openShelf()).all(), []);
  await hub.repository.listDeltas([]);
  assert.deepEqual([listed(), made.length], [[], 1]);
});

test('one that is not worth it, and one that cannot be made, are not tried again; nothing of either is listed', async (t) => {
  for (const make of [
    async () => ({ tooLarge: true }) as const,
    () => Promise.reject(new AppError('DELTA_INVALID', 'its program ended')),
  ]) {
    let tries = 0;
    const { maker, listed } = await setUp(t, {
      make: () => {
        tries++;
        return make();
      },
    });
    await maker.prepare(ref('2'), 60_000);
    await maker.prepare(ref('2'), 60_000);
    assert.deepEqual([tries, listed()], [1, []]);
  }
});

test('a full disk is told and tried again; a publication waits for no difference for ever', async (t) => {
  let tries = 0;
  const full = await setUp(t, {
    make: () => {
      tries++;
      return Promise.reject(new AppError('DISK_FULL'));
    },
  });
  await full.maker.prepare(ref('2'), 60_000);
  await full.maker.prepare(ref('2'), 60_000);
  assert.equal(tries, 2);
  assert.ok(full.log.lines.some(({ event }) => event === 'deltas.failed'));

  const slow = await setUp(t, {
    make: (_files, { signal }) =>
      new Promise((_resolve, reject) => {
        signal.addEventListener('abort', () => reject(new AppError('STOPPING')));
      }),
  });
  let isOver = false;
  const waiting = slow.maker.prepare(ref('2'), 30_000).then(() => {
    isOver = true;
  });
  await settle();
  assert.ok(!isOver);
  await slow.clock.advance(30_000);
  await waiting;
  await slow.maker.stop();
});

test('a hub without the key of targets makes them, and lists nothing by itself', async (t) => {
  const { hub } = await setUp(t);
  const { maker, shelf, listed } = await setUp(t, {
    updates: {
      canList: false,
      deltas: () => hub.repository.deltas(),
      listDeltas: () => assert.fail('it has no key'),
    },
  });
  await maker.prepare(ref('2'), 60_000);
  assert.deepEqual([shelf.all().length, listed().length], [1, 0]);
  assert.match(deltaPath(shelf.all()[0] ?? assert.fail()), /^deltas\/[0-9a-f]{64}-[0-9a-f]{64}$/);
});
