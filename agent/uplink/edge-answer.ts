/**
 * What a device tells of its own answer beside an input that it shares: the hub keeps both for training. It travels in the header of a
 * request that goes anyway, and never makes one too large.
 */
import { MAX_EDGE_OUTPUT_BYTES, MAX_HEADER_BYTES } from '../../shared/contract/limits.ts';
import type { EdgeAnswer, RequestHeader } from '../../shared/contract/messages.ts';
import type { CloudReason } from '../../shared/contract/result.ts';
import { TASKS } from '../../shared/tasks/tasks.ts';
import type { OutboxRequest } from '../ports.ts';

/** Asked for its score alone: any request of that score is. */
const BY_SCORE: ReadonlySet<CloudReason> = new Set(['uncertain', 'learning', 'drift', 'too-large-for-edge']);
/** What a large request's first chunk adds to its header, and more. */
const SPARE_BYTES = 512;

/**
 * @param header of the request, without it
 * @param isRedacted texts of the pipeline leave without what is taken out of them: an answer that repeats the text stays here
 * @returns the header with it, as far as there is room
 */
export function withEdgeAnswer(
  header: RequestHeader,
  request: Pick<OutboxRequest, 'task' | 'local' | 'reason' | 'probability'>,
  isRedacted: boolean,
): RequestHeader {
  const { task, local, reason } = request;
  const probability = request.probability ?? (BY_SCORE.has(reason) ? 1 : undefined);
  const bare: EdgeAnswer = {
    model: local?.model ?? null,
    score: local?.routeScore ?? null,
    why: reason,
    ...(probability !== undefined && { probability }),
  };
  const whole = { ...header, edge: bare };
  const output = local && !(isRedacted && TASKS[task].ranks === null) ? local.output : undefined;
  const bytes = output === undefined ? 0 : jsonBytes(output);
  const room = MAX_HEADER_BYTES - SPARE_BYTES - jsonBytes(whole);
  if (room < 0) return header;
  if (output === undefined || bytes > Math.min(room, MAX_EDGE_OUTPUT_BYTES)) return whole;
  return { ...header, edge: { ...bare, output } };
}

const jsonBytes = (value: unknown): number => Buffer.byteLength(JSON.stringify(value) ?? '');
