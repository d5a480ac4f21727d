/** What a request adds to the logits of single tokens, as OpenAI defines it: penalties for what was said, and biases of its own. Pure. */
import type { TextGenerationParameters } from '../../tasks/text-generation/schema.ts';
import type { Stepper } from './search.ts';

/** Parameters that change the logits of single tokens. */
type Biases = {
  readonly [Name in 'frequency_penalty' | 'presence_penalty' | 'logit_bias']: TextGenerationParameters[Name];
};

/**
 * What changes scores f32[R,V] in place, before temperature: `logit - count x frequency - (count > 0) x presence + bias`, where the
 * count is of the tokens that were generated, without those of the prompt.
 *
 * @returns undefined where nothing is changed
 */
export function biasesOf(
  { frequency_penalty: frequency = 0, presence_penalty: presence = 0, logit_bias = {} }: Biases,
  promptLength: number,
): Stepper['adjust'] | undefined {
  const biases = Object.entries(logit_bias).map(([id, bias]) => [Number(id), bias] as const);
  if (frequency === 0 && presence === 0 && biases.length === 0) return undefined;
  return (rows, scores) => {
    const words = scores.length / rows.length;
    for (const [index, row] of rows.entries()) {
      const own = scores.subarray(index * words, (index + 1) * words);
      // Of a vocabulary that ends before it a bias says nothing.
      const add = (id: number, value: number): void => {
        if (id < own.length) own[id] = (own[id] as number) + value;
      };
      const said = row.slice(promptLength);
      for (const id of said) add(id, -frequency);
      for (const id of new Set(said)) add(id, -presence);
      for (const [id, bias] of biases) add(id, bias);
    }
  };
}
