/** The answer of each task as people want to read it: a table where there are several things, else the text. */
import { z } from 'zod';
import {
  classification,
  detection,
  embedding,
  entity,
  filledMask,
  recognized,
  span,
  tensor,
} from '../shared/tasks/task-schemas.ts';
import type { TaskName } from '../shared/tasks/tasks.ts';
import { table } from './output.ts';

/** Numbers of a row or a tensor that are shown. */
const SHOWN_NUMBERS = 8;
const MAX_ROWS = 20;

/** @param output as the hub's Hugging Face face gives it; of another form it is shown as JSON */
export function answerText(task: TaskName, output: unknown): string {
  return printable(readable(task, output) ?? JSON.stringify(output, null, 2));
}

/** Without what would steer a terminal: a model's words are data from outside. Our own colours are put on later, or not at all. */
export const printable = (text: string): string => text.replace(/(?![\n\t])\p{Cc}/gu, '\uFFFD');

function readable(task: TaskName, output: unknown): string | undefined {
  const one = Array.isArray(output) && output.length === 1 ? (output[0] as unknown) : output;
  switch (task) {
    case 'text-classification':
      return of(z.array(classification), one, labels);
    case 'image-classification':
    case 'zero-shot-classification':
      return of(z.array(classification), output, labels);
    case 'object-detection':
      return of(z.array(detection), output, boxes);
    case 'token-classification':
      return of(z.array(entity), output, entities);
    case 'question-answering':
      return of(z.array(span), output, spans);
    case 'fill-mask':
      return of(z.array(filledMask), output, filled);
    case 'feature-extraction':
      return of(embedding, output, (rows) => rows.map((row) => `[${row.length}] ${numbers(row)}`).join('\n'));
    case 'tensor':
      return of(z.array(tensor), output, tensors);
    case 'automatic-speech-recognition':
      return of(recognized, output, speech);
    case 'translation':
    case 'summarization':
    case 'text-generation':
    case 'image-to-text':
      return of(z.record(z.string(), z.unknown()), one, (answer) => {
        const text = answer.translation_text ?? answer.summary_text ?? answer.generated_text;
        return typeof text === 'string' ? text : JSON.stringify(answer, null, 2);
      });
  }
}

function of<T>(schema: z.ZodType<T>, output: unknown, text: (answer: T) => string): string | undefined {
  const parsed = schema.safeParse(output);
  return parsed.success ? text(parsed.data) : undefined;
}

const score = (value: number): string => value.toFixed(4);

const labels = (answer: z.infer<typeof classification>[]): string =>
  table(
    ['label', 'score'],
    answer.map((one) => [one.label, score(one.score)]),
  );

function boxes(answer: z.infer<typeof detection>[]): string {
  if (answer.length === 0) return 'nothing found';
  return table(
    ['label', 'score', 'left', 'top', 'right', 'bottom'],
    answer.map((one) => {
      const { xmin, ymin, xmax, ymax } = one.box;
      return [one.label, score(one.score), ...[xmin, ymin, xmax, ymax].map((px) => px.toFixed(0))];
    }),
  );
}

function entities(answer: z.infer<typeof entity>[]): string {
  if (answer.length === 0) return 'nothing found';
  return table(
    ['word', 'is', 'score', 'from', 'to'],
    answer.map(({ word, entity_group, entity: kind, score: value, start, end }) => [
      ...[word, entity_group ?? kind ?? '', score(value)],
      ...[String(start), String(end)],
    ]),
  );
}

const spans = (answer: z.infer<typeof span>[]): string =>
  table(
    ['answer', 'score', 'from', 'to'],
    answer.map((one) => [one.answer || '(none)', score(one.score), String(one.start), String(one.end)]),
  );

const filled = (answer: z.infer<typeof filledMask>[]): string =>
  table(
    ['word', 'score', 'text'],
    answer.map((one) => [one.token_str, score(one.score), one.sequence]),
  );

function tensors(answer: z.infer<typeof tensor>[]): string {
  return table(
    ['name', 'type', 'shape', 'values'],
    answer
      .slice(0, MAX_ROWS)
      .map(({ name, datatype, shape, data }) => [name, datatype, `[${shape.join(', ')}]`, numbers(data)]),
  );
}

function speech({ text, chunks }: z.infer<typeof recognized>): string {
  if (!chunks) return text;
  return table(
    ['from', 'to', 'text'],
    chunks.map(({ timestamp: [from, to], text: part }) => [seconds(from), seconds(to), part]),
  );
}

const seconds = (value: number | null | undefined): string => (value == null ? '' : `${value.toFixed(2)} s`);

function numbers(values: readonly (number | boolean | string)[]): string {
  const shown = values
    .slice(0, SHOWN_NUMBERS)
    .map((one) => (typeof one === 'number' ? Number(one.toFixed(4)) : one));
  return `${shown.join(', ')}${values.length > SHOWN_NUMBERS ? ', …' : ''}`;
}
