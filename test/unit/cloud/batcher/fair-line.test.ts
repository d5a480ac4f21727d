import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { FairLine } from '../../../../cloud/batcher/fair-line.ts';
import type { Priority } from '../../../../cloud/ports.ts';

interface Item {
  readonly name: string;
  readonly priority: Priority;
  readonly caller: string;
  readonly deadlineMonoMs: number;
}

const item = (name: string, caller: string, more: Partial<Item> = {}): Item => ({
  ...{ name, caller, priority: 'interactive', deadlineMonoMs: 0 },
  ...more,
});

function lineOf(...items: readonly Item[]): FairLine<Item> {
  const line = new FairLine<Item>();
  for (const one of items) line.put(one);
  return line;
}

const many = (caller: string, count: number, more: Partial<Item> = {}): Item[] =>
  Array.from({ length: count }, (_, at) => item(`${caller}${at}`, caller, { deadlineMonoMs: at, ...more }));

const names = (items: readonly Item[]): string[] => items.map(({ name }) => name);

test('one caller’s requests go by their deadlines, equal ones first come, first served', () => {
  const line = lineOf(
    item('late', 'a', { deadlineMonoMs: 9 }),
    item('first', 'a', { deadlineMonoMs: 1 }),
    item('second', 'a', { deadlineMonoMs: 1 }),
  );
  assert.equal(line.first()?.name, 'first');
  assert.deepEqual(names(line.take(9)), ['first', 'second', 'late']);
  assert.equal(line.length, 0);
});

test('whoever comes to a long line of another’s is next, and from then on they take turns', () => {
  const line = lineOf(...many('hog', 1_000));
  line.take(200);
  // Its deadline is later than those of all that wait.
  for (const one of many('light', 3, { deadlineMonoMs: 5_000 })) line.put(one);
  const next = line.take(6).map(({ caller }) => caller);
  assert.deepEqual(next.filter((caller) => caller === 'light').length, 3);
  assert.ok(next.indexOf('light') <= 1, next.join());
});

test('a caller who asks one by one gets no more than every other turn', () => {
  const line = lineOf(...many('hog', 100));
  const served: string[] = [];
  for (let turn = 0; turn < 40; turn++) {
    if (![...line].some(({ caller }) => caller === 'light'))
      line.put(item(`light${turn}`, 'light', { deadlineMonoMs: -1 }));
    served.push(...line.take(1).map(({ caller }) => caller));
  }
  assert.equal(served.filter((caller) => caller === 'hog').length, 20);
});

test('priorities share by weight, and none starves', () => {
  const line = lineOf(
    ...many('page', 400),
    ...many('camera', 400, { priority: 'device' }),
    ...many('nightly', 400, { priority: 'background' }),
  );
  const served = line.take(210);
  const of = (priority: Priority): number => served.filter((one) => one.priority === priority).length;
  assert.deepEqual([of('interactive'), of('device'), of('background')], [160, 40, 10]);
});

test('a priority that comes back has saved up no turns', () => {
  const line = lineOf(...many('nightly', 300, { priority: 'background' }));
  line.take(200);
  for (const one of many('page', 100)) line.put(one);
  const served = line.take(34).filter(({ priority }) => priority === 'background').length;
  assert.ok(served >= 1 && served <= 3, `${served} in the background`);
});

test('takes only what fits, of callers that fit, and leaves the others where they are', () => {
  const line = lineOf(...many('a', 3), ...many('b', 3));
  assert.deepEqual(names(line.take(9, ({ name }) => name.endsWith('1'))).sort(), ['a1', 'b1']);
  assert.deepEqual(names(line.takeOf((caller) => caller === 'b')), ['b0']);
  assert.deepEqual(
    line.takeOf(() => false),
    [],
  );
  assert.equal(line.length, 3);
});

test('what is taken out of turn costs no turn', () => {
  const [first, ...rest] = many('a', 3);
  assert.ok(first);
  const line = lineOf(first, ...rest, ...many('b', 2));
  assert.equal(line.remove(first), true);
  assert.equal(line.remove(first), false);
  assert.deepEqual(names(line.take(9)).length, 4);
});

test('whatever comes and goes, each is given out once, and no caller is more than a turn ahead while both wait', () => {
  const action = fc.oneof(
    fc.record({ put: fc.constantFrom('a', 'b', 'c'), deadline: fc.integer({ min: 0, max: 9 }) }),
    fc.record({ take: fc.integer({ min: 1, max: 3 }) }),
  );
  fc.assert(
    fc.property(fc.array(action, { maxLength: 80 }), (actions) => {
      const line = new FairLine<Item>();
      const waiting = new Set<string>();
      let next = 0;
      for (const one of actions) {
        if ('put' in one) {
          const name = `${next++}`;
          waiting.add(name);
          line.put(item(name, one.put, { deadlineMonoMs: one.deadline }));
        } else for (const { name } of line.take(one.take)) assert.ok(waiting.delete(name), name);
        assert.equal(line.length, waiting.size);
      }
      const counts = new Map<string, number>();
      const left = [...line].map(({ caller }) => caller);
      for (;;) {
        const [served] = line.take(1);
        if (served === undefined) break;
        counts.set(served.caller, (counts.get(served.caller) ?? 0) + 1);
        const still = new Set([...line].map(({ caller }) => caller));
        const of = [...new Set(left)]
          .filter((caller) => still.has(caller))
          .map((caller) => counts.get(caller) ?? 0);
        // They may have begun a turn apart, and be one apart now.
        if (of.length > 1) assert.ok(Math.max(...of) - Math.min(...of) <= 2, of.join());
      }
    }),
  );
});
