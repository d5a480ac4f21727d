/** Everything that one credential can pour into the embedded broker. */
import { startBrokerProgram } from '../../support/broker-program.ts';
import { floods } from '../../support/floods.ts';

floods({
  name: 'the embedded broker',
  start: (users) => startBrokerProgram(users),
  levels: [4],
  isLossy: false,
  floodMs: 1_000,
  maxGrowthBytes: 192 * 1024 * 1024,
});
