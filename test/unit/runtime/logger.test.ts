import { existsSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { createLogger } from '../../../shared/runtime/logger.ts';
import { temporaryFolder } from '../../support/fixed.ts';
import { eventually } from '../../support/programs.ts';

/** A device of Linux that is always full. */
const FULL = '/dev/full';

test('a log that found the disk full goes on when there is space', {
  skip: existsSync(FULL) ? false : `there is no ${FULL} here`,
}, async (t) => {
  const folder = await temporaryFolder(t);
  const path = join(folder, 'agent.log');
  symlinkSync(FULL, path);
  const logger = createLogger({ program: 'agent', folder });
  logger.info('part.lost');
  await delay(100);
  logger.info('part.lost_too');
  rmSync(path);
  await eventually(() => {
    logger.info('part.back');
    return existsSync(path) && readFileSync(path, 'utf8').includes('part.back');
  }, 'the log stayed silent');
});
