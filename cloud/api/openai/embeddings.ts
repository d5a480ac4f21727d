/** Embeddings: `POST /v1/embeddings`. Each text is an element of its own, and joins a batch of its shape. */
import { z } from 'zod';
import { inputOf } from '../../../shared/contract/http-input.ts';
import { modelName } from '../../../shared/contract/names.ts';
import { AppError } from '../../../shared/runtime/errors.ts';
import { embedding, featureParameters } from '../../../shared/tasks/feature-extraction/schema.ts';
import type { TaskInput } from '../../../shared/tasks/tasks.ts';
import type { InferenceReply } from '../../ports.ts';
import { blaming, refused } from './asked.ts';
import { refuseTokens } from './completions.ts';
import { parsed, readFields } from './parameters.ts';

/** OpenAI's own. */
const MAX_TEXTS = 2_048;

/** Body of a request for embeddings. null is the same as nothing. */
export const embeddingRequest = z.strictObject({
  model: modelName,
  /** A text, or a list of texts. */
  input: z.union([z.string(), z.array(z.string()).min(1).max(MAX_TEXTS)]),
  /** `base64`: little-endian f32, as the official clients ask for by themselves. */
  encoding_format: z.enum(['float', 'base64']).optional(),
  /**
   * The first so many numbers, brought to length 1 again. Of a model that was not trained for it (Matryoshka) they say less than all of
   * them, by how much it alone knows.
   */
  dimensions: z.int().min(1).max(65_536).optional(),
  /** Taken, and not used. */
  user: z.string().optional(),
  /** Not OpenAI's: a text that is too long is cut instead of refused. */
  truncate: featureParameters.shape.truncate,
  /** Not OpenAI's: name of a prompt in the folder's config_sentence_transformers.json. */
  prompt_name: featureParameters.shape.prompt_name,
});

/** Answer: an embedding for each text, in their order. */
export const embeddingList = z.object({
  object: z.literal('list'),
  data: z.array(
    z.object({
      object: z.literal('embedding'),
      index: z.int(),
      embedding: z.union([z.array(z.number()), z.string()]),
    }),
  ),
  model: z.string(),
  usage: z.object({ prompt_tokens: z.int(), total_tokens: z.int() }),
});

/** A request that has been read. */
export interface EmbeddingInput {
  readonly model: string;
  readonly inputs: readonly TaskInput[];
  readonly isBase64: boolean;
  readonly dimensions: number | undefined;
}

/** @throws BAD_REQUEST, PARAMETERS_INVALID, INPUT_EMPTY, INPUT_TOO_LARGE, MODEL_UNKNOWN (no name of a model) */
export async function readEmbeddingRequest(body: Uint8Array): Promise<EmbeddingInput> {
  const fields = readFields(body, {});
  refuseTokens(fields.input, 'input');
  const asked = parsed(embeddingRequest, fields);
  const { model, input, encoding_format, dimensions, truncate = false, prompt_name } = asked;
  const parameters = { truncate, ...(prompt_name !== undefined && { prompt_name }) };
  const inputs = await blaming('input', () =>
    [input].flat().map((inputs) => inputOf('feature-extraction', { inputs, parameters })),
  );
  return { model, inputs, isBase64: encoding_format === 'base64', dimensions };
}

/** @throws PARAMETERS_INVALID where the model has fewer dimensions */
export function toEmbeddings(
  replies: readonly InferenceReply[],
  { model, isBase64, dimensions }: EmbeddingInput,
): z.infer<typeof embeddingList> {
  const tokens = replies.reduce((sum, { read }) => sum + (read?.tokens ?? 0), 0);
  return {
    object: 'list',
    data: replies.map(({ output }, index) => {
      const [row = []] = embedding.parse(output);
      const vector = dimensions === undefined ? row : firstOf(row, dimensions);
      return { object: 'embedding', index, embedding: isBase64 ? toBase64(vector) : [...vector] };
    }),
    model,
    usage: { prompt_tokens: tokens, total_tokens: tokens },
  };
}

/** The first of a row, of length 1. @throws PARAMETERS_INVALID */
function firstOf(row: readonly number[], count: number): readonly number[] {
  if (count === row.length) return row;
  if (count > row.length) throw refused('dimensions', `the model’s embeddings have ${row.length}`);
  const kept = row.slice(0, count);
  const length = Math.hypot(...kept);
  if (length === 0) throw new AppError('OUTPUT_NOT_FINITE', `the first ${count} numbers are all zero`);
  return kept.map((value) => value / length);
}

function toBase64(vector: readonly number[]): string {
  const bytes = Buffer.alloc(vector.length * 4);
  for (const [index, value] of vector.entries()) bytes.writeFloatLE(value, index * 4);
  return bytes.toString('base64');
}
