/** Which state of a thing a change is a change of: ETag and If-Match (RFC 9110 8.8.3, 13.1.1). */
import type { Context } from 'hono';
import { z } from 'zod';
import { AppError } from '../../../shared/runtime/errors.ts';
import { sha256Hex } from '../../../shared/runtime/ids.ts';
import type { RequestHeader } from './endpoint.ts';

/** ETag of a JSON value, by its content. */
export const etagOf = (value: unknown): string => `"${sha256Hex(JSON.stringify(value)).slice(0, 32)}"`;

/** Header of a change of something that has an ETag, as the document says it. */
export const ifMatchHeader = (of: string): { readonly 'If-Match': RequestHeader } => ({
  'If-Match': { what: `The ETag of ${of}`, schema: z.string().min(1), isRequired: true },
});

/** Header of what can be changed later. */
export const ETAG_HEADER = { ETag: 'What a change of it names in If-Match' } as const;

/** @returns whether this ETag is one that the caller has read @throws PRECONDITION_REQUIRED without If-Match */
export function ifMatch(c: Context): (etag: string) => boolean {
  const header = c.req.header('if-match')?.trim();
  if (header === undefined || header === '') throw new AppError('PRECONDITION_REQUIRED');
  // A weak one never matches here (RFC 9110 13.1.1).
  const wanted = header.split(',').map((one) => one.trim());
  return (etag) => header === '*' || wanted.includes(etag);
}
