import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createAgentMetrics } from '../../../../agent/metrics.ts';
import type { Sink } from '../../../../agent/ports.ts';
import { Fanout } from '../../../../agent/sink/fanout.ts';
import { MqttSink } from '../../../../agent/sink/mqtt-sink.ts';
import { SinkStates } from '../../../../agent/sink/sink-states.ts';
import type { Result } from '../../../../shared/contract/result.ts';
import { AppError, isAppError } from '../../../../shared/runtime/errors.ts';
import { newId } from '../../../../shared/runtime/ids.ts';
import { FakeClock, settle } from '../../../support/fake-clock.ts';
import { MemoryMqtt } from '../../../support/memory-mqtt.ts';
import { recordingLogger } from '../../../support/recording-logger.ts';

/** As many as may wait behind one that its sink refuses. */
const MAX_WAITING = 1_000;

function failure(): Result {
  return { id: newId(), pipeline: 'p', error: { code: 'EXPIRED', message: '' }, input: null, atMs: 1 };
}

/** A sink that does as it is told. */
class TestSink implements Sink {
  readonly name: string;
  readonly got: string[] = [];
  attempts = 0;
  up = true;
  #inside = 0;

  constructor(name: string) {
    this.name = name;
  }

  async put({ id }: Result): Promise<void> {
    this.attempts++;
    assert.equal(this.#inside++, 0, 'one at a time');
    await new Promise((resolve) => setImmediate(resolve));
    this.#inside--;
    if (!this.up) throw new AppError('BROKER_UNREACHABLE');
    this.got.push(id);
  }
}

function setUp(...names: string[]) {
  const clock = new FakeClock();
  const logger = recordingLogger();
  const metrics = createAgentMetrics();
  const sinks = names.map((name) => new TestSink(name));
  const deadLetters: { readonly sink: string; readonly id: string }[] = [];
  const parts = { clock, logger, metrics };
  const fanout = new Fanout({
    sinks,
    deadLetter: async (sink, { id }) => void deadLetters.push({ sink, id }),
    ...parts,
  });
  /** Longer than all the tries together. */
  const outlast = () => clock.advance(5 * 60_000);
  return { clock, logger, metrics, sinks, deadLetters, parts, fanout, outlast };
}

const idsOf = (results: readonly Result[]): string[] => results.map(({ id }) => id);

test('every sink gets every result, in order', async () => {
  const { fanout, sinks } = setUp('a', 'b');
  const results = Array.from({ length: 20 }, failure);
  await Promise.all(results.map((result) => fanout.deliver(result, false)));
  for (const sink of sinks) assert.deepEqual(sink.got, idsOf(results));
});

test('without a sink a result is delivered at once', async () => {
  const { fanout } = setUp();
  await fanout.deliver(failure(), true);
  await fanout.stop();
});

test('a sink that comes back gets what it missed, in order', async () => {
  const { fanout, sinks, clock, deadLetters } = setUp('a');
  const [sink] = sinks as [TestSink];
  sink.up = false;
  const results = [failure(), failure()];
  const delivering = Promise.all(results.map((result) => fanout.deliver(result, false)));
  await clock.advance(1_000);
  assert.deepEqual(sink.got, []);
  assert.ok(sink.attempts > 1);
  sink.up = true;
  await clock.advance(30_000);
  await delivering;
  assert.deepEqual(sink.got, idsOf(results));
  assert.deepEqual(deadLetters, []);
});

test('what a sink will not take goes to the dead letters, is counted, and makes way for the next', async () => {
  const { fanout, sinks, outlast, deadLetters, metrics } = setUp('a');
  const [sink] = sinks as [TestSink];
  sink.up = false;
  const [lost, next] = [failure(), failure()];
  const delivering = fanout.deliver(lost, true);
  await outlast();
  await delivering;
  assert.equal(sink.attempts, 10);
  assert.deepEqual(deadLetters, [{ sink: 'a', id: lost.id }]);
  assert.match(await metrics.text(), /outrider_sink_dead_letters_total\{sink="a"\} 1/);
  sink.up = true;
  await fanout.deliver(next, true);
  assert.deepEqual(sink.got, [next.id]);
});

test('one dead sink holds up neither the others nor, for ever, whoever waits', async () => {
  const { fanout, sinks, outlast } = setUp('dead', 'alive');
  const [dead, alive] = sinks as [TestSink, TestSink];
  dead.up = false;
  const results = Array.from({ length: 5 }, failure);
  const delivering = Promise.all(results.map((result) => fanout.deliver(result, true)));
  for (let i = 0; i < 10; i++) await settle();
  assert.deepEqual(alive.got, idsOf(results));
  for (let i = 0; i < results.length; i++) await outlast();
  await delivering;
});

test('dead letters that cannot be written are told, and nobody waits for them', async () => {
  const { sinks, parts, outlast, logger, metrics } = setUp('a');
  const [sink] = sinks as [TestSink];
  sink.up = false;
  const fanout = new Fanout({ sinks, deadLetter: () => Promise.reject(new AppError('DISK_FULL')), ...parts });
  const delivering = fanout.deliver(failure(), false);
  await outlast();
  await delivering;
  assert.equal(logger.failures().at(-1), 'sink.dead_letter_lost DISK_FULL');
  const text = await metrics.text();
  assert.match(text, /outrider_sink_lost_total\{sink="a",reason="DISK_FULL"\} 1/);
  assert.doesNotMatch(text, /outrider_sink_dead_letters_total\{/, 'it is not among them');
});

test('a stop ends the waiting: into the dead letters, or back to the outbox that still holds it', async () => {
  const { fanout, sinks, deadLetters } = setUp('dead', 'alive');
  const [dead, alive] = sinks as [TestSink, TestSink];
  dead.up = false;
  const [loose, owed] = [failure(), failure()];
  const delivering = fanout.deliver(loose, false);
  const owing = fanout.deliver(owed, true);
  owing.catch(() => undefined);
  await settle();
  await fanout.stop();
  await delivering;
  await assert.rejects(owing, (error) => isAppError(error, 'STOPPING'));
  assert.deepEqual(deadLetters, [{ sink: 'dead', id: loose.id }]);
  assert.deepEqual(alive.got, [loose.id, owed.id]);
  // What comes after the stop, from a pipeline that still works, has one chance.
  dead.up = true;
  await fanout.deliver(owed, true);
  assert.deepEqual(dead.got, [owed.id]);
});

test('behind a result that its sink refuses only so many wait in memory; the rest are dead letters at once', async () => {
  const { fanout, sinks, deadLetters, clock } = setUp('dead', 'alive');
  const [dead, alive] = sinks as [TestSink, TestSink];
  dead.up = false;
  const first = fanout.deliver(failure(), false);
  await settle();
  const results = Array.from({ length: MAX_WAITING + 50 }, failure);
  const delivering = results.map((result) => fanout.deliver(result, true));
  for (let i = 0; alive.got.length <= results.length && i < 1_000; i++) await settle();
  assert.equal(alive.got.length, results.length + 1);
  assert.deepEqual(
    deadLetters.map(({ id }) => id),
    idsOf(results.slice(MAX_WAITING - 1)),
  );
  await Promise.all(delivering.slice(MAX_WAITING - 1));

  dead.up = true;
  // The longest wait before a try; a sink that has not answered by a minute is taken for one that hangs.
  await clock.advance(30_000);
  for (let i = 0; dead.got.length < MAX_WAITING && i < 1_000; i++) await settle();
  await Promise.all([first, ...delivering]);
  assert.deepEqual(dead.got.slice(1), idsOf(results.slice(0, MAX_WAITING - 1)), 'in order, none twice');
  // The sink is well again: a burst is no reason for dead letters.
  const before = deadLetters.length;
  await Promise.all(Array.from({ length: 2 * MAX_WAITING }, () => fanout.deliver(failure(), false)));
  assert.equal(deadLetters.length, before);
});

test('a sink that hangs is refusing after a minute, and holds up neither the others nor the stop', async () => {
  const { clock, logger, metrics, deadLetters } = setUp();
  const alive = new TestSink('alive');
  const hanging: Sink = { name: 'hanging', put: () => new Promise(() => undefined) };
  const states = new SinkStates({ clock, logger, metrics });
  const fanout = new Fanout({
    sinks: [hanging, alive],
    watch: ({ name }, waiting) => states.add({ pipeline: 'p', name, type: 'file' }, waiting),
    deadLetter: async (sink, { id }) => void deadLetters.push({ sink, id }),
    ...{ clock, logger, metrics },
  });
  const results = [failure(), failure()];
  const delivering = results.map((result) => fanout.deliver(result, false));
  await clock.advance(61_000);
  assert.deepEqual(alive.got, idsOf(results));
  const [hung, well] = states.of('p');
  assert.deepEqual([hung?.state, hung?.reason?.code, hung?.waiting], ['refusing', 'SINK_STALLED', 2]);
  assert.deepEqual([well?.state, well?.delivered, well?.waiting], ['ready', 2, 0]);
  const stopping = fanout.stop();
  await clock.advance(3_000);
  await Promise.all([stopping, ...delivering]);
  assert.deepEqual(
    deadLetters.map(({ sink }) => sink),
    ['hanging', 'hanging'],
  );
  assert.equal(states.of('p')[0]?.dropped, 2);
});

test('a sink is asked once for each result whether it wants it, in order', async () => {
  const { parts } = setUp();
  const sink = new TestSink('a');
  const asked: string[] = [];
  const wants = ({ id }: Result): boolean => asked.push(id) % 2 === 0;
  const fanout = new Fanout({
    sinks: [{ name: 'a', wants, put: (result) => sink.put(result) }],
    deadLetter: () => Promise.resolve(),
    ...parts,
  });
  const results = Array.from({ length: 4 }, failure);
  await Promise.all(results.map((result) => fanout.deliver(result, false)));
  assert.deepEqual(asked, idsOf(results));
  assert.deepEqual(sink.got, [results[1]?.id, results[3]?.id]);
});

test('an MQTT sink publishes the result as JSON and reports what the broker did not take', async () => {
  const connection = new MemoryMqtt();
  const sink = new MqttSink({ connection, topic: 'home/gate', qos: 1 });
  const result = failure();
  await assert.rejects(sink.put(result), (error) => isAppError(error, 'BROKER_UNREACHABLE'));
  connection.connect();
  await sink.put(result);
  assert.equal(sink.name, 'mqtt:home/gate');
  assert.deepEqual(
    connection.published.map(({ topic, text, qos }) => [topic, JSON.parse(text), qos]),
    [['home/gate', result, 1]],
  );
});
