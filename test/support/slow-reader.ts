/** A device that subscribes and does not read its socket: nobody waits for it, whatever the broker. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { deviceTopics } from '../../shared/contract/topics.ts';
import type { TestBroker } from './broker.ts';
import { connectAs, inbox, until } from './link-contract.ts';
import { connectPacket, RawClient, subscribePacket } from './raw-mqtt.ts';

const mine = deviceTopics('gate-01');
const theirs = deviceTopics('gate-02');
const LARGE = Buffer.alloc(900 * 1024, 'x');

/** @param cutsOff whether the broker ends the connection; Mosquitto throws away what is over its limits */
export function slowReader(name: string, start: () => Promise<TestBroker>, cutsOff: boolean): void {
  describe(`a device that does not read, at ${name}`, () => {
    let broker: TestBroker;
    before(async () => {
      broker = await start();
    });
    after(() => broker.stop());

    it('keeps nobody waiting, and is bounded itself', async () => {
      const hub = await connectAs(broker, 'hub-1', { cleanSession: true });
      const other = await connectAs(broker, 'gate-02', { cleanSession: true });
      const received = inbox(other);
      await other.subscribe([theirs.reply]);
      const hello = { clientId: 'gate-01', username: 'gate-01', password: 'gate-secret', isKept: true };
      const slow = new RawClient(broker.port, connectPacket(hello));
      assert.equal(await slow.connack, 0);
      await slow.write(subscribePacket([mine.reply]));
      await until(() => slow.socket.bytesRead > 4);
      slow.stopReading();
      let isClosed = false;
      void slow.closed.then(() => {
        isClosed = true;
      });

      /** Each large reply is followed by one to the other, which has it before the next. */
      const send = async (from: number, to: number): Promise<void> => {
        for (let i = from; i < to; i++) {
          await hub.publish(mine.reply, LARGE, { qos: 1 });
          await hub.publish(theirs.reply, String(i), { qos: 1 });
          await until(() => received.at(-1)?.text === String(i));
        }
      };
      await send(0, 30);
      assert.ok(!isClosed, 'the other was served beside it, not in its place');
      await send(30, 90);
      if (cutsOff) {
        // Its own side finds out when it reads.
        slow.socket.resume();
        await slow.closed;
      }
      slow.end();
      assert.equal(received.length, 90);
      assert.ok(hub.connected && other.connected);
      await Promise.all([hub.end(), other.end()]);
    });
  });
}
