import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { z } from 'zod';
import { AgentClient } from '../../../cli/agent-client.ts';
import { Authority } from '../../../shared/runtime/authority.ts';
import { CertificateFiles } from '../../../shared/runtime/certificate-files.ts';
import { systemClock } from '../../../shared/runtime/clock.ts';
import { silentLogger } from '../../../shared/runtime/logger.ts';
import { temporaryFolder } from '../../support/fixed.ts';
import { freePort } from '../../support/ports.ts';

/** Answers everything with this. */
async function answering(t: TestContext, status: number, body: string): Promise<string> {
  const server = createServer((_request, response) => response.writeHead(status).end(body));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => server.close());
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const anything = z.object({ fine: z.literal(true) });

test('says where nobody answers, and how to name another', async () => {
  const agent = `http://127.0.0.1:${await freePort()}`;
  await assert.rejects(new AgentClient(agent).json('/v1/outbox', anything), {
    code: 'AGENT_UNREACHABLE',
    message: `no agent answers at ${agent}; name one with --agent`,
  });
});

test('one that breaks off is not told as one that is not there', async (t) => {
  const server = createServer((_request, response) => void response.destroy());
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => server.close());
  const agent = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  await assert.rejects(new AgentClient(agent).json('/v1/outbox', anything), {
    code: 'AGENT_UNREACHABLE',
    message: `${agent} has taken the connection, and has not answered; is it an agent, and is its machine busy?`,
  });
});

test('passes on what an agent says, and names what is none', async (t) => {
  const body = JSON.stringify({ error: { code: 'NOT_FOUND', message: 'there is no request of this id' } });
  const refusing = new AgentClient(await answering(t, 404, body));
  await assert.rejects(refusing.bytes('/v1/outbox/1/input'), {
    code: 'NOT_FOUND',
    message: 'there is no request of this id',
  });
  const stranger = new AgentClient(await answering(t, 502, '<html>'));
  await assert.rejects(stranger.delete('/v1/outbox/1'), { code: 'AGENT_UNREACHABLE', message: /502/ });
  const other = new AgentClient(await answering(t, 200, '{}'));
  await assert.rejects(other.json('/v1/outbox', anything), { code: 'INVARIANT_BROKEN' });
});

test('believes a certificate of the authority that is named, and no other', async (t) => {
  const folder = join(await temporaryFolder(t), 'tls');
  const parts = { clock: systemClock, logger: silentLogger };
  const authority = await Authority.open({ folder, names: [], ...parts });
  const { current } = await CertificateFiles.open(authority, parts);
  const server = createTlsServer(current, (_request, response) => response.end('{"fine":true}'));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const url = `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const known = new AgentClient(url, { caFile: join(folder, 'ca.pem') });
  assert.deepEqual(await known.json('/', anything), { fine: true });
  await assert.rejects(new AgentClient(url).json('/', anything), { code: 'AGENT_UNTRUSTED' });
});
