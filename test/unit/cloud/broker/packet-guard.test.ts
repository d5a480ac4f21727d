import assert from 'node:assert/strict';
import { it } from 'node:test';
import fc from 'fast-check';
import {
  MAX_CONTROL_BYTES,
  MAX_PACKET_BYTES,
  MAX_UNAUTHENTICATED_BYTES,
  PacketGuard,
} from '../../../../cloud/broker/packet-guard.ts';

/** A packet with this many bytes after its fixed header. */
function packet(bodyBytes: number): Buffer {
  const length: number[] = [];
  let rest = bodyBytes;
  do {
    const byte = rest % 128;
    rest = Math.floor(rest / 128);
    length.push(rest > 0 ? byte | 0x80 : byte);
  } while (rest > 0);
  return Buffer.concat([Buffer.from([0x30, ...length]), Buffer.alloc(bodyBytes, 0xff)]);
}

it('lets any stream of small packets through, however it is cut', () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 0, max: 600 }), { maxLength: 20 }),
      fc.array(fc.integer({ min: 1, max: 300 }), { minLength: 1 }),
      (sizes, cuts) => {
        const stream = Buffer.concat(sizes.map(packet));
        const guard = new PacketGuard();
        for (let at = 0, i = 0; at < stream.length; i++) {
          const end = at + (cuts[i % cuts.length] ?? 1);
          assert.ok(guard.accepts(stream.subarray(at, end)));
          at = end;
        }
      },
    ),
  );
});

it('stops at the packet that is over the limit, wherever it comes in the stream', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 600 }), { maxLength: 20 }), (sizes) => {
      const guard = new PacketGuard();
      for (const size of sizes) assert.ok(guard.accepts(packet(size)));
      assert.ok(!guard.accepts(packet(MAX_UNAUTHENTICATED_BYTES + 1).subarray(0, 4)));
    }),
  );
});

it('takes larger packets from a client that is known, up to its limit', () => {
  const guard = new PacketGuard();
  guard.trust();
  assert.ok(guard.accepts(packet(MAX_PACKET_BYTES)));
  assert.ok(!guard.accepts(packet(MAX_PACKET_BYTES + 1).subarray(0, 5)));
});

it('stops at a length of more than four bytes, which MQTT does not have', () => {
  assert.ok(!new PacketGuard().accepts(Buffer.from([0x10, 0x80, 0x80, 0x80, 0x80, 0x01])));
});

it('takes no large packet but a PUBLISH, from a known client either', () => {
  const guard = new PacketGuard();
  guard.trust();
  const subscribe = packet(MAX_CONTROL_BYTES + 1);
  subscribe[0] = 0x82;
  assert.ok(!guard.accepts(subscribe.subarray(0, 4)));
});

it('counts packets, and for each filter of a SUBSCRIBE at least half of one', () => {
  const guard = new PacketGuard();
  guard.accepts(Buffer.concat([packet(10), packet(0), packet(300)]));
  assert.equal(guard.takeCost(), 3);
  assert.equal(guard.takeCost(), 0);
  const subscribe = packet(80);
  subscribe[0] = 0x82;
  guard.accepts(subscribe);
  assert.equal(guard.takeCost(), 11);
});
