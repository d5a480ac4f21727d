/** What is taken out of texts before they leave the device: `redact` of a pipeline. */
import { z } from 'zod';

/** Name of what was there, as it stands in its place: `[customer]`. */
const placeName = z
  .string()
  .regex(/^[\p{L}\p{N} _-]{1,40}$/u, 'letters, digits, spaces, _ and -, at most 40');

/** One kind of what is taken out: known ones by name, phone numbers of a country too, or an expression of one’s own. */
const redaction = z.union([
  z.enum(['email', 'phone', 'card']),
  z.strictObject({
    /** Numbers as they are written within this country too (ISO 3166-1 alpha-2). @example DE */
    phone: z.string().regex(/^[A-Z]{2}$/, 'a country such as DE'),
  }),
  z.strictObject({
    /** RE2: no look-around and no references back, and time in proportion to the text. @example "\\bK-\\d{6}\\b" */
    pattern: z.string().min(1).max(1_000),
    /** What stands in its place, in brackets. @example customer */
    as: placeName,
  }),
]);

/** Everything that a pipeline takes out. */
export const redact = z.array(redaction).max(50);
