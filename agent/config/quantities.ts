/** Values as people write them in `outrider.yaml`: durations, sizes, addresses of brokers. */
import { z } from 'zod';
import { duration } from '../../shared/runtime/quantities.ts';

export { duration, rate, size } from '../../shared/runtime/quantities.ts';

/** Where a broker is. */
export const mqttUrl = z.url({ protocol: /^(mqtts?|wss?)$/ });

/** A finite source that is gone through again and again. */
export const repeat = z.strictObject({
  /** Wait between two inputs from the second pass on. @example 2s */
  pace: duration,
});
