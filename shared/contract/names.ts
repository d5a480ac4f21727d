/** The names that people and topics use, checked once, at the border. */
import { z } from 'zod';

/** Id of a device or hub: a topic level, so no `+`, `#`, `/` (docs/design/link.md 3). */
export const deviceId = z.string().regex(/^[A-Za-z0-9_-]{1,64}$/, 'letters, digits, _ and -, at most 64');
/** Name of a pipeline: stands in addresses and metric labels. */
export const pipelineName = z.string().regex(/^[A-Za-z0-9_-]{1,64}$/, 'letters, digits, _ and -, at most 64');
/** A model's name, optionally `org/name` as on Hugging Face; never a path. */
export const modelName = z
  .string()
  .regex(
    /^[A-Za-z0-9_][A-Za-z0-9._-]{0,95}(\/[A-Za-z0-9_][A-Za-z0-9._-]{0,95})?$/,
    'name or org/name: letters, digits, dot, _ and -',
  )
  .refine((name) => !name.includes('..'), 'must not contain ..');
/** UUIDv7 made when the agent accepts a request; never changes. */
export const requestId = z.uuid();
/** SHA-256, 64 lower-case hex digits. */
export const digest = z.string().regex(/^[0-9a-f]{64}$/, '64 hex digits');

/** A version's number as the hub gives it, in a string; "0" while no hub has named it. */
export const modelVersion = z.string().regex(/^\d{1,9}$/, 'a whole number in a string');

/** A path inside a model folder: relative, no `..`, forward slashes. */
export const innerPath = z
  .string()
  .min(1)
  .max(255)
  .regex(/^[A-Za-z0-9_][A-Za-z0-9._/-]*$/, 'a relative path')
  .refine((path) => !path.split('/').some((part) => ['', '.', '..'].includes(part)), 'must not contain ..');

/** Which version of which model answered. `version` is the hub's number as a string, "0" while no hub has named it. */
export const modelRef = z.object({
  name: modelName,
  version: modelVersion,
  digest,
  /** Kind of the server that it ran on (`open-inference`, `openai`), where that was not the hub itself. */
  engine: z
    .string()
    .regex(/^[a-z0-9-]{1,32}$/)
    .optional(),
});
export type ModelRef = z.infer<typeof modelRef>;
