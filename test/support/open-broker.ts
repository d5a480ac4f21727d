/** A broker as people have one at home: anybody may read and write, or whoever knows the one password. */
import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import type { TestContext } from 'node:test';
import { createServer as createTlsServer } from 'node:tls';
import { Aedes } from 'aedes';
import { freePort } from './ports.ts';

export interface OpenBroker {
  readonly url: string;
  publish(topic: string, payload: string | Buffer, retain?: boolean): Promise<void>;
  /** Filters that are subscribed to now, by all together. */
  readonly filters: ReadonlySet<string>;
  start(): Promise<void>;
  stop(): Promise<void>;
}

/** Started; ends with the test. @param of.refused a filter that nobody may read */
export async function startOpenBroker(
  t: TestContext,
  of: {
    readonly password?: string;
    readonly refused?: string;
    /** Speaks TLS, with this certificate. */
    readonly tls?: { readonly cert: string; readonly key: string };
  } = {},
): Promise<OpenBroker> {
  const port = await freePort();
  const filters = new Set<string>();
  const sockets = new Set<Socket>();
  let aedes: Aedes | undefined;
  let server: Server | undefined;
  const broker: OpenBroker = {
    url: `${of.tls ? 'mqtts' : 'mqtt'}://127.0.0.1:${port}`,
    filters,
    async publish(topic, payload, retain = false) {
      const packet = { cmd: 'publish' as const, topic, payload, retain, qos: 1 as const, dup: false };
      await new Promise<void>((resolve, reject) =>
        aedes?.publish(packet, (error) => (error ? reject(error) : resolve())),
      );
    },
    async start() {
      aedes = await Aedes.createBroker({
        authenticate: (_client, _name, password, done) =>
          done(null, of.password === undefined || password?.toString() === of.password),
        authorizeSubscribe: (_client, one, done) => done(null, one.topic === of.refused ? null : one),
      });
      aedes.on('subscribe', (all) => {
        for (const { topic } of all) filters.add(topic);
      });
      server = of.tls ? createTlsServer(of.tls, aedes.handle) : createServer(aedes.handle);
      server.on('connection', (socket) => {
        sockets.add(socket);
        socket.on('close', () => sockets.delete(socket));
      });
      server.listen(port, '127.0.0.1');
      await once(server, 'listening');
    },
    async stop() {
      filters.clear();
      for (const socket of sockets) socket.destroy();
      const closed = server && once(server, 'close');
      server?.close();
      await closed;
      await new Promise<void>((resolve) => (aedes ? aedes.close(() => resolve()) : resolve()));
      [aedes, server] = [undefined, undefined];
    },
  };
  await broker.start();
  t.after(() => broker.stop());
  return broker;
}
