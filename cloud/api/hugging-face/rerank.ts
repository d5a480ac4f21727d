/**
 * Text Embeddings Inference's `/rerank`, below the model's address: a query and texts at the top of the body, the texts' scores as the
 * answer. Its clients are given `…/hf/models/{model}` as the address of their server.
 */
import { z } from 'zod';
import { inputOf } from '../../../shared/contract/http-input.ts';
import { AppError } from '../../../shared/runtime/errors.ts';
import { parseJson } from '../../../shared/runtime/json.ts';
import type { TaskInput } from '../../../shared/tasks/tasks.ts';
import { rankedText, rankingInput, rankingParameters } from '../../../shared/tasks/text-ranking/schema.ts';

/** Body of a reranking: input and parameters of `text-ranking`, side by side. */
export const rerankRequest = rankingInput.extend({
  ...rankingParameters.shape,
  /** As Text Embeddings Inference writes them; in small letters, too. No enum may have both: generators of clients make one name of them. */
  truncation_direction: z.enum(['Left', 'Right']).optional(),
  /** The address names the model. */
  model: z.unknown().optional(),
});

/** Texts by their index in the request, best first. */
export const reranked = z.array(rankedText);

/** @throws BAD_REQUEST, INPUT_INVALID, PARAMETERS_INVALID */
export function readRerank(body: Uint8Array): TaskInput {
  const json = parseJson(body);
  if (typeof json !== 'object' || json === null || Array.isArray(json))
    throw new AppError('BAD_REQUEST', 'the JSON body must be {"query": string, "texts": [string, …], …}');
  const { query, texts, model: _model, ...parameters } = json as Record<string, unknown>;
  const { truncation_direction: side } = parameters;
  return inputOf('text-ranking', {
    inputs: { query, texts },
    parameters: {
      ...parameters,
      ...(typeof side === 'string' && { truncation_direction: side.toLowerCase() }),
    },
  });
}
