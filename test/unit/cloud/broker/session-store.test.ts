import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MAX_QUEUED, MAX_QUEUED_BYTES, SessionStore } from '../../../../cloud/broker/session-store.ts';
import { isAppError } from '../../../../shared/runtime/errors.ts';

const GATE = { id: 'gate-01' };
const message = (brokerCounter: number, payload = Buffer.from('x'), topic = 'a/b/c/d') => ({
  cmd: 'publish',
  topic,
  payload,
  brokerCounter,
});
const create = () =>
  new SessionStore({
    maySubscribe: (_id, filter) => !filter.startsWith('foreign'),
    mayRetain: (topic) => !topic.includes('gone'),
  });
const subscribers = [{ clientId: GATE.id, topic: 'a/b/c/d', qos: 1 as const }];

async function all(stream: AsyncIterable<{ brokerCounter: number }>): Promise<number[]> {
  const found: number[] = [];
  for await (const { brokerCounter } of stream) found.push(brokerCounter);
  return found;
}

test('keeps what a client has not acknowledged, in order, and no more', async () => {
  const store = create();
  for (const counter of [1, 2, 3]) await store.outgoingEnqueueCombi(subscribers, message(counter));
  for (const counter of [1, 2, 3])
    await store.outgoingUpdate(GATE, { ...message(counter), messageId: 100 + counter });
  assert.equal((await store.outgoingClearMessageId(GATE, { messageId: 102 }))?.brokerCounter, 2);
  assert.equal(await store.outgoingClearMessageId(GATE, { messageId: 102 }), undefined);
  assert.deepEqual(await all(store.outgoingStream(GATE)), [1, 3]);
});

test('has room for so many messages of a client and so many bytes, and says whose session is full', async () => {
  for (const { payload, room } of [
    { payload: Buffer.from('x'), room: MAX_QUEUED },
    { payload: Buffer.alloc(1024 * 1024), room: MAX_QUEUED_BYTES / 1024 / 1024 },
  ]) {
    const store = create();
    for (let i = 1; i <= room + 1; i++) await store.outgoingEnqueueCombi(subscribers, message(i, payload));
    assert.equal((await all(store.outgoingStream(GATE))).length, room);
    const late = { ...message(room + 1, payload), messageId: 1 };
    await assert.rejects(store.outgoingUpdate(GATE, late), (error) => isAppError(error, 'QUEUE_FULL'));
    // What it acknowledges makes room again.
    await store.outgoingUpdate(GATE, { ...message(1, payload), messageId: 2 });
    await store.outgoingClearMessageId(GATE, { messageId: 2 });
    await store.outgoingEnqueueCombi(subscribers, message(room + 2, payload));
    assert.equal((await all(store.outgoingStream(GATE))).at(-1), room + 2);
  }
});

test('finds each client once, by topic and by wildcard, and only those that want to wait', async () => {
  const store = create();
  await store.addSubscriptions(GATE, [
    { topic: 'a/b/c/d', qos: 1 },
    { topic: 'a/b/+/d', qos: 1 },
    { topic: 'foreign/x', qos: 1 },
    { topic: 'a/b/c/e', qos: 0 },
  ]);
  await store.addSubscriptions({ id: 'hub-1' }, [{ topic: 'a/#', qos: 1 }]);
  const ids = async (topic: string) =>
    (await store.subscriptionsByTopic(topic)).map((one) => one.clientId).sort();
  assert.deepEqual(await ids('a/b/c/d'), ['gate-01', 'hub-1']);
  assert.deepEqual(await ids('a/b/c/e'), ['hub-1']);
  assert.deepEqual(await ids('a'), ['hub-1'], '# is also the level above it');
  assert.deepEqual(await ids('foreign/x'), []);
  await store.removeSubscriptions(GATE, ['a/b/+/d']);
  assert.deepEqual(await ids('a/b/x/d'), ['hub-1']);
  assert.deepEqual(
    (await store.subscriptionsByClient(GATE)).map(({ topic }) => topic),
    ['a/b/c/d', 'a/b/c/e'],
  );
  await store.cleanSubscriptions(GATE);
  assert.deepEqual(await ids('a/b/c/d'), ['hub-1']);
});

test('retains the last message of a topic, of nobody who is gone, until it is taken back', async () => {
  const store = create();
  await store.storeRetained(message(1, Buffer.from('old')));
  await store.storeRetained(message(2, Buffer.from('new')));
  await store.storeRetained(message(3, Buffer.from('x'), 'a/b/other/d'));
  await store.storeRetained(message(4, Buffer.from('x'), 'a/b/gone/d'));
  const found = (...filters: string[]) => all(store.createRetainedStreamCombi(filters));
  assert.deepEqual(await found('a/b/c/d'), [2]);
  assert.deepEqual(await found('a/b/+/d'), [2, 3]);
  assert.deepEqual(await found('a/#'), [2, 3]);
  await store.storeRetained(message(5, Buffer.alloc(0)));
  assert.deepEqual(await found('a/#'), [3]);
});

test('forgets all of a client whose credential is gone', async () => {
  const store = create();
  await store.addSubscriptions(GATE, [{ topic: 'a/b/c/d', qos: 1 }]);
  await store.outgoingEnqueueCombi(subscribers, message(1));
  await store.storeRetained(message(2));
  store.forget(GATE.id, ['a/b/c/d']);
  assert.deepEqual(await store.subscriptionsByClient(GATE), []);
  assert.deepEqual(await store.subscriptionsByTopic('a/b/c/d'), []);
  assert.deepEqual(await all(store.outgoingStream(GATE)), []);
  assert.deepEqual(await all(store.createRetainedStreamCombi(['a/b/c/d'])), []);
});

test('keeps nothing for QoS 2', async () => {
  const store = create();
  for (const asked of [store.incomingStorePacket(), store.incomingGetPacket(), store.incomingDelPacket()])
    await assert.rejects(asked, (error) => isAppError(error, 'INVARIANT_BROKEN'));
  await assert.rejects(store.outgoingUpdate(GATE, { ...message(1), cmd: 'pubrel', messageId: 1 }));
});
