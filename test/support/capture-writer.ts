/** Captures one text after another, says a dot for each, erases some, until it is killed. */
import { Captures } from '../../cloud/captures/captures.ts';
import { textFingerprint } from '../../cloud/captures/near.ts';
import { createHubMetrics } from '../../cloud/metrics.ts';
import { systemClock as clock } from '../../shared/runtime/clock.ts';
import { sha256Hex } from '../../shared/runtime/ids.ts';
import { silentLogger as logger } from '../../shared/runtime/logger.ts';
import { sharedText } from './captures.ts';

const [folder = '', round = ''] = process.argv.slice(2);
const captures = new Captures({
  ...{ folder, maxBytes: 40_000, maxAgeMs: 86_400_000, clock, logger, metrics: createHubMetrics() },
  fingerprints: {
    of: async ({ body }) => textFingerprint(Buffer.from(body).toString()),
    ofAnything: async () => undefined,
  },
  isActive: () => true,
  events: { publish: () => undefined },
});
await captures.start();
for (let i = 0; ; i++) {
  const text = Array.from({ length: 40 }, (_, at) => sha256Hex(`${round}/${i}/${at}`).slice(0, 8)).join(' ');
  captures.take(sharedText(text, { device: `gate-${i % 7}`, edge: i % 3 ? 'GOOD' : 'BAD' }));
  await captures.settled();
  if (i % 11 === 10) await captures.erase({ device: `gate-${i % 7}` }, null);
  process.stdout.write('.');
}
