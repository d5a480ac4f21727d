import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FeedStates } from '../../../../agent/feed/feed-states.ts';
import { toldFeed } from '../../../../agent/wiring/told-feed.ts';
import { AppError } from '../../../../shared/runtime/errors.ts';
import { FakeClock } from '../../../support/fake-clock.ts';
import { recordingLogger } from '../../../support/recording-logger.ts';

function setUp() {
  const clock = new FakeClock();
  const logger = recordingLogger();
  let changes = 0;
  const states = new FeedStates({ clock, logger, onChange: () => void changes++ });
  return { clock, logger, states, changes: () => changes };
}

test('counts what a feed has given and passed over, through all of its states', () => {
  const { states } = setUp();
  states.set('gate', 'starting');
  states.set('gate', 'live');
  states.taken('gate');
  states.taken('gate');
  states.dropped('gate');
  states.set('gate', 'failed', new AppError('FILE_UNREADABLE', 'gone'));
  const { inputs, dropped, state, reason } = states.of('gate') ?? assert.fail();
  assert.deepEqual(
    [inputs, dropped, state, reason?.code, reason?.message],
    [2, 1, 'failed', 'FILE_UNREADABLE', 'gone'],
  );
  assert.equal(states.of('other'), undefined);
});

test('keeps since when a feed is in its state, whatever the reason becomes', async () => {
  const { states, clock } = setUp();
  states.set('gate', 'failed', new AppError('FILE_UNREADABLE', 'one'));
  const since = states.of('gate')?.sinceAtMs;
  await clock.advance(1_000);
  states.set('gate', 'failed', new AppError('FILE_UNREADABLE', 'two'));
  assert.equal(states.of('gate')?.sinceAtMs, since);
  assert.equal(states.of('gate')?.reason?.message, 'two');
});

test('what does not change is not told again, nor each movement before a camera', () => {
  const { states, changes, logger } = setUp();
  states.set('gate', 'live');
  assert.equal(changes(), 1);
  states.set('gate', 'still');
  states.set('gate', 'live');
  assert.equal(changes(), 1);
  const gone = new AppError('FILE_UNREADABLE', 'gone');
  states.set('gate', 'failed', gone);
  states.set('gate', 'failed', gone);
  assert.equal(changes(), 2);
  assert.deepEqual(logger.failures(), ['feed.failed FILE_UNREADABLE']);
  states.set('gate', 'still');
  assert.equal(changes(), 3);
});

test('a device is not ready while a feed is stalled or failed', () => {
  const { states } = setUp();
  for (const state of ['starting', 'live', 'still', 'asleep', 'ended'] as const) {
    states.set('gate', state);
    assert.equal(states.down, undefined, state);
  }
  for (const state of ['stalled', 'failed'] as const) {
    states.set('gate', state, new AppError('FILE_UNREADABLE', state));
    assert.equal(states.down?.name, 'gate', state);
  }
});

test('the hub hears whether a device sees, without paths of its disk', () => {
  const { states } = setUp();
  assert.equal(toldFeed(states.of('gate')), undefined);
  states.set('gate', 'still');
  assert.equal(toldFeed(states.of('gate'))?.state, 'live');
  states.set('gate', 'failed', new AppError('FILE_UNREADABLE', 'the folder /srv/pictures/gate is gone'));
  assert.deepEqual(toldFeed(states.of('gate'))?.reason, {
    code: 'FILE_UNREADABLE',
    message: 'the folder gate is gone',
  });
});
