/** What every operation of OpenAI's face has in common: who asks for which model, how a question is put, what an answer's head says. */
import type { Context } from 'hono';
import type { ModelRef } from '../../../shared/contract/names.ts';
import type { Clock } from '../../../shared/runtime/clock.ts';
import { AppError, type ErrorCode, isAppError } from '../../../shared/runtime/errors.ts';
import type { TaskInput, TaskName } from '../../../shared/tasks/tasks.ts';
import type { Asking, InferenceReply, ModelCatalog, Question } from '../../ports.ts';
import type { HubEnv } from '../frame/face.ts';

/** As long as OpenAI's own clients wait. */
const EXPIRES_MS = 600_000;
/** Elements of one question: each is a request of its own to the queue. */
const MAX_ELEMENTS = 64;

/** A request of which the body is known, until its answer is out. */
export class Asked {
  readonly requestId: string;
  readonly arrivedMonoMs: number;
  readonly atMs: number;
  readonly callerSignal: AbortSignal;
  readonly #c: Context<HubEnv>;
  readonly #asking: Asking;

  constructor(c: Context<HubEnv>, { asking, clock }: { readonly asking: Asking; readonly clock: Clock }) {
    this.#c = c;
    this.#asking = asking;
    this.requestId = c.get('requestId');
    this.arrivedMonoMs = clock.nowMonoMs();
    this.atMs = clock.nowAtMs();
    this.callerSignal = c.req.raw.signal;
  }

  /** Seconds since 1970. */
  get created(): number {
    return Math.floor(this.atMs / 1000);
  }

  /**
   * Asks for all, so many at a time as one question may have.
   *
   * @param first which element of the whole request the first one is: the ledger names each after it
   * @throws as `Asking`
   */
  async ask(
    model: string,
    inputs: readonly TaskInput[],
    { first = 0, ...control }: Pick<Question, 'onToken' | 'signal'> & { readonly first?: number } = {},
  ): Promise<InferenceReply[]> {
    const replies: InferenceReply[] = [];
    for (let from = 0; from < inputs.length; from += MAX_ELEMENTS) {
      const at = first + from;
      const question: Question = {
        ...{ who: this.#c.get('holder'), model, inputs: inputs.slice(from, from + MAX_ELEMENTS) },
        requestId: at === 0 ? this.requestId : `${this.requestId}.${at}`,
        ...{ arrivedMonoMs: this.arrivedMonoMs, expiresMs: EXPIRES_MS, signal: this.callerSignal },
        ...control,
      };
      replies.push(...(await this.#asking.ask(question)));
    }
    return replies;
  }

  /** Which version has answered, and how long it took; of several the first's. */
  say([reply]: readonly InferenceReply[]): void {
    if (!reply) return;
    const { queue, preprocess, inference } = reply.timingsMs;
    this.sayModel(reply.model);
    this.#c.header(
      'server-timing',
      `queue;dur=${queue}, preprocess;dur=${preprocess}, inference;dur=${inference}`,
    );
    this.#c.header('openai-processing-ms', String(Math.round(queue + preprocess + inference)));
  }

  sayModel({ name, version }: ModelRef): void {
    this.#c.header('x-outrider-model', `${name}@${version}`);
  }

  json(value: unknown): Response {
    return this.#c.body(JSON.stringify(value), 200, { 'content-type': 'application/json' });
  }
}

/** @throws MODEL_UNKNOWN, BAD_REQUEST where it does something else */
export function modelFor(
  { models }: { readonly models: ModelCatalog },
  name: string,
  wanted: TaskName,
): ReturnType<ModelCatalog['resolve']> {
  const found = models.resolve(name);
  if (found.task === wanted) return found;
  throw refused('model', `${name} does ${found.task}; this address takes models for ${wanted}`);
}

/** What is wrong with a parameter. @param param its name, as OpenAI's errors have it */
export const refused = (param: string, message: string, isDone = true): AppError =>
  new AppError('PARAMETERS_INVALID', `${param}: ${message}`, { details: { param, isDone } });

/** Does the work; where the input is at fault, says by which parameter it came. @throws as the work */
export async function blaming<T>(param: string, work: () => T | Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!isAppError(error) || !OF_THE_INPUT.has(error.code) || error.details?.param !== undefined)
      throw error;
    throw new AppError(error.code, error.message, { cause: error, details: { ...error.details, param } });
  }
}

const OF_THE_INPUT: ReadonlySet<ErrorCode> = new Set([
  ...(['INPUT_EMPTY', 'INPUT_TOO_LARGE', 'INPUT_INVALID', 'TEXT_INVALID', 'AUDIO_INVALID'] as const),
  ...(['INPUT_KIND_WRONG', 'BAD_REQUEST'] as const),
]);

/** The answer that there must be. */
export function onlyOf([reply]: readonly InferenceReply[]): InferenceReply {
  if (!reply) throw new AppError('INVARIANT_BROKEN', 'a request without a reply');
  return reply;
}

/** Names weights that may differ from one answer to the next: with the same one, the same seed gives the same text. */
export const fingerprintOf = ({ digest }: ModelRef): string => `fp_${digest.slice(0, 12)}`;
