import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import type { Socket } from 'node:net';
import { test } from 'node:test';
import { MAX_WAITING, WaitingRoom } from '../../../../cloud/broker/waiting-room.ts';

class FakeSocket extends EventEmitter {
  readonly remoteAddress = '127.0.0.1';
  readonly remotePort: number;
  destroyed = false;

  constructor(remotePort: number) {
    super();
    this.remotePort = remotePort;
  }

  destroy(): void {
    this.destroyed = true;
    this.emit('close');
  }
}

test('has room for so many, and of more the one goes that has waited longest', () => {
  const room = new WaitingRoom();
  const enter = (port: number): FakeSocket => {
    const socket = new FakeSocket(port);
    room.enter(socket as unknown as Socket);
    return socket;
  };
  const [known, gone, oldest] = [enter(1), enter(2), enter(3)];
  room.leave(known as unknown as Socket);
  gone.destroy();
  for (let i = 1; i < MAX_WAITING; i++) enter(100 + i);
  assert.ok(!oldest.destroyed);
  enter(99);
  assert.ok(oldest.destroyed);
  assert.ok(!known.destroyed, 'a client that is known is not there any more');
});
