/** What each starter model is asked in the bench, and how its answer is judged: on data that it was not trained on. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { gunzip } from 'fflate';
import { z } from 'zod';
import type { ModelSpec } from '../../../shared/release/folder/model-spec.ts';
import { rankedAnswer } from '../../../shared/tasks/forms/labels.ts';
import { textAnswer } from '../../../shared/tasks/judging/texts.ts';
import { USUAL_LOSS } from '../../../shared/tasks/loss-options.ts';
import { questionAnsweringJudge, spanAnswer } from '../../../shared/tasks/question-answering/judge.ts';
import type { TaskInput } from '../../../shared/tasks/tasks.ts';
import { dataSetOf, readExamples } from '../../../tools/measure/examples.ts';

export interface Asked {
  readonly id: string;
  readonly input: TaskInput;
  /** Of an answer of ours or of the peer's, 0..1; null where one alone says nothing (translations are judged together). */
  right(output: unknown): number | null;
  /** What is right, for the reference: a label, a text. */
  readonly wanted: string;
}

export interface Judged {
  /** `accuracy`, `F1`. */
  readonly measure: string;
  readonly asked: readonly Asked[];
}

export async function askedOf(spec: ModelSpec, data: string): Promise<Judged> {
  if (spec.task === 'question-answering') return { measure: 'F1', asked: await questions(data) };
  if (spec.task === 'translation') return { measure: 'BLEU', asked: await captions(data) };
  const examples = await readExamples(dataSetOf(spec), 'reported', data);
  const asked = examples.map(({ id, label, input }) => ({
    id,
    input,
    wanted: label,
    right: (output: unknown) => (labelOf(output) === label ? 1 : 0),
  }));
  return { measure: 'accuracy', asked };
}

export const labelOf = (output: unknown): string | undefined =>
  rankedAnswer.safeParse(output).data?.[0]?.label;
/** transformers.js gives a list of one. */
export const translationOf = (output: unknown): string | undefined =>
  textAnswer.safeParse(Array.isArray(output) ? output[0] : output).data;

const squad = z.object({
  data: z.array(
    z.object({
      paragraphs: z.array(
        z.object({
          context: z.string(),
          qas: z.array(
            z.object({
              id: z.string(),
              question: z.string(),
              answers: z.array(z.object({ text: z.string() })),
            }),
          ),
        }),
      ),
    }),
  ),
});

async function questions(data: string): Promise<Asked[]> {
  const { data: articles } = squad.parse(JSON.parse(await unzipped(join(data, 'squad', 'val.json.gz'))));
  const paragraphs = articles.flatMap((article) => article.paragraphs);
  return paragraphs.flatMap(({ context, qas }) =>
    qas.map(({ id, question, answers }) => ({
      id,
      input: { contentType: 'application/json', body: Buffer.from(JSON.stringify({ question, context })) },
      wanted: answers[0]?.text ?? '',
      // SQuAD takes the best of the answers that people gave.
      right: (output: unknown) => {
        const answer = spanAnswer.safeParse(output).data ?? { answer: '' };
        const losses = answers.map(({ text }) =>
          questionAnsweringJudge.lossOf(answer, { answer: text }, USUAL_LOSS),
        );
        return 1 - Math.min(...losses);
      },
    })),
  );
}

async function captions(data: string): Promise<Asked[]> {
  const lines = async (language: string): Promise<string[]> =>
    (await unzipped(join(data, 'multi30k', `val.${language}.gz`))).trim().split('\n');
  const [english, german] = [await lines('en'), await lines('de')];
  return english.map((text, index) => ({
    id: String(index + 1),
    input: {
      contentType: 'text/plain; charset=utf-8',
      body: Buffer.from(text),
      parameters: { generate_parameters: { num_beams: 1 } },
    },
    wanted: german[index] ?? '',
    right: () => null,
  }));
}

async function unzipped(file: string): Promise<string> {
  return Buffer.from(await promisify(gunzip)(await readFile(file))).toString('utf8');
}
