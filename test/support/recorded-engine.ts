/**
 * Exchanges with servers of others, recorded where those are at hand (`npm run test:peers`) and played again where they are not: what was
 * asked must be what is asked today, to the byte.
 */
import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import type { TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { type EngineServer, startEngineServer } from './engine-server.ts';

const exchange = z.object({
  method: z.string(),
  path: z.string(),
  /** JSON that was asked with; null: nothing. */
  asked: z.unknown(),
  status: z.int(),
  contentType: z.string(),
  /** As it came. */
  answered: z.string(),
});
export type Exchange = z.infer<typeof exchange>;

const fixture = (name: string): string =>
  fileURLToPath(new URL(`../fixtures/engines/${name}.json`, import.meta.url));

export async function recordedExchanges(name: string): Promise<Exchange[]> {
  return z.array(exchange).parse(JSON.parse(await readFile(fixture(name), 'utf8')));
}

/** Writes them down where the environment says OUTRIDER_RECORD=1; else they must be as they were written down. */
export async function compareExchanges(name: string, found: readonly Exchange[]): Promise<void> {
  if (process.env.OUTRIDER_RECORD === '1')
    await writeFile(fixture(name), `[\n${found.map((one) => JSON.stringify(one)).join(',\n')}\n]\n`);
  const known = await recordedExchanges(name);
  const asked = (all: readonly Exchange[]) => all.map((one) => [one.method, one.path, one.asked, one.status]);
  assert.deepEqual(asked(found), asked(known), `record it anew: OUTRIDER_RECORD=1 npm run test:peers`);
}

/** In front of a real server: passes everything on, and keeps what looks after itself (health) out of it. */
export async function recordingProxy(
  t: TestContext,
  url: string,
): Promise<{ readonly url: string; readonly exchanges: Exchange[] }> {
  const server = await startEngineServer(t);
  const exchanges: Exchange[] = [];
  server.says.set('', async (response, { method, path, headers, body }) => {
    const { 'content-type': contentType, authorization } = headers;
    const answer = await fetch(`${url}${path}`, {
      method,
      headers: {
        ...(contentType !== undefined && { 'content-type': contentType }),
        ...(authorization !== undefined && { authorization }),
      },
      ...(body.length > 0 && { body: new Uint8Array(body) }),
    });
    const answered = await answer.text();
    const type = answer.headers.get('content-type') ?? '';
    response.writeHead(answer.status, { 'content-type': type });
    response.end(answered);
    if (path.endsWith('/ready') || path.endsWith('/models')) return;
    exchanges.push({
      ...{ method, path, asked: body.length > 0 ? JSON.parse(body.toString()) : null },
      ...{ status: answer.status, contentType: type, answered },
    });
  });
  return { url: server.url, exchanges };
}

/** A server that knows these exchanges and nothing else. */
export async function replayedEngine(t: TestContext, exchanges: readonly Exchange[]): Promise<EngineServer> {
  const server = await startEngineServer(t);
  server.says.set('', (response, { method, path, body }) => {
    const asked = body.length > 0 ? (JSON.parse(body.toString()) as unknown) : null;
    const found = exchanges.find(
      (one) =>
        one.method === method && one.path === path && JSON.stringify(one.asked) === JSON.stringify(asked),
    );
    response.writeHead(found?.status ?? 404, { 'content-type': found?.contentType ?? 'application/json' });
    response.end(found?.answered ?? '{"error": "this was never asked"}');
  });
  return server;
}
