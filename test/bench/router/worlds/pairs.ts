/**
 * The starter pairs as worlds: what both models really answer to labelled examples, as a pool to draw from. The models are asked
 * once, through the project's own runner; the answers are kept in bench-results/ until a model or an example changes.
 */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { readJson, writeJsonAtomic } from '../../../../shared/runtime/atomic-file.ts';
import { USUAL_LOSS } from '../../../../shared/tasks/loss-options.ts';
import { TASKS } from '../../../../shared/tasks/tasks.ts';
import { askModel } from '../../../../tools/measure/answers.ts';
import { readExamples } from '../../../../tools/measure/examples.ts';
import { RESULTS_FOLDER } from '../../harness.ts';
import { openPair, PAIRS, type Pair } from '../../pairs.ts';
import type { Pool } from './pool.ts';

const pairAnswers = z.object({
  edge: z.string(),
  cloud: z.string(),
  examples: z.string(),
  certified: z.array(z.object({ agreement: z.number(), threshold: z.number().nullable() })),
  answers: z.array(
    z.object({
      routeScore: z.number(),
      loss: z.number().min(0).max(1),
      /** Of the local model, best first. */
      probabilities: z.array(z.number()),
    }),
  ),
});
export type PairAnswers = z.infer<typeof pairAnswers>;

/** All labels: some rules look at more than the best. */
const ALL_LABELS = { top_k: 10_000 };

/** Asks the pairs, or finds what they said before. @returns a file for each */
export async function answerPairs(data: string): Promise<string[]> {
  const files: string[] = [];
  for (const pair of PAIRS) files.push(await answerPair(pair, data));
  return files;
}

async function answerPair(pair: Pair, data: string): Promise<string> {
  const { edge, cloud, certificate } = await openPair(pair);
  const { task } = edge.spec;
  const examples = await readExamples(task, 'reported', data);
  const key = createHash('sha256').update(edge.digest).update(cloud.digest);
  for (const { input } of examples) key.update(input.body);
  const file = join(RESULTS_FOLDER, `${pair.edge}-${key.digest('hex').slice(0, 16)}.json`);
  if (await readJson(file, pairAnswers)) return file;

  console.error(`asking ${pair.edge} and ${pair.cloud} about ${examples.length} examples`);
  const inputs = examples.map(({ input }) => ({ ...input, parameters: ALL_LABELS }));
  const cloudAnswers = await askModel(cloud, inputs);
  const answers = (await askModel(edge, inputs)).map(({ routeScore, output }, index) => ({
    routeScore,
    loss: TASKS[task].judge.lossOf(output, cloudAnswers[index]?.output, USUAL_LOSS),
    probabilities: output.map(({ score }) => score),
  }));
  const told: PairAnswers = { ...pair, certified: certificate.thresholds, answers };
  await writeJsonAtomic(file, told);
  return file;
}

export const readPair = async (file: string): Promise<PairAnswers> =>
  pairAnswers.parse(JSON.parse(await readFile(file, 'utf8')));

export const nameOf = ({ edge, cloud }: Pair): string => `${edge} with ${cloud}`;

export function pairPool({ answers }: PairAnswers): Pool {
  return {
    scores: Float64Array.from(answers, ({ routeScore }) => routeScore),
    losses: Float64Array.from(answers, ({ loss }) => loss),
    tops: Float64Array.from(answers, ({ probabilities }) => probabilities[0]!),
    probabilities: Float32Array.from(answers.flatMap(({ probabilities }) => probabilities)),
  };
}
