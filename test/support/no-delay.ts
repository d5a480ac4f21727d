/**
 * Sees the real wish for TCP_NODELAY: the call on the TCP handle below every socket of this process, whatever lies on it.
 * Node has no way to read the option back.
 */
import { createServer, type Socket } from 'node:net';

interface TcpHandle {
  setNoDelay(enable: boolean): number;
  getsockname(out: { port?: number }): number;
  getpeername(out: { port?: number }): number;
}

export interface NoDelaySpy {
  /** Handles on which it was asked for and that now have this port at their own end, or at the other. */
  count(end: 'local' | 'remote', port: number): number;
  restore(): void;
}

export async function spyOnNoDelay(): Promise<NoDelaySpy> {
  const prototype = await tcpPrototype();
  const original = prototype.setNoDelay;
  const wishes = new Map<TcpHandle, boolean>();
  prototype.setNoDelay = function setNoDelay(this: TcpHandle, enable) {
    wishes.set(this, enable);
    return original.call(this, enable);
  };
  return {
    count(end, port) {
      const portOf = (handle: TcpHandle): number | undefined => {
        const out: { port?: number } = {};
        if (end === 'local') handle.getsockname(out);
        else handle.getpeername(out);
        return out.port;
      };
      return [...wishes].filter(([handle, isOn]) => isOn && portOf(handle) === port).length;
    },
    restore() {
      prototype.setNoDelay = original;
    },
  };
}

/** Of the handles of all TCP sockets. */
async function tcpPrototype(): Promise<TcpHandle> {
  const { connect } = await import('node:net');
  const server = createServer((socket) => socket.resume());
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  const socket = connect(typeof address === 'object' && address ? address.port : 0, '127.0.0.1');
  await new Promise<void>((resolve) => socket.once('connect', () => resolve()));
  const { _handle } = socket as Socket & { _handle: TcpHandle };
  const prototype = Object.getPrototypeOf(_handle) as TcpHandle;
  socket.destroy();
  server.close();
  return prototype;
}
