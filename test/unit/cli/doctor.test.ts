import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { checkAgent } from '../../../cli/doctor/agent.ts';
import { askedFindings, checkDevice, checkSkew, loadFindings } from '../../../cli/doctor/hub.ts';
import { checkClock, checkDisk, checkPort, checkVersions } from '../../../cli/doctor/machine.ts';
import { checkModels } from '../../../cli/doctor/models.ts';
import { checkUpdates } from '../../../cli/doctor/updates.ts';
import type { UpdateReport } from '../../../shared/contract/messages.ts';
import type { Runner } from '../../../shared/inference/runner/runner.ts';
import { AppError } from '../../../shared/runtime/errors.ts';
import { VERSION } from '../../../shared/runtime/version.ts';
import { cannedDevice } from '../../support/canned-hub.ts';
import { EDGE_MODEL, temporaryFolder } from '../../support/fixed.ts';
import { freePort } from '../../support/ports.ts';

const NOW_AT_MS = Date.UTC(2030, 0, 1, 12);
const levels = (findings: readonly { level: string }[]) => findings.map(({ level }) => level);
const MODELS = new URL('../../../models', import.meta.url).pathname;

test('finds its own versions good', async () => {
  assert.deepEqual(levels(await checkVersions()), ['ok', 'ok', 'ok']);
});

test('says what a hub’s models take together, and for which more waits than is answered', () => {
  const model = (name: string, waiting: number, maxQueue: number | null = null) =>
    ({
      ...{ name, waiting, maxQueue },
      loaded: waiting > 0,
      memoryBytes: waiting > 0 ? 150e6 : null,
    }) as const;
  const [held, ...behind] = loadFindings([model('calm', 0), model('asked', 600), model('short', 600, 1_000)]);
  assert.deepEqual([held?.level, held?.found], ['ok', '2 of 3 in memory, 300.0 MB; 1200 requests wait']);
  assert.deepEqual(levels(behind), ['warn']);
  assert.match(behind[0]?.found ?? '', /^600 requests wait for short:/);
  assert.equal(loadFindings([model('calm', 0)])[0]?.found, '0 of 1 in memory, 0 B');
  assert.deepEqual(loadFindings([]), []);
});

test('says which pipelines ask a cloud model that is not there, or does something else', () => {
  const { reported, ...rest } = cannedDevice({ id: 'gate-01' });
  const [pipeline] = reported?.pipelines ?? [];
  assert.ok(pipeline && reported);
  const asks = (id: string, cloud: string | null) => ({
    ...{ ...rest, id },
    reported: {
      ...reported,
      pipelines: [{ ...pipeline, name: 'gate', task: 'image-classification' as const, cloud }],
    },
  });
  const models = [
    { name: 'vit', task: 'image-classification' as const },
    { name: 'words', task: 'text-classification' as const },
  ];
  assert.deepEqual(askedFindings([asks('a', 'vit'), asks('b', null)], models), []);
  const found = askedFindings([asks('a', 'words'), asks('b', 'vti'), asks('c', 'vti')], models);
  assert.deepEqual(
    found.map(({ level, found: said }) => [level, said]),
    [
      ['fail', 'words does text-classification, not image-classification: a / gate asks in vain'],
      ['fail', 'there is no model vti: b / gate and 1 more ask in vain'],
    ],
  );
});

test('a clock before the release fails', async () => {
  assert.equal((await checkClock(NOW_AT_MS)).level, 'ok');
  assert.equal((await checkClock(0)).level, 'fail');
});

test('tries the data folder and leaves nothing in it; one that is not there yet is no fault', async (t) => {
  const data = await temporaryFolder(t);
  const findings = await checkDisk(data);
  assert.deepEqual(
    findings.map(({ about }) => about),
    ['disk room', 'disk writes'],
  );
  assert.match(findings[1]?.found ?? '', /safe on disk after [\d.]+ ms/);
  assert.deepEqual(await readdir(data), []);
  assert.deepEqual(levels(await checkDisk(join(data, 'nowhere'))), ['ok']);
});

