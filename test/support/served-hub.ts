/** A hub’s API at an address, for the command line’s own code in the process of a test. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { TestContext } from 'node:test';
import { startHubApi, type TestHubApi } from './hub-api.ts';

export async function serveHub(
  t: TestContext,
): Promise<{ readonly hub: TestHubApi; readonly asking: { readonly hub: string; readonly key: string } }> {
  const hub = await startHubApi();
  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const headers = Object.entries(request.headers).flatMap(([name, value]): [string, string][] =>
      typeof value === 'string' ? [[name, value]] : [],
    );
    const found = await hub.app.request(request.url ?? '/', {
      ...{ method: request.method ?? 'GET', headers },
      ...(chunks.length > 0 && { body: Buffer.concat(chunks) }),
    });
    response.writeHead(found.status, Object.fromEntries(found.headers));
    response.end(Buffer.from(await found.arrayBuffer()));
  };
  const server = createServer((request, response) => void answer(request, response));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(async () => {
    server.close();
    server.closeAllConnections();
    await hub.stop();
  });
  const { port } = server.address() as AddressInfo;
  return { hub, asking: { hub: `http://127.0.0.1:${port}`, key: hub.adminKey } };
}

/** What the code prints to its standard output meanwhile. */
export async function printed(t: TestContext, work: () => Promise<void>): Promise<string> {
  let text = '';
  const write = t.mock.method(process.stdout, 'write', (chunk: string) => {
    text += chunk;
    return true;
  });
  try {
    await work();
  } finally {
    write.mock.restore();
  }
  return text;
}
