/** What the configuration of a device makes it connect to: on its page and in `doctor`. */
import { z } from 'zod';

/** Connection out of a device. */
export const connection = z.object({
  /** What is there: a hub, its broker, a camera, a broker of sensors or of sinks, a Home Assistant behind one, a webhook. */
  purpose: z.enum(['hub', 'broker', 'camera', 'sensors', 'mqtt', 'home-assistant', 'webhook']),
  /** Host and port; no credentials. null: told at the enrolment, and not known yet. */
  to: z.string().nullable(),
  /** Whether it is encrypted. */
  isEncrypted: z.boolean(),
  /** What goes there, or comes from there. */
  what: z.string(),
  /** Whose it is; null: the device's own. */
  pipeline: z.string().nullable(),
});
/** Connection out of a device. */
export type Connection = z.infer<typeof connection>;
