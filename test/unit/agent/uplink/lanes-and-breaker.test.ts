import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Priority } from '../../../../agent/ports.ts';
import { Breaker } from '../../../../agent/uplink/breaker.ts';
import { Lanes } from '../../../../agent/uplink/lanes.ts';
import { FakeClock } from '../../../support/fake-clock.ts';

const always = (): boolean => true;
const drain = (lanes: Lanes, isOpen: (pipeline: string) => boolean = always): string[] => {
  const taken: string[] = [];
  for (let id = lanes.take(isOpen); id !== undefined; id = lanes.take(isOpen)) taken.push(id);
  return taken;
};

test('callers that wait go first, then feeds, then audits; pipelines take turns', () => {
  const lanes = new Lanes();
  const add = (id: string, pipeline: string, priority: Priority): void =>
    lanes.add({ id, pipeline, priority });
  for (const n of [1, 2, 3]) add(`a${n}`, 'a', 'feed');
  add('b1', 'b', 'feed');
  add('audit', 'a', 'background');
  add('now', 'c', 'interactive');
  assert.deepEqual(drain(lanes), ['now', 'a1', 'b1', 'a2', 'a3', 'audit']);
});

test('a pipeline that is closed keeps its place and holds up nobody', () => {
  const lanes = new Lanes();
  lanes.add({ id: 'a1', pipeline: 'a', priority: 'interactive' });
  lanes.add({ id: 'b1', pipeline: 'b', priority: 'background' });
  assert.deepEqual(
    drain(lanes, (pipeline) => pipeline !== 'a'),
    ['b1'],
  );
  assert.deepEqual(drain(lanes), ['a1']);
});

test('whatever comes and goes, each lane keeps its order and gives each id once', () => {
  const entry = fc.record({
    pipeline: fc.constantFrom('a', 'b', 'c'),
    priority: fc.constantFrom<Priority>('interactive', 'feed', 'background'),
  });
  fc.assert(
    fc.property(fc.array(fc.tuple(entry, fc.nat(9)), { maxLength: 60 }), (all) => {
      const lanes = new Lanes();
      const taken: { id: string; pipeline: string; priority: Priority }[] = [];
      const added = all.map(([one], at) => ({ ...one, id: String(at).padStart(4, '0') }));
      for (const [at, [, dice]] of all.entries()) {
        const one = added[at];
        if (!one) continue;
        lanes.add(one);
        assert.ok(lanes.has(one));
        if (dice > 6) {
          const id = lanes.take(always);
          const found = added.find((other) => other.id === id);
          if (found) taken.push(found);
        }
        // The link is lost: what was under way goes back.
        if (dice === 0) lanes.putBack(taken.splice(0));
        if (dice === 1) lanes.remove(one.id);
      }
      const removed = new Set(all.flatMap(([, dice], at) => (dice === 1 ? [added[at]?.id] : [])));
      const under = new Set(taken.map(({ id }) => id));
      const rest = drain(lanes);
      const wanted = added.filter(({ id }) => !under.has(id) && !removed.has(id)).map(({ id }) => id);
      assert.deepEqual([...rest].sort(), wanted);
      for (const { pipeline, priority } of added) {
        const mine = rest.filter((id) => {
          const one = added.find((other) => other.id === id);
          return one?.pipeline === pipeline && one.priority === priority;
        });
        assert.deepEqual(mine, [...mine].sort(), 'out of order');
      }
    }),
  );
});

test('five failures in a row open the breaker, a probe closes it or opens it for longer', async () => {
  const clock = new FakeClock();
  let probes = 0;
  const breaker = new Breaker({ clock, random: () => 0.5, onHalfOpen: () => probes++ });
  const fail = (times: number, retryAfterMs?: number): boolean[] =>
    Array.from({ length: times }, () => breaker.failed(retryAfterMs));
  fail(4);
  breaker.succeeded();
  assert.deepEqual(fail(4), [false, false, false, false], 'a success in between starts the count again');
  assert.equal(breaker.room, Number.POSITIVE_INFINITY);
  assert.deepEqual([breaker.failed(), breaker.room], [true, 0]);
  assert.deepEqual(fail(3), [false, false, false], 'what was asked before says nothing new');
  breaker.succeeded();
  assert.equal(breaker.room, 0, 'nor does a late answer');
  await clock.advance(500);
  assert.deepEqual([breaker.room, probes], [1, 1]);
  assert.deepEqual([breaker.failed(5_000), breaker.room], [true, 0]);
  await clock.advance(4_999);
  assert.equal(breaker.room, 0, 'no sooner than the hub said');
  await clock.advance(1);
  assert.deepEqual([breaker.room, probes], [1, 2]);
  breaker.succeeded();
  assert.equal(breaker.room, Number.POSITIVE_INFINITY);
  breaker.stop();
});
