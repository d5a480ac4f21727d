/** A server that an engine could be, which says whatever a test wants it to say. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { TestContext } from 'node:test';

export interface HeardRequest {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingMessage['headers'];
  readonly body: Buffer;
}

export type Say = (response: ServerResponse, request: HeardRequest) => void | Promise<void>;

export interface EngineServer {
  readonly url: string;
  readonly heard: HeardRequest[];
  /** What it says to a request whose path ends so; the longest end counts. */
  readonly says: Map<string, Say>;
}

export const json =
  (value: unknown, status = 200, headers: Record<string, string> = {}): Say =>
  (response) => {
    response.writeHead(status, { 'content-type': 'application/json', ...headers });
    response.end(JSON.stringify(value));
  };

/** Says nothing, for ever. */
export const hang: Say = () => undefined;

/** Begins an answer, and hangs up. */
export const half: Say = (response) => {
  response.writeHead(200, { 'content-type': 'application/json', 'content-length': '1000' });
  response.write('{"outputs": [');
  setImmediate(() => response.destroy());
};

/** What is no HTTP. */
export const noise: Say = (response) => {
  response.socket?.end('SSH-2.0-OpenSSH_9.2\r\n');
};

/** Server-sent events, and the end unless it hangs. */
export const events =
  (lines: readonly string[], end: 'end' | 'hang' | 'destroy' = 'end'): Say =>
  (response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    for (const line of lines) response.write(`data: ${line}\n\n`);
    if (end === 'end') response.end();
    if (end === 'destroy') setImmediate(() => response.destroy());
  };

/** Ends with the test. */
export async function startEngineServer(t: Pick<TestContext, 'after'>): Promise<EngineServer> {
  const heard: HeardRequest[] = [];
  const says = new Map<string, Say>();
  const server = createServer((incoming, response) => {
    const chunks: Buffer[] = [];
    incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
    incoming.on('end', () => {
      const { method = '', url: path = '', headers } = incoming;
      const request = { method, path, headers, body: Buffer.concat(chunks) };
      heard.push(request);
      const ends = [...says.keys()].filter((end) => path.endsWith(end)).sort((a, b) => b.length - a.length);
      const say = says.get(ends[0] ?? '');
      if (say) void say(response, request);
      else response.writeHead(404).end();
    });
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  t.after(() => {
    server.closeAllConnections();
    return new Promise((resolve) => {
      server.close(resolve);
    });
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, heard, says };
}
