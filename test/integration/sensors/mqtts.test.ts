/** Feeds and sinks at brokers that speak TLS: whom they believe, and what is said where they do not. */
import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { loadConfig } from '../../../agent/config.ts';
import { Authority } from '../../../shared/runtime/authority.ts';
import { systemClock } from '../../../shared/runtime/clock.ts';
import { silentLogger } from '../../../shared/runtime/logger.ts';
import { temporaryFolder } from '../../support/fixed.ts';
import { startOpenBroker } from '../../support/open-broker.ts';
import { eventually } from '../../support/programs.ts';
import { answerOf } from '../../support/results.ts';
import { sinkMaker } from '../../support/sinks.ts';
import { runFeed } from './feed-run.ts';

/** A broker with a certificate, and the files of who vouches for it and of who does not. */
async function tlsBroker(t: TestContext) {
  const folder = await temporaryFolder(t);
  const open = (name: string): Promise<Authority> =>
    Authority.open({ folder: join(folder, name), names: [], clock: systemClock, logger: silentLogger });
  const [own, stranger] = [await open('own'), await open('stranger')];
  const [cert, key] = await Promise.all([own.certFile, own.keyFile].map((path) => readFile(path, 'utf8')));
  const broker = await startOpenBroker(t, { tls: { cert: cert ?? '', key: key ?? '' } });
  await writeFile(join(folder, 'own.pem'), own.pem);
  await writeFile(join(folder, 'stranger.pem'), stranger.pem);
  await writeFile(join(folder, 'no.pem'), 'this is no certificate\n');
  return { broker, ca: (name: string) => join(folder, `${name}.pem`) };
}

const PLUG = { type: 'mqtt', channels: [{ topic: 'plug', path: 'w' }], window: { count: 2 } };

test('a feed reads over mqtts with the authority of its broker', async (t) => {
  const { broker, ca } = await tlsBroker(t);
  const run = await runFeed(t, { feed: { ...PLUG, url: broker.url, ca: ca('own') } });
  await run.until(({ state }) => state === 'live', 'live');
  for (const w of [1, 2]) await broker.publish('plug', JSON.stringify({ w }));
  await eventually(() => run.taken.length === 1, 'a window');
  assert.deepEqual(run.values(), [[[1], [2]]]);
});

for (const [what, name, code, words] of [
  [
    'another authority',
    'stranger',
    'HUB_UNTRUSTED',
    /certificate of the broker 127\.0\.0\.1:\d+ is not trusted/,
  ],
  ['none, and so the system’s', undefined, 'HUB_UNTRUSTED', /is not trusted/],
  ['a file that is not there', 'missing', 'FILE_UNREADABLE', /missing\.pem/],
  ['a file that is no certificate', 'no', 'CONFIG_INVALID', /no\.pem holds no certificate/],
] as const)
  test(`a feed with ${what} is failed, and says why`, async (t) => {
    const { broker, ca } = await tlsBroker(t);
    const feed = { ...PLUG, url: broker.url, ...(name !== undefined && { ca: ca(name) }) };
    const run = await runFeed(t, { feed });
    await run.until(({ state }) => state === 'failed', 'failed');
    assert.equal(run.status().reason?.code, code);
    assert.match(run.status().reason?.message ?? '', words);
  });

test('a sink over mqtts gives its Results, or says that it does not believe its broker', async (t) => {
  const { broker, ca } = await tlsBroker(t);
  const folder = await temporaryFolder(t);
  const path = join(folder, 'outrider.yaml');
  const sink = (topic: string, name: string) => ({ type: 'mqtt', url: broker.url, topic, ca: ca(name) });
  const sinks = [
    sink('good', 'own'),
    sink('bad', 'stranger'),
    { ...sink('ha', 'stranger'), discovery: 'homeassistant' },
  ];
  const pipeline = { name: 'one', task: 'text-classification', cloud: 'big', sinks };
  await writeFile(path, JSON.stringify({ device: 'gate-01', pipelines: [pipeline] }));
  const config = await loadConfig(['--config', path], {});
  if (config === 'help') return assert.fail();
  const { maker, states } = sinkMaker(config, join(folder, 'data'));
  const made = await maker.make(config.pipelines[0] ?? assert.fail(), () => Promise.resolve(undefined));
  await maker.start();
  t.after(() => maker.stop());
  const result = answerOf('POSITIVE', 0.9, { pipeline: 'one', task: 'text-classification' });
  const byName = (name: string) => made.find((one) => one.name === name) ?? assert.fail(name);
  const endOf = async (name: string): Promise<string> =>
    byName(name)
      .put(result)
      .then(() => 'taken')
      .catch((error: { code: string }) => error.code);
  await eventually(async () => (await endOf('mqtt:good')) === 'taken', 'taken');
  await eventually(async () => (await endOf('mqtt:bad')) === 'HUB_UNTRUSTED', 'told');
  await eventually(async () => {
    await endOf('homeassistant:one');
    return states.of('one').some(({ reason }) => reason?.code === 'HUB_UNTRUSTED');
  }, 'Home Assistant’s, too');
});
