import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FleetTeller } from '../../../../agent/router/fleet-teller.ts';
import type { PairEvidence } from '../../../../shared/contract/fleet-evidence.ts';
import { FakeClock } from '../../../support/fake-clock.ts';
import { PAIR } from '../../../support/fleet-evidence.ts';

const seen = (requests: number, change: Partial<PairEvidence> = {}): PairEvidence => ({
  ...PAIR,
  ...{ requests, asked: requests, weights: requests, loss: 2, places: [[3, 2]] },
  twentieths: new Array<number>(19).fill(requests % 400),
  ...change,
});

/** A device of one pipeline. */
function device() {
  const clock = new FakeClock();
  const router: { fleetEvidence: PairEvidence | undefined } = { fleetEvidence: undefined };
  const routers = new Map([['pictures', router]]);
  const teller = new FleetTeller(routers, clock);
  const told = () => teller.next().map(({ requests }) => requests);
  return { clock, router, routers, teller, told };
}

test('tells what has grown by a tenth, begun anew, or was not told for an hour', async () => {
  const { clock, router, told } = device();
  assert.deepEqual(told(), []);
  const steps: [number, number[]][] = [
    [99, []],
    [100, [100]],
    [109, []],
    [110, [110]],
    [3, [3]],
    [50, []],
    [100, [100]],
  ];
  for (const [requests, expected] of steps) {
    router.fleetEvidence = seen(requests);
    assert.deepEqual(told(), expected, `${requests}`);
  }
  await clock.advance(3_599_000);
  assert.deepEqual(told(), []);
  await clock.advance(1_000);
  assert.deepEqual(told(), [100], 'the hub may have lost it');
  router.fleetEvidence = undefined;
  assert.deepEqual(told(), []);
});

test('pipelines that run the same models are one, and three pairs go with a message at most', () => {
  const { routers, router, teller } = device();
  router.fleetEvidence = seen(100);
  routers.set('door', {
    fleetEvidence: seen(300, {
      places: [
        [3, 1],
        [5, 1],
      ],
    }),
  });
  const [both, ...more] = teller.next();
  assert.deepEqual(more, []);
  assert.deepEqual(
    [both?.requests, both?.loss, both?.places, both?.twentieths[0]],
    [
      400,
      4,
      [
        [3, 3],
        [5, 1],
      ],
      300,
    ],
  );
  for (let index = 0; index < 5; index++)
    routers.set(`other-${index}`, { fleetEvidence: seen(200, { edgeDigest: `${index}`.repeat(64) }) });
  assert.deepEqual([teller.next().length, teller.next().length, teller.next().length], [3, 2, 0]);
});
