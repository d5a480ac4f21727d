/** `outrider outbox sent`: what has left a device. */
import { setTimeout as delay } from 'node:timers/promises';
import { type SentRecord, sentList } from '../../shared/contract/sent.ts';
import { AppError } from '../../shared/runtime/errors.ts';
import { AgentClient, type AgentOptions } from '../agent-client.ts';
import { bytesText, print, table } from '../output.ts';

/** Flags of `outrider outbox sent`. */
export interface SentOptions extends AgentOptions {
  readonly json?: boolean;
  readonly since?: string;
  readonly limit?: string;
  readonly follow?: boolean;
}

const MAX_LINES = 10_000;
const LOOK_EVERY_MS = 1_000;
const UNIT_MS: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };
const HEAD = ['when', 'what', 'pipeline', 'size', 'to', 'why', 'id'];

/** Prints the lines, with `--follow` until it is ended. @throws USAGE for a wrong `--since` or `--limit`, AGENT_UNREACHABLE */
export async function listSent(options: SentOptions): Promise<void> {
  const limit = Number(options.limit ?? 100);
  if (!Number.isInteger(limit) || limit < 1 || limit > MAX_LINES)
    throw new AppError('USAGE', `--limit must be a whole number from 1 to ${MAX_LINES}`);
  const since = options.since === undefined ? '' : `&since=${sinceAtMs(options.since, Date.now())}`;
  const agent = await AgentClient.find(options);
  const { items } = await agent.json(`/v1/sent?limit=${limit}${since}`, sentList);
  if (options.follow !== true) {
    print(options.json, { items }, () =>
      items.length === 0 ? 'nothing has left this device' : table(HEAD, items.map(rowOf)),
    );
    return;
  }
  for (const item of items) say(item, options.json);
  for (let after = items.at(-1)?.n; ; ) {
    await delay(LOOK_EVERY_MS);
    const where = after === undefined ? '' : `&after=${after}`;
    const next = await agent.json(`/v1/sent?limit=${MAX_LINES}${where}`, sentList);
    for (const item of next.items) say(item, options.json);
    after = next.items.at(-1)?.n ?? after;
  }
}

const say = (item: SentRecord, isJson: boolean | undefined): boolean =>
  process.stdout.write(`${isJson ? JSON.stringify(item) : rowOf(item).join('  ')}\n`);

function rowOf({ atMs, what, pipeline, bytes, count, to, topic, why, id }: SentRecord): string[] {
  return [
    new Date(atMs).toISOString().slice(0, 19),
    count > 1 ? `${what} (${count})` : what,
    pipeline ?? '–',
    bytesText(bytes),
    topic === null ? to : `${to} ${topic}`,
    why ?? '–',
    id ?? '–',
  ];
}

/** @throws USAGE */
function sinceAtMs(text: string, nowAtMs: number): number {
  const [, number, unit = ''] = /^(\d+)([smhd])$/.exec(text) ?? [];
  const atMs = number === undefined ? Date.parse(text) : nowAtMs - Number(number) * (UNIT_MS[unit] ?? 0);
  if (!Number.isNaN(atMs)) return atMs;
  throw new AppError('USAGE', '--since must be a span such as 1h, or a time such as 2026-01-31T12:00');
}
