/** The outbox for people: what waits, what was given up, and the four things that can be done about it. `/v1/outbox/…` */
import { type Context, Hono } from 'hono';
import { z } from 'zod';
import type { OutboxItem, OutboxList, outboxRetried } from '../../shared/contract/outbox.ts';
import { AppError } from '../../shared/runtime/errors.ts';
import type { DeadLetterNote, OpenEntry, Outbox, OutboxAsk, PipelineFace } from '../ports.ts';

/** Outbox to show, and the pipelines that ask again. */
export interface OutboxApiOptions {
  readonly outbox: Outbox;
  readonly pipelines: ReadonlyMap<string, PipelineFace>;
  /** Sends a waiting request at once. */
  readonly hurry: (id: string) => void;
  /** What callers may see of it: off loopback no paths. */
  readonly told: (item: OutboxItem) => OutboxItem;
}

const MAX_PAGE = 1_000;
const query = z.object({
  state: z.enum(['waiting', 'dead']).optional(),
  limit: z.coerce.number().int().min(1).max(MAX_PAGE).default(100),
  after: z.string().optional(),
});

/** Builds the addresses below `/v1/outbox`. */
export function createOutboxApi({ outbox, pipelines, hurry, told }: OutboxApiOptions): Hono {
  const app = new Hono();

  app.get('/', async (c) => {
    const asked = query.safeParse(c.req.query());
    if (!asked.success)
      throw new AppError('BAD_REQUEST', `state is waiting or dead, limit is 1 to ${MAX_PAGE}`);
    return c.json(await list(asked.data));
  });

  app.get('/:id', async (c) => c.json(await describe(idOf(c))));

  app.get('/:id/input', async (c) => {
    const id = idOf(c);
    const found = (await outbox.read(id)) ?? (await outbox.readDeadLetter(id));
    if (!found) throw unknown();
    const { contentType, body } = found.request.input;
    return c.body(new Uint8Array(body), 200, {
      // Whatever it says it is, no browser is to run it.
      'content-type': 'application/octet-stream',
      'content-disposition': 'attachment',
      'x-input-type': contentType.replace(/[^\x20-\x7e]/g, '?'),
    });
  });

  app.post('/:id/retry', async (c) => {
    const id = idOf(c);
    const retriedAs = await retry(id);
    return c.json({ id, retriedAs } satisfies z.infer<typeof outboxRetried>, 202);
  });

  app.delete('/:id', async (c) => {
    await drop(idOf(c));
    return c.body(null, 204);
  });

  async function list({ state, limit, after = '' }: z.infer<typeof query>): Promise<OutboxList> {
    const items: OutboxItem[] = [];
    let next: string | null = null;
    for (const id of ids(state)) {
      if (id <= after) continue;
      if (items.length === limit) {
        next = items.at(-1)?.id ?? null;
        break;
      }
      // Answered and closed while the page was made, or not readable: the next look tells more.
      const item = await describe(id).catch(() => undefined);
      if (item) items.push(item);
    }
    const { entries, bytes, deadLetters } = outbox.depth;
    return { items, next, entries, bytes, deadLetters };
  }

  function ids(state: 'waiting' | 'dead' | undefined): string[] {
    const open = state === 'dead' ? [] : Array.from(outbox.open(), ({ id }) => id);
    const dead = state === 'waiting' ? [] : outbox.deadLetters();
    return [...open, ...dead].sort();
  }

  /** @throws NOT_FOUND, DATA_CORRUPT */
  async function describe(id: string): Promise<OutboxItem> {
    const entry = outbox.find(id);
    const ask = entry && (await outbox.readAsk(id));
    if (entry && ask) return told(openItem(entry, ask));
    const letter = await outbox.describeDeadLetter(id);
    if (letter) return told(deadItem(letter));
    throw unknown();
  }

  async function retry(id: string): Promise<string> {
    if (outbox.has(id)) {
      hurry(id);
      return id;
    }
    const letter = await outbox.readDeadLetter(id);
    if (!letter) throw unknown();
    const pipeline = pipelines.get(letter.request.pipeline);
    if (!pipeline)
      throw new AppError('PIPELINE_UNKNOWN', `its pipeline ${letter.request.pipeline} is not configured`);
    const retriedAs = await pipeline.retry(letter);
    await outbox.dropDeadLetter(id);
    return retriedAs;
  }

  async function drop(id: string): Promise<void> {
    const entry = outbox.find(id);
    if (!entry) {
      if (!(await outbox.dropDeadLetter(id))) throw unknown();
      return;
    }
    const owner = pipelines.get(entry.pipeline);
    if (owner) await owner.drop(id);
    else await outbox.close(id);
  }

  return app;
}

const idOf = (c: Context): string => c.req.param('id') ?? '';
const unknown = (): AppError => new AppError('NOT_FOUND', 'the outbox holds no request of this id');

function openItem(entry: OpenEntry, ask: OutboxAsk): OutboxItem {
  return {
    ...described(ask),
    state: entry.answered ? 'answered' : 'waiting',
    expiresInMs: Math.round(entry.expiresMs),
    bytes: entry.bodyBytes,
    error: null,
  };
}

function deadItem({ ask, error, bodyBytes }: DeadLetterNote): OutboxItem {
  const { code, message } = error;
  return { ...described(ask), state: 'dead', expiresInMs: null, bytes: bodyBytes, error: { code, message } };
}

const described = ({ id, pipeline, task, model, label, reason, priority, acceptedAtMs }: OutboxAsk) => ({
  id,
  pipeline,
  task,
  model,
  label,
  reason,
  priority,
  acceptedAtMs,
});
