/** `outrider outbox ls|show|retry|drop`: what an agent owes, and what it has given up. */
import { writeFile } from 'node:fs/promises';
import { type OutboxItem, outboxItem, outboxList, outboxRetried } from '../../shared/contract/outbox.ts';
import { AppError } from '../../shared/runtime/errors.ts';
import { AgentClient, type AgentOptions } from '../agent-client.ts';
import { agoText, bytesText, print, spanText, table } from '../output.ts';

type Options = AgentOptions & { readonly json?: boolean };

/**
 * `outrider outbox ls`: the entries that wait, or with `--dead` those that were given up.
 *
 * @throws USAGE for a wrong `--limit`
 */
export async function listOutbox(
  options: Options & { readonly dead?: boolean; readonly limit?: string },
): Promise<void> {
  const limit = Number(options.limit ?? 100);
  if (!Number.isInteger(limit) || limit < 1)
    throw new AppError('USAGE', '--limit must be a whole number above 0');
  const found = await collect(await AgentClient.find(options), limit, options.dead === true);
  const now = Date.now();
  print(options.json, found, () => {
    const { entries, bytes, deadLetters, items } = found;
    const total = `${entries} open (${bytesText(bytes)} on disk), ${deadLetters} given up`;
    if (items.length === 0) return total;
    const rows = items.map((one) => [
      one.id,
      one.state,
      one.pipeline,
      one.label ?? '–',
      one.reason,
      bytesText(one.bytes),
      agoText(one.acceptedAtMs, now),
      one.error?.code ?? (one.expiresInMs === null ? '–' : `expires in ${spanText(one.expiresInMs)}`),
    ]);
    const head = ['id', 'state', 'pipeline', 'input', 'reason', 'size', 'accepted', 'note'];
    return `${table(head, rows)}\n${total}`;
  });
}

async function collect(agent: AgentClient, limit: number, deadOnly: boolean) {
  const items: OutboxItem[] = [];
  let after: string | null = '';
  for (;;) {
    const page: string = `/v1/outbox?limit=${Math.min(1_000, limit - items.length)}&after=${after}${deadOnly ? '&state=dead' : ''}`;
    const found = await agent.json(page, outboxList);
    items.push(...found.items);
    after = found.next;
    if (after === null || items.length >= limit) return { ...found, items };
  }
}

/** `outrider outbox show`: one request; with `--out` its input is written to a file. */
export async function showOutbox(id: string, options: Options & { readonly out?: string }): Promise<void> {
  const agent = await AgentClient.find(options);
  const item = await agent.json(`/v1/outbox/${encodeURIComponent(id)}`, outboxItem);
  if (options.out !== undefined) {
    const input = await agent.bytes(`/v1/outbox/${encodeURIComponent(id)}/input`);
    await writeFile(options.out, input).catch((error: unknown) => {
      throw new AppError('FILE_UNREADABLE', `${options.out} cannot be written`, { cause: error });
    });
  }
  print(options.json, item, () =>
    table(
      ['field', 'value'],
      Object.entries(item).map(([field, value]) => [
        field,
        typeof value === 'object' && value !== null ? JSON.stringify(value) : String(value ?? '–'),
      ]),
    ),
  );
}

/** `outrider outbox retry`: sends a waiting request at once, or asks again what was given up. */
export async function retryOutbox(id: string, options: Options): Promise<void> {
  const agent = await AgentClient.find(options);
  const done = await agent.json(`/v1/outbox/${encodeURIComponent(id)}/retry`, outboxRetried, 'POST');
  print(options.json, done, () =>
    done.retriedAs === done.id ? `${id} is sent now` : `${id} is asked again as ${done.retriedAs}`,
  );
}

/** `outrider outbox drop`: gives up a waiting request, or removes a dead letter. */
export async function dropOutbox(id: string, options: Options): Promise<void> {
  await (await AgentClient.find(options)).delete(`/v1/outbox/${encodeURIComponent(id)}`);
  print(options.json, { id }, () => `${id} is dropped`);
}
