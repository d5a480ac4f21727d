import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isKept, whyNotPublish } from '../../../../cloud/broker/rights.ts';
import { MAX_STATE_BYTES } from '../../../../shared/contract/limits.ts';
import { deviceTopics, hubTopics } from '../../../../shared/contract/topics.ts';

const gate = { id: 'gate-01', role: 'device', secretSha256: 'x' } as const;
const hub = { id: 'hub-1', role: 'hub', secretSha256: 'x' } as const;
const mine = deviceTopics('gate-01');
const isHub = (id: string): boolean => id === 'hub-1';
const payload = Buffer.from('x');
const may = (said: { topic: string; qos?: number; retain?: boolean }, who: typeof gate | typeof hub = gate) =>
  whyNotPublish(who, { payload, ...said }, isHub) === undefined;

test('a device has its reports and its presence retained, and nothing else', () => {
  for (const [channel, topic] of Object.entries(mine))
    assert.equal(may({ topic, retain: true }), channel === 'reported' || channel === 'presence', channel);
  assert.ok(!may({ topic: hubTopics('hub-1').chunk('gate-01'), retain: true }));
  assert.ok(may({ topic: mine.desired, retain: true }, hub));
});

test('a device sends chunks to a hub that there is', () => {
  assert.ok(may({ topic: hubTopics('hub-1').chunk('gate-01') }));
  assert.ok(!may({ topic: hubTopics('hub-2').chunk('gate-01') }));
  assert.ok(!may({ topic: hubTopics('gate-02').chunk('gate-01') }));
  assert.ok(!may({ topic: hubTopics('hub-1').chunk('gate-02') }));
});

test('nobody says anything at QoS 2, and a stranger nothing at all', () => {
  for (const who of [gate, hub]) {
    assert.ok(may({ topic: mine.infer, qos: 1 }, who));
    assert.ok(!may({ topic: mine.infer, qos: 2 }, who));
  }
  assert.ok(whyNotPublish(undefined, { topic: mine.infer, payload }, isHub));
});

test('a state that is too large is passed on, and not kept', () => {
  const large = { topic: mine.reported, payload: Buffer.alloc(MAX_STATE_BYTES + 1) };
  assert.equal(whyNotPublish(gate, large, isHub), undefined);
  assert.ok(!isKept(gate, large));
  assert.ok(isKept(gate, { ...large, payload: Buffer.alloc(MAX_STATE_BYTES) }));
  assert.ok(isKept(hub, large));
});
