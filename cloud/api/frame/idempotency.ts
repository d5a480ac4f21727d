/**
 * The same Idempotency-Key gets the same answer, so that whoever lost one may ask again without making a thing twice. Kept in
 * memory only, as answers hold secrets: after a restart of the hub a key is new again.
 */
import type { Context } from 'hono';
import { z } from 'zod';
import type { Clock } from '../../../shared/runtime/clock.ts';
import { AppError } from '../../../shared/runtime/errors.ts';
import { sha256Hex } from '../../../shared/runtime/ids.ts';
import type { RequestHeader } from './endpoint.ts';
import type { HubEnv } from './face.ts';

/** Longer than anybody tries again. */
const KEPT_MS = 3_600_000;
/** Answers are small; the oldest go first. */
const MAX_KEPT = 1_000;
const KEY_FORM = /^[\x21-\x7e]{1,255}$/;

/** Header of what is made once, as the document says it. */
export const IDEMPOTENCY_HEADER: { readonly 'Idempotency-Key': RequestHeader } = {
  'Idempotency-Key': {
    what: 'The same key gets the same answer for an hour',
    schema: z.string().regex(KEY_FORM),
  },
};

interface Answer {
  readonly status: 200 | 201;
  readonly body: unknown;
}

interface Kept {
  readonly fingerprint: string;
  readonly atMonoMs: number;
  /** undefined while the first request runs. */
  answer?: Answer;
}

/** Answers by Idempotency-Key, for an hour, in memory. */
export class IdempotentAnswers {
  readonly #clock: Clock;
  /** By holder and key, oldest first. */
  readonly #kept = new Map<string, Kept>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /**
   * Makes the answer, or gives the one that the same request with the same key got. A failure is not kept.
   *
   * @param request what makes two requests the same, apart from their address
   * @throws IDEMPOTENCY_MISMATCH, CONFLICT (the first still runs), BAD_REQUEST, QUEUE_FULL, and what `make` throws
   */
  async once(c: Context<HubEnv>, request: unknown, make: () => Promise<Answer>): Promise<Response> {
    const key = c.req.header('idempotency-key');
    if (key === undefined) return send(c, await make());
    if (!KEY_FORM.test(key))
      throw new AppError('BAD_REQUEST', 'Idempotency-Key: 1 to 255 visible ASCII characters');
    const name = `${c.get('holder').id} ${key}`;
    const fingerprint = sha256Hex(JSON.stringify([c.req.method, c.req.path, request]));
    const known = this.#find(name);
    if (known) {
      if (known.fingerprint !== fingerprint) throw new AppError('IDEMPOTENCY_MISMATCH');
      if (!known.answer) throw new AppError('CONFLICT', 'the first request with this key is still under way');
      c.header('idempotency-replayed', 'true');
      return send(c, known.answer);
    }
    this.#makeRoom();
    const kept: Kept = { fingerprint, atMonoMs: this.#clock.nowMonoMs() };
    this.#kept.set(name, kept);
    try {
      kept.answer = await make();
    } catch (error) {
      this.#kept.delete(name);
      throw error;
    }
    return send(c, kept.answer);
  }

  #find(name: string): Kept | undefined {
    const found = this.#kept.get(name);
    if (!found?.answer || this.#clock.nowMonoMs() - found.atMonoMs < KEPT_MS) return found;
    this.#kept.delete(name);
    return undefined;
  }

  #makeRoom(): void {
    if (this.#kept.size < MAX_KEPT) return;
    const oldest = [...this.#kept].find(([, { answer }]) => answer);
    if (!oldest) throw new AppError('QUEUE_FULL', 'too many requests with an Idempotency-Key at a time');
    this.#kept.delete(oldest[0]);
  }
}

const send = (c: Context<HubEnv>, { status, body }: Answer): Response => c.json(body as object, status);
