import assert from 'node:assert/strict';
import { existsSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { createLogger } from '../../../../shared/runtime/logger.ts';
import { FakeClock, settle } from '../../../support/fake-clock.ts';
import { temporaryFolder } from '../../../support/fixed.ts';

/** A device of Linux that is always full. */
const FULL = '/dev/full';

test('a log that found the disk full goes on when there is space', {
  skip: existsSync(FULL) ? false : `there is no ${FULL} here`,
}, async (t) => {
  const folder = await temporaryFolder(t);
  const path = join(folder, 'agent.log');
  symlinkSync(FULL, path);
  const clock = new FakeClock();
  const logger = createLogger({ program: 'agent', folder, clock });
  logger.info('part.lost');
  await settle();
  logger.info('part.lost_too');
  rmSync(path);
  await clock.advance(999);
  logger.info('part.lost_still');
  await settle();
  assert.ok(!existsSync(path), 'it lets the disk alone for a while');
  await clock.advance(1);
  logger.info('part.back');
  await settle();
  assert.match(readFileSync(path, 'utf8'), /part\.back/);
});
