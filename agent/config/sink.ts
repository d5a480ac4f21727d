/** Where a pipeline's Results go: `sinks` of `outrider.yaml`. */
import { z } from 'zod';
import { mqttUrl, size } from './quantities.ts';

/** Receiver of a pipeline’s Results. */
export const sink = z.discriminatedUnion('type', [
  z.strictObject({
    /** Lines of NDJSON in a file, or messages on an MQTT topic. @example file */
    type: z.literal('file'),
    /** Inside the agent's data folder unless absolute. @example results/gate.ndjson */
    path: z.string().min(1),
    /** Of the file; at it the file before is replaced and a new one begun. 32 MiB when left out. @example 32MiB */
    maxBytes: size.optional(),
  }),
  z.strictObject({
    type: z.literal('mqtt'),
    /** Where the broker is. @example mqtt://10.0.0.2:1883 */
    url: mqttUrl,
    /** Without wildcards. @example home/gate */
    topic: z
      .string()
      .min(1)
      .max(512)
      .regex(/^[^#+]*$/, 'a topic without wildcards'),
    /** At that broker. @example outrider */
    username: z.string().optional(),
    /** At that broker. @example "…" */
    password: z.string().optional(),
  }),
]);
