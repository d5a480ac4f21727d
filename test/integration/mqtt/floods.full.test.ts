/** Everything that one credential can pour into Mosquitto, with the limits that we hand out for it. */
import assert from 'node:assert/strict';
import { it } from 'node:test';
import { hasMosquitto, startDynsecMosquitto, startMosquitto } from '../../support/broker.ts';
import { floods } from '../../support/floods.ts';

/** Six of the credentials leave a session behind, with up to 32 MiB of replies that they never fetched. */
const common = { isLossy: true, floodMs: 1_000, maxGrowthBytes: 256 * 1024 * 1024 };

if (hasMosquitto()) {
  floods({
    ...common,
    name: 'Mosquitto with a password file',
    start: (users) => startMosquitto(users),
    levels: [4, 5],
  });
  floods({
    ...common,
    name: 'Mosquitto with dynamic security',
    start: (users) => startDynsecMosquitto(users),
    levels: [5],
  });
} else it('needs mosquitto on the PATH', () => assert.fail('mosquitto is not installed'));
