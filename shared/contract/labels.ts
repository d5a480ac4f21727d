/** Labels of devices, by which an operator chooses among them: names and values as Kubernetes has them. */
import { z } from 'zod';

const WORD = /^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$/;
const RULE = 'letters, digits, dot, _ and -, at most 63, with a letter or digit first and last';

/** Facts that every device has: a selector names them as it names labels, so no label can be called so. */
export const DEVICE_FACTS = ['device', 'pipeline', 'task', 'agent', 'platform', 'cores', 'memory'] as const;
/** Name of a fact that every device has. */
export type DeviceFact = (typeof DEVICE_FACTS)[number];

/** Words of the selectors' own language. */
const RESERVED: readonly string[] = [...DEVICE_FACTS, 'in', 'notin'];

/** Name of a label. */
const labelName = z
  .string()
  .regex(WORD, RULE)
  .refine((name) => !RESERVED.includes(name), `must not be one of ${RESERVED.join(', ')}`);

/** Value of a label. */
const labelValue = z.string().regex(WORD, RULE);

const MAX_LABELS = 32;

/** Labels by name, at most 32. */
export const deviceLabels = z
  .record(labelName, labelValue)
  .refine((labels) => Object.keys(labels).length <= MAX_LABELS, `at most ${MAX_LABELS} labels`);
export type DeviceLabels = z.infer<typeof deviceLabels>;
