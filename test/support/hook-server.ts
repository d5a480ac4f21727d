/** A receiver of webhooks on loopback, that answers as it is told. */
import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { TestContext } from 'node:test';

export interface Received {
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

/** @param answer of the nth request; leaves it open where it does not end the response */
export async function hookServer(
  t: TestContext,
  answer: (response: ServerResponse, index: number) => void = (response) =>
    void response.writeHead(204).end(),
) {
  const received: Received[] = [];
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const index = received.length;
      received.push({ headers: request.headers, body: Buffer.concat(chunks).toString('utf8') });
      answer(response, index);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  const ids = (): string[] => received.map(({ headers }) => String(headers['webhook-id']));
  return { url: `http://127.0.0.1:${port}/hooks/gate?token=hush`, port, received, ids };
}
