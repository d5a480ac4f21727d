/**
 * `outrider route simulate`: reads captures, replays them through the agent's own learner, and prints what came of it.
 */

import { writeFile } from 'node:fs/promises';
import { Learner } from '../../agent/router/learner.ts';
import { AppError } from '../../shared/runtime/errors.ts';
import { helpText } from '../../shared/runtime/help-text.ts';
import { seededRandom } from '../../shared/runtime/random.ts';
import { print } from '../output.ts';
import { progressBar } from '../progress-bar.ts';
import { readCaptures } from './captures.ts';
import { readOptions, SIMULATE_HELP, type SimulateOptions } from './options.ts';
import { drawSimulation } from './plot.ts';
import { Pool } from './pool.ts';
import { type Bootstrap, type ReplayOptions, replayDrawn, replayInOrder } from './replay.ts';
import { type Report, reportOf, textOf } from './report.ts';
import { loadVega } from './svg-plot.ts';

/** Points of the figure's curve, less one. */
const FINE_STEPS = 200;

/** @param flags as they stand behind `outrider route simulate` @throws USAGE, FILE_UNREADABLE, BAD_REQUEST, INPUT_TOO_LARGE */
export async function simulateRoute(flags: readonly string[]): Promise<void> {
  const options = readOptions(flags);
  if (options === 'help') process.stdout.write(helpText(SIMULATE_HELP));
  else await simulate(options);
}

/** @throws FILE_UNREADABLE, BAD_REQUEST, INPUT_TOO_LARGE */
async function simulate({ path, svg, json, runs, requests, ...given }: SimulateOptions): Promise<void> {
  const { agreement, confidence, scope, seed } = given;
  const { task, loss } = given;
  // Said before the work, not after it.
  if (svg !== undefined) await loadVega();
  const captures = await readCaptures(path, { task, loss, random: seededRandom(seed).fork('ties').next });
  const pool = new Pool(captures, scope);
  const promised = { agreement, confidence, scope };
  const target = { alpha: 1 - agreement, delta: 1 - confidence, scope };
  const newLearner = (random: () => number): Learner => new Learner({ target, certified: null, random });
  const replay = { pool, promised, newLearner, seed };
  const replayed: Pick<Report, 'drawn' | 'inOrder'> = given.inOrder
    ? { drawn: null, inOrder: replayInOrder(replay) }
    : { drawn: { ...(await withProgress(replay, { runs, requests })), runs }, inOrder: null };
  const report = reportOf(captures, pool, promised, replayed);
  if (svg !== undefined) await write(svg, await drawSimulation(report, pool.curve(FINE_STEPS)));
  const picture = svg === undefined ? 'A figure: add --svg FILE.' : `The figure is in ${svg}.`;
  print(json, report, () => textOf(report, picture));
}

/** No signal is caught: Ctrl-C ends the program at once. */
async function withProgress(
  replay: ReplayOptions<ReturnType<Learner['decide']>>,
  length: { readonly runs: number; readonly requests: number },
): Promise<Bootstrap> {
  const bar = progressBar('replaying', length.runs);
  try {
    return await replayDrawn(replay, length, () => bar.increment());
  } finally {
    bar.stop();
  }
}

async function write(path: string, text: string): Promise<void> {
  await writeFile(path, text).catch((error: unknown) => {
    throw new AppError('FILE_UNREADABLE', `${path} cannot be written`, { cause: error });
  });
}
