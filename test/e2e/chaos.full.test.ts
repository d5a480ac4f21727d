/** A minute of chaos through each broker: kills and bad links, nothing lost and nothing answered in two ways. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { toText } from '../chaos/report.ts';
import { isWell, runChaos } from '../chaos/run.ts';

// Side by side: most of a minute of chaos is waiting for what was killed.
describe('chaos', { concurrency: true }, () => {
  for (const broker of ['aedes', 'mosquitto'] as const) {
    test(`accepted is never lost, nor answered in two ways, through ${broker}`, async (t) => {
      const report = await runChaos({
        broker,
        minutes: 1,
        // Another one each time; the report says which, so that a failure can be had again.
        seed: Date.now() % 2 ** 32,
        devices: 1,
        perSecond: 20,
        keep: false,
        onProgress: () => undefined,
        signal: t.signal,
      });
      console.log(toText(report));
      const kills = Object.values(report.kills).reduce((sum, one) => sum + one, 0);
      assert.ok(kills >= 8, `only ${kills} kills`);
      assert.deepEqual(report.deaths, []);
      assert.deepEqual(report.usageTwice, []);
      assert.ok(isWell(report));
    });
  }
});
