/** Failures over HTTP: the shapes that they have, one table for the answers and for the document. An operation says which is its own. */
import type { Context } from 'hono';
import type { ContentfulStatusCode } from 'hono/utils/http-status';
import { z } from 'zod';
import { type Problem, problem } from '../../../shared/contract/admin.ts';
import { ACCEPTED_CODINGS } from '../../../shared/runtime/content-coding.ts';
import { withoutPaths } from '../../../shared/runtime/disk-paths.ts';
import { type AppError, ERRORS, type ErrorCode, toErrorBody } from '../../../shared/runtime/errors.ts';
import type { HubEnv } from './face.ts';
import { openAiError, openAiErrorBody, openAiHeaders, openAiStatus } from './openai-error.ts';

/** The name of a shape; each protocol that we speak has its own. */
export type ErrorShape = 'problem' | 'hugging-face' | 'text-embeddings' | 'open-inference' | 'openai';

interface Failure {
  readonly code: ErrorCode;
  /** For people outside: nothing of our insides. */
  readonly message: string;
  readonly requestId: string;
  readonly details: AppError['details'];
}

interface Shape {
  readonly contentType: string;
  readonly schema: z.ZodType;
  bodyOf(failure: Failure): object;
  /** Where it is another than the code's own. */
  statusOf?(httpStatus: number, failure: Failure): number;
  /** Response headers beside those that every shape has, where asking again may help. */
  headersOf?(failure: Failure, waitMs: number): Record<string, string>;
}

/** Shapes of failures, by name. */
export const ERROR_SHAPES: Readonly<Record<ErrorShape, Shape>> = {
  /** RFC 9457 problem details, with our code. */
  problem: {
    contentType: 'application/problem+json',
    schema: problem,
    bodyOf: ({ code, message, requestId }): Problem => ({
      type: `urn:outrider:error:${code}`,
      title: ERRORS[code].meaning,
      status: ERRORS[code].httpStatus,
      detail: message,
      code,
      requestId,
    }),
  },
  /** Hugging Face's shape; its clients retry 503 at once and without limit, so busy is 429 (docs/design/facts.md 4). */
  'hugging-face': {
    contentType: 'application/json',
    schema: z.object({ error: z.string(), code: z.string(), requestId: z.string() }),
    bodyOf: ({ code, message, requestId }) => ({ error: message, code, requestId }),
    statusOf: (httpStatus) => (httpStatus === 503 ? 429 : httpStatus),
  },
  /** That of Text Embeddings Inference; elsewhere huggingface_hub would take `error_type` for that of its generation server. */
  'text-embeddings': {
    contentType: 'application/json',
    schema: z.object({
      error: z.string(),
      error_type: z.enum(['Backend', 'Empty', 'Overloaded', 'Validation']),
      code: z.string(),
      requestId: z.string(),
    }),
    bodyOf: ({ code, message, requestId }) => ({ error: message, error_type: typeOf(code), code, requestId }),
    statusOf: (httpStatus) => (httpStatus === 503 ? 429 : httpStatus),
  },
  /** The shape of the Open Inference Protocol and of Triton. */
  'open-inference': {
    contentType: 'application/json',
    schema: z.object({ error: z.string() }),
    bodyOf: ({ message }) => ({ error: message }),
  },
  /** OpenAI's, with its own words where it has them. */
  openai: {
    contentType: 'application/json',
    schema: z.object({ error: openAiErrorBody }),
    bodyOf: (failure) => ({ error: openAiError(failure) }),
    statusOf: openAiStatus,
    headersOf: openAiHeaders,
  },
};

/** In the words of Text Embeddings Inference. */
function typeOf(code: ErrorCode): 'Backend' | 'Empty' | 'Overloaded' | 'Validation' {
  const { kind, retry } = ERRORS[code];
  if (code === 'INPUT_EMPTY') return 'Empty';
  if (retry === 'backoff') return 'Overloaded';
  return kind === 'caller' ? 'Validation' : 'Backend';
}

/** The response to a failure, in this shape. */
export function failureResponse(c: Context<HubEnv>, shape: ErrorShape, error: AppError): Response {
  const { contentType, bodyOf, statusOf = (status) => status, headersOf: own } = ERROR_SHAPES[shape];
  const { code, message } = toErrorBody(error);
  const { details } = error;
  const failure = { code, message: withoutPaths(message), requestId: c.get('requestId'), details };
  const waitMs = waitOf(error);
  return c.body(JSON.stringify(bodyOf(failure)), {
    status: statusOf(ERRORS[code].httpStatus, failure) as ContentfulStatusCode,
    headers: {
      'content-type': contentType,
      ...headersOf(error),
      ...(waitMs !== undefined && own?.(failure, waitMs)),
    },
  });
}

/** To wait where nobody said how long. */
const RETRY_AFTER_MS = 1_000;

/** undefined: asking again does not help. */
function waitOf({ code, details }: AppError): number | undefined {
  if (ERRORS[code].retry !== 'backoff') return undefined;
  const waitMs = details?.retryAfterMs;
  return typeof waitMs === 'number' ? waitMs : RETRY_AFTER_MS;
}

function headersOf(error: AppError): Record<string, string> {
  const { code } = error;
  if (code === 'UNAUTHORIZED') return { 'www-authenticate': 'Bearer realm="outrider"' };
  if (code === 'ENCODING_UNSUPPORTED') return { 'accept-encoding': ACCEPTED_CODINGS };
  const waitMs = waitOf(error);
  return waitMs === undefined ? {} : { 'retry-after': String(Math.max(1, Math.ceil(waitMs / 1000))) };
}