test('a taken port is a warning unless one of ours answers there', async (t) => {
  const port = await freePort();
  const wanted = { port, wantedBy: 'hub', flag: '--hub-port', isOurs: false };
  assert.match((await checkPort(wanted)).found, /free/);
  const server = createServer().listen(port, '127.0.0.1');
  t.after(() => server.close());
  await new Promise((resolve) => server.once('listening', resolve));
  const taken = await checkPort(wanted);
  assert.deepEqual([taken.level, taken.todo?.includes('--hub-port')], ['warn', true]);
  assert.equal((await checkPort({ ...wanted, isOurs: true })).level, 'ok');
});

test('compares the clocks by the hub’s Date', () => {
  const at = (skewMs: number) => checkSkew(new Date(NOW_AT_MS - skewMs).toUTCString(), NOW_AT_MS);
  assert.deepEqual(
    [0, 29_000, 60_000, -60_000, 600_000].map((skew) => at(skew)[0]?.level),
    ['ok', 'ok', 'warn', 'warn', 'fail'],
  );
  assert.match(at(3_600_000)[0]?.found ?? '', /60 min ahead of/);
  assert.match(at(-3_600_000)[0]?.found ?? '', /60 min behind/);
  assert.deepEqual(checkSkew(null, NOW_AT_MS), []);
});

test('says of a device only what is not as it should be', () => {
  const telemetry = cannedDevice().telemetry!;
  const well = cannedDevice({
    reported: { agentVersion: VERSION, pipelines: [] },
    telemetry: { ...telemetry, outbox: { entries: 5, bytes: 5, deadLetters: 0 } },
  });
  assert.deepEqual(checkDevice(well, NOW_AT_MS), []);
  const level = (overrides: Partial<typeof well>) =>
    levels(checkDevice({ ...well, ...overrides }, NOW_AT_MS));
  assert.deepEqual(level({ expiresAtMs: NOW_AT_MS - 1 }), ['fail']);
  assert.deepEqual(level({ expiresAtMs: NOW_AT_MS + 86_400_000 }), ['warn']);
  assert.deepEqual(level({ expiresAtMs: NOW_AT_MS + 10 * 86_400_000 }), []);
  assert.deepEqual(level({ contestedAtMs: 1 }), ['fail']);
  assert.deepEqual(level({ reported: { agentVersion: '0.0.1', pipelines: [] } }), ['warn']);
  assert.deepEqual(level({ telemetry }), ['warn'], 'dead letters');
});

const AGENT = {
  device: 'gate-01',
  version: VERSION,
  link: {
    online: true,
    hub: 'http://127.0.0.1:8080',
    outbox: { entries: 0, bytes: 0, oldestAtMs: null, deadLetters: 0 },
  },
  pipelines: [{ name: 'vision' }],
  updates: [],
};

test('says of an agent how its link and its outbox are', () => {
  const about = (state: Parameters<typeof checkAgent>[0]) =>
    Object.fromEntries(checkAgent(state, NOW_AT_MS).map((one) => [one.about, one.level]));
  const link = AGENT.link;
  assert.deepEqual([...new Set(Object.values(about(AGENT)))], ['ok']);
  assert.equal(about({ ...AGENT, link: { ...link, online: false } }).link, 'fail');
  assert.equal(about({ ...AGENT, link: { ...link, online: false, hub: null } }).link, 'warn');
  const old = { ...link.outbox, entries: 1, oldestAtMs: NOW_AT_MS - 7_200_000 };
  assert.equal(about({ ...AGENT, link: { ...link, outbox: old } }).outbox, 'warn');
  const dead = { ...link.outbox, deadLetters: 2 };
  assert.equal(about({ ...AGENT, link: { ...link, outbox: dead } })['dead letters'], 'warn');
  assert.equal(about({ ...AGENT, version: '0.0.1' })['agent version'], 'warn');
});

