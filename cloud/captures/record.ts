/** A capture as it is kept: the lines of the log on disk, and what stands in memory of each. */
import { z } from 'zod';
import { type CaptureRecord, captureRecord } from '../../shared/contract/captures.ts';
import { type Fingerprint, fromText } from './near.ts';
import { worthOf } from './worth.ts';

/** Everything that is kept of one request, beside its input. */
const storedCapture = captureRecord.extend({
  requestId: z.uuid(),
  parameters: z.record(z.string(), z.unknown()).nullable(),
  answers: z.object({ edge: z.unknown(), cloud: z.unknown() }),
  /** By which nearly the same inputs are known; null: it could not be made. */
  fingerprint: z.string().nullable(),
  /** Probability 0..1 of the best label of each side; null where the task has none. */
  sure: z.object({ edge: z.number().nullable(), cloud: z.number().nullable() }),
});
/** Everything that is kept of one request, beside its input. */
export type StoredCapture = z.infer<typeof storedCapture>;

/** A line of the log. */
const logLine = z.union([
  z.object({ put: storedCapture }),
  /** Erased, or it made room. */
  z.object({ gone: z.array(z.uuid()) }),
  /** Requests that it stands for have come to be more. */
  z.object({ seen: z.object({ id: z.uuid(), times: z.int().positive(), weight: z.number() }) }),
]);
/** A line of the log. */
export type LogLine = z.infer<typeof logLine>;

/** A line of the log as it goes to disk. */
export const encodeLine = (line: LogLine): Buffer => Buffer.from(`${JSON.stringify(line)}\n`);

/** @returns undefined where it is damaged or of an unknown form */
export function decodeLine(text: string): LogLine | undefined {
  try {
    return logLine.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined;
  }
}

/** What stands in memory of a capture: all but its answers. */
export interface Held {
  record: CaptureRecord;
  readonly print: Fingerprint | undefined;
  /** How much it teaches, 0..1. */
  readonly worth: number;
  /** Where its line is in the log. */
  at: { readonly offset: number; readonly length: number };
  /** Of its line when it came. */
  readonly lineBytes: number;
}

/** @param at where its line is in the log */
export function heldOf(stored: StoredCapture, at: Held['at']): Held {
  const { requestId: _id, parameters: _parameters, answers: _answers, fingerprint, sure, ...record } = stored;
  const print = fingerprint === null ? undefined : fromText(fingerprint);
  const isRepeat = record.group !== record.input.sha256;
  return { record, print, worth: worthOf({ loss: record.loss, sure, isRepeat }), at, lineBytes: at.length };
}
