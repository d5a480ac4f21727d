/**
 * The least that a model of each task can be asked: whether it answers at all, where it has no golden inputs. There are two of each,
 * so that it can be seen whether an answer depends on its neighbour in a batch.
 */

import { z } from 'zod';
import { readModelJson } from '../../release/folder/model-files.ts';
import type { ModelFolder } from '../../release/folder/model-folder.ts';
import type { TensorSpec } from '../../release/folder/model-spec.ts';
import { AppError } from '../../runtime/errors.ts';
import { DATATYPES, isElementType } from '../../tasks/element-types.ts';
import { CONTENT_TYPES, TASKS, type TaskInput } from '../../tasks/tasks.ts';

/** 8 x 8 px, grey, and of all colours: the least that every picture model takes. */
const PICTURES = [
  'iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAIAAABLbSncAAAACXBIWXMAAAPoAAAD6AG1e1JrAAAAD0lEQVQI12NowAEYhpYEAILzYAGUMxmUAAAAAElFTkSuQmCC',
  'iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAIAAABLbSncAAAACXBIWXMAAAPoAAAD6AG1e1JrAAAA00lEQVQI1wHIADf/AAAAACVbl0q2Lm8RxZRsXLnH894iigN9IQAo2LhNM09yjuaX6X28RBThn6sG+kIrVdkAULBwdQsHmmaev8E15BzMCXdjLtL6Uy2RAHiIKJ3jv8I+VueZ7Qz0hDFPG1aqsnsFSQCgYODFu3fqFg4PcaU0zDxZJ9N+gmqj3QEAyDiY7ZMvEu7GN0ldXKT0gf+Lploiy7W5APAQUBVr5zrGfl8hFYR8rKnXQ84y2vONcQAY6Ag9Q59injaH+c2sVGTRr/v2CpIbZSlGhV0hR7gT1AAAAABJRU5ErkJggg==',
].map((text) => Buffer.from(text, 'base64'));
const WORDS = ['a', 'b'] as const;
const AUDIO_HZ = 16_000;

/** @throws MODEL_INVALID (tensors of unknown names and shapes; a masked model without a mask) */
export async function smallestInput(
  { path, spec }: Pick<ModelFolder, 'path' | 'spec'>,
  which: 0 | 1 = 0,
): Promise<TaskInput> {
  const word = WORDS[which];
  const { inputKind } = TASKS[spec.task];
  const input = (body: Uint8Array): TaskInput => ({ contentType: CONTENT_TYPES[inputKind], body });
  switch (spec.task) {
    case 'image-classification':
    case 'object-detection':
    case 'image-to-text':
      return input(PICTURES[which] as Buffer);
    case 'text-classification':
    case 'token-classification':
    case 'feature-extraction':
    case 'translation':
    case 'summarization':
    case 'text-generation':
      return input(Buffer.from(word));
    case 'zero-shot-classification':
      return { ...input(Buffer.from(word)), parameters: { candidate_labels: [word] } };
    case 'fill-mask':
      return input(Buffer.from(`${word} ${await maskToken(path)}`));
    case 'question-answering':
      return input(Buffer.from(JSON.stringify({ question: word, context: word })));
    case 'automatic-speech-recognition':
      return input(silence());
    case 'tensor':
      return input(Buffer.from(JSON.stringify(constant(spec.name, which, spec.signature?.inputs))));
  }
}

const masked = z.object({ mask_token: z.union([z.string(), z.object({ content: z.string() })]) });

async function maskToken(folder: string): Promise<string> {
  const { mask_token: token } = await readModelJson(folder, 'tokenizer_config.json', masked);
  return typeof token === 'string' ? token : token.content;
}

/** A tenth of a second of 16-bit PCM. */
function silence(): Buffer {
  const samples = Buffer.alloc((AUDIO_HZ / 10) * 2);
  const head = Buffer.alloc(44);
  head.write('RIFF', 0);
  head.writeUInt32LE(36 + samples.length, 4);
  head.write('WAVEfmt ', 8);
  head.writeUInt32LE(16, 16);
  head.writeUInt16LE(1, 20);
  head.writeUInt16LE(1, 22);
  head.writeUInt32LE(AUDIO_HZ, 24);
  head.writeUInt32LE(AUDIO_HZ * 2, 28);
  head.writeUInt16LE(2, 32);
  head.writeUInt16LE(16, 34);
  head.write('data', 36);
  head.writeUInt32LE(samples.length, 40);
  return Buffer.concat([head, samples]);
}

const MAX_ELEMENTS = 16_000_000;

/** @throws MODEL_INVALID */
function constant(model: string, value: 0 | 1, inputs: readonly TensorSpec[] | undefined): unknown[] {
  if (!inputs)
    throw new AppError(
      'MODEL_INVALID',
      `${model}: without golden inputs outrider.json must say its signature; import the folder again`,
    );
  return inputs.map(({ name, type, dims }) => {
    const shape = dims.map((dim) => dim ?? 1);
    const size = shape.reduce((product, dim) => product * dim, 1);
    if (!isElementType(type))
      throw new AppError('MODEL_INVALID', `${model}: input ${name} is of type ${type}`);
    const datatype = DATATYPES[type];
    if (size > MAX_ELEMENTS)
      throw new AppError('MODEL_INVALID', `${model}: input ${name} has ${size} elements, too many to try`);
    const element = datatype === 'BOOL' ? value === 1 : datatype === 'BYTES' ? String(value) : value;
    return { name, datatype, shape, data: Array.from({ length: size }, () => element) };
  });
}