test('says of each sink what it has taken, and of one that does not why', () => {
  const sink = { name: 'webhook:example.com', state: 'ready', sinceAtMs: NOW_AT_MS - 60_000, reason: null };
  const counts = { delivered: 3, dropped: 1, waiting: 2 };
  const found = (one: NonNullable<Parameters<typeof checkAgent>[0]['pipelines'][number]['sinks']>[number]) =>
    checkAgent({ ...AGENT, pipelines: [{ name: 'vision', sinks: [one] }] }, NOW_AT_MS).find(
      ({ about }) => about === 'sink of vision',
    );
  assert.deepEqual(found({ ...sink, ...counts }), {
    about: 'sink of vision',
    level: 'ok',
    found: 'webhook:example.com: 3 delivered, 2 waiting, 1 dropped',
    todo: null,
  });
  const reason = { code: 'ADDRESS_REFUSED', message: '10.0.0.2 is not a public address' } as const;
  const refusing = found({ ...sink, ...counts, state: 'refusing', reason });
  assert.equal(refusing?.level, 'fail');
  assert.match(
    refusing?.found ?? '',
    /refusing for .*: 10\.0\.0\.2 is not a public address \(ADDRESS_REFUSED\)/,
  );
  assert.match(refusing?.todo ?? '', /allowPrivate/);
});

test('names the code of an update that was refused or waits, and is silent about one under way', () => {
  const update: UpdateReport = {
    model: EDGE_MODEL,
    phase: 'trial',
    error: null,
    test: 'golden',
    downloadedBytes: 1,
    totalBytes: 1,
    answers: 1,
    atMs: 1,
  };
  assert.deepEqual(checkUpdates('updates', [update]), []);
  const error = { code: 'MODEL_SELF_TEST_FAILED', message: 'golden input 2' } as const;
  const [refused, waits] = checkUpdates('updates', [
    { ...update, phase: 'rolled-back', error },
    { ...update, phase: 'checking', error: { code: 'UPDATE_EXPIRED', message: 'an hour ago' } },
  ]);
  assert.match(refused?.found ?? '', /edge-model v1 was refused: golden input 2 \(MODEL_SELF_TEST_FAILED\)/);
  assert.match(waits?.found ?? '', /waits.*UPDATE_EXPIRED/);
});

test('tries each model in a runner of its own, and goes on after one that fails', async (t) => {
  let running = 0;
  const startRunner = async (): Promise<Runner> => {
    running++;
    return {
      facts: { executionProvider: 'cpu' },
      stop: async () => {
        running--;
      },
    } as unknown as Runner;
  };
  const loaded = await checkModels(MODELS, { startRunner, selfTest: undefined });
  assert.ok(loaded.length >= 4);
  assert.ok(loaded.every(({ level }) => level === 'ok'));
  const tested = await checkModels(MODELS, {
    startRunner,
    selfTest: async (_runner, { spec }) => {
      if (spec.name === 'cifar10-vit') throw new AppError('MODEL_SELF_TEST_FAILED', 'golden input 2');
      return { kind: 'golden', medianMs: 3 };
    },
  });
  assert.equal(tested.length, loaded.length);
  assert.deepEqual(
    tested.filter(({ level }) => level !== 'ok').map(({ about }) => about),
    ['model cifar10-vit'],
  );
  const foundOf = (about: string): string => tested.find((one) => one.about === about)?.found ?? '';
  assert.match(foundOf('model cifar10-vit'), /golden input 2 \(MODEL_SELF_TEST_FAILED\)/);
  assert.match(foundOf('model cifar10-cnn'), /golden answers.*3\.0 ms/);
  assert.equal(running, 0);

  const empty = await temporaryFolder(t);
  assert.deepEqual(levels(await checkModels(join(empty, 'nowhere'), { startRunner, selfTest: undefined })), [
    'fail',
  ]);
  assert.deepEqual(levels(await checkModels(empty, { startRunner, selfTest: undefined })), ['warn']);
});
