/** Failures as OpenAI's clients read them: a type, OpenAI's own code where it has one for this, and the parameter that is wrong. */
import { z } from 'zod';
import { ERRORS, type ErrorCode } from '../../../shared/runtime/errors.ts';

/** `error` of a failure. */
export const openAiErrorBody = z.object({
  message: z.string(),
  type: z.enum(['invalid_request_error', 'rate_limit_error', 'server_error']),
  /** Name of the parameter that is wrong; null where it is none. */
  param: z.string().nullable(),
  /** OpenAI's where it has one; else ours, of docs/errors.md. */
  code: z.string(),
});

interface Failure {
  readonly code: ErrorCode;
  readonly message: string;
  readonly details?: Readonly<Record<string, unknown>> | undefined;
}

/** OpenAI's word for a code of ours. */
const WORDS: Partial<Record<ErrorCode, string>> = {
  UNAUTHORIZED: 'invalid_api_key',
  MODEL_UNKNOWN: 'model_not_found',
  RATE_LIMITED: 'rate_limit_exceeded',
};
/** Parameters that are read by a model, and so bounded by its length. */
const READ_BY_MODELS: ReadonlySet<unknown> = new Set(['prompt', 'messages', 'input']);

/** Whether the input is longer than what the model reads. */
const isTooLong = ({ code, details }: Failure): boolean =>
  code === 'INPUT_TOO_LARGE' && READ_BY_MODELS.has(details?.param);

/** What is told of a failure. */
export function openAiError(failure: Failure): z.infer<typeof openAiErrorBody> {
  const { code, message, details } = failure;
  const { httpStatus } = ERRORS[code];
  const notDone =
    code === 'PARAMETERS_INVALID' && details?.isDone === false ? 'unsupported_parameter' : undefined;
  const tooLong = isTooLong(failure) ? 'context_length_exceeded' : undefined;
  return {
    message,
    type:
      httpStatus === 429 ? 'rate_limit_error' : httpStatus >= 500 ? 'server_error' : 'invalid_request_error',
    param: typeof details?.param === 'string' ? details.param : null,
    code: notDone ?? tooLong ?? WORDS[code] ?? code,
  };
}

/** How long its clients wait before they ask again, to the millisecond; of a key's own limit as OpenAI says it, too. */
export function openAiHeaders({ code }: Failure, waitMs: number): Record<string, string> {
  const ms = Math.max(1, Math.ceil(waitMs));
  return {
    'retry-after-ms': String(ms),
    ...(code === 'RATE_LIMITED' && {
      'x-ratelimit-remaining-requests': '0',
      'x-ratelimit-reset-requests': `${ms}ms`,
    }),
  };
}

/** OpenAI has 400 for every input that is not as it should be; its clients raise their errors by it. */
export const openAiStatus = (httpStatus: number, failure: Failure): number =>
  httpStatus === 422 || httpStatus === 415 || isTooLong(failure) ? 400 : httpStatus;
