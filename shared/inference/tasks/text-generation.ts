/** `text-generation`: a prompt goes on, token by token, as Text Generation Inference (TGI) answers it. */

import { AppError } from '../../runtime/errors.ts';
import {
  type FinishReason,
  type GeneratedToken,
  type TextGenerationParameters,
  textGenerationParameters,
} from '../../tasks/text-generation/schema.ts';
import { type ChatPrompt, loadChatPrompt } from '../generation/chat-prompt.ts';
import { generateTokens } from '../generation/generate-tokens.ts';
import { type Generator, loadGenerator } from '../generation/generation.ts';
import type { LikelyToken } from '../generation/search.ts';
import { biasesOf } from '../generation/token-biases.ts';
import { type ReadText, type Tokens, TokenText } from '../generation/tokens.ts';
import type { Answer, ModelSource, RunControl, TaskModel } from '../runner/task-model.ts';
import { decodeUtf8 } from '../text/utf8.ts';

interface PreparedPrompt {
  readonly text: string;
  readonly ids: readonly number[];
  readonly isCut: boolean;
  readonly parameters: TextGenerationParameters;
}

/** TGI's; what a folder says is how long an answer may be at most. */
const DEFAULT_NEW_TOKENS = 100;
/** Where the folder does not say how much the model reads. */
const DEFAULT_POSITIONS = 2_048;

/** @throws MODEL_INVALID */
export async function loadTextGeneration(source: ModelSource): Promise<TaskModel<PreparedPrompt>> {
  const generator = await loadGenerator(source, 'causal');
  const { config, tokens } = generator;
  const chatPrompt = await loadChatPrompt(source.folder, tokens);
  const positions =
    config.max_position_embeddings ?? config.n_positions ?? tokens.maxTokens ?? DEFAULT_POSITIONS;

  const model: TaskModel<PreparedPrompt> = {
    // One at a time: a padded neighbour changes the last digits, and so in the end the words.
    maxBatchSize: 1,
    executionProvider: generator.executionProvider,
    async prepare(input) {
      const parameters = textGenerationParameters.parse(input.parameters ?? {});
      const { text, ids, isCut } = readPrompt(decodeUtf8(input.body), parameters, { tokens, chatPrompt });
      const { truncate } = parameters;
      const kept = truncate === undefined ? ids : ids.slice(-truncate);
      // A prompt that lost its beginning in silence would be a wrong answer: TGI refuses too.
      if (kept.length >= positions)
        throw new AppError(
          'INPUT_TOO_LARGE',
          `the prompt has ${kept.length} tokens; the model reads ${positions} with its answer (parameter truncate)`,
        );
      return { text, ids: kept, isCut: isCut || kept.length < ids.length, parameters };
    },
    shapeKey: () => 'one',
    async run(batch, control) {
      const answers: Answer[] = [];
      for (const prompt of batch) answers.push(await answer(generator, { prompt, positions, control }));
      return answers;
    },
  };
  // The first run allocates, and shows whether graph, tokenizer and settings fit together.
  const parameters = { max_new_tokens: 2 };
  await model.run([await model.prepare({ contentType: 'text/plain', body: Buffer.from('a'), parameters })]);
  return model;
}

/** @throws INPUT_EMPTY, INPUT_INVALID (no messages), BAD_REQUEST (a model without a template) */
function readPrompt(
  text: string,
  { chat }: TextGenerationParameters,
  { tokens, chatPrompt }: { readonly tokens: Tokens; readonly chatPrompt: ChatPrompt },
): ReadText & { readonly text: string } {
  if (chat !== true) return { text, ...tokens.read(text, Number.MAX_SAFE_INTEGER) };
  const prompt = chatPrompt(text);
  return { text: prompt, ...tokens.readWhole(prompt) };
}

async function answer(
  generator: Generator,
  {
    prompt,
    positions,
    control,
  }: { prompt: PreparedPrompt; positions: number; control: RunControl | undefined },
): Promise<Answer> {
  const { tokens } = generator;
  const { ids, parameters, isCut } = prompt;
  const { stop = [], seed, return_full_text, details, truncate: _cut, chat: _chat, ...others } = parameters;
  const { frequency_penalty, presence_penalty, logit_bias, top_n_tokens = 0, ...rest } = others;
  const stream = new TokenText(tokens);
  const said: GeneratedToken[] = [];
  const likely: (readonly GeneratedToken[])[] = [];
  let written = '';
  const found = await generateTokens(generator, {
    encoded: undefined,
    prompt: ids,
    parameters: { ...rest, do_sample: isSampling(parameters) },
    positions,
    defaultNewTokens: DEFAULT_NEW_TOKENS,
    seed,
    control,
    biases: biasesOf({ frequency_penalty, presence_penalty, logit_bias }, ids.length),
    onToken(id, logprob, isLast, likeliest) {
      const special = tokens.specialIds.has(id);
      const piece = special ? '' : stream.push(id);
      written += piece;
      const isStopped = stopEnd(written, piece, stop) !== undefined;
      const token = {
        id,
        text: special ? tokens.write([id], { withSpecial: true }) : piece,
        logprob,
        special,
      };
      said.push(token);
      if (top_n_tokens === 0) control?.onToken?.(token, isLast || isStopped);
      else {
        const top = likeliest(top_n_tokens).map((one) => toToken(tokens, one));
        likely.push(top);
        control?.onToken?.({ ...token, top_tokens: top }, isLast || isStopped);
      }
      return isStopped;
    },
  });
  const whole = tokens.write(found.tokens);
  const end = found.reason === 'told' ? stopEnd(whole, whole, stop) : undefined;
  const text = whole.slice(0, end);
  return {
    output: {
      generated_text: return_full_text === true ? prompt.text + text : text,
      ...(details === true && {
        details: {
          finish_reason: reasonOf(found.reason),
          generated_tokens: found.tokens.length,
          input_length: ids.length,
          prefill: [],
          tokens: said,
          ...(top_n_tokens > 0 && { top_tokens: likely }),
          ...(seed !== undefined && { seed }),
        },
      }),
    },
    routeScore: found.meanLogprob,
    ...(isCut && { isCut: true }),
  };
}

/** With the text that it has by itself: beside others it may have another. */
const toToken = ({ specialIds, write }: Tokens, { id, logprob }: LikelyToken): GeneratedToken => ({
  ...{ id, logprob, text: write([id], { withSpecial: true }), special: specialIds.has(id) },
});

/** As TGI: who asks for any of these wants chance, unless at the value at which it changes nothing. */
function isSampling({
  do_sample,
  temperature = 1,
  top_k = 0,
  top_p = 1,
  typical_p = 1,
}: TextGenerationParameters): boolean {
  return do_sample ?? (temperature !== 1 || top_k !== 0 || top_p !== 1 || typical_p !== 1);
}

/**
 * Where the first of the words that end an answer ends, looked for where the last piece may have made it whole.
 *
 * @returns undefined where there is none yet
 */
function stopEnd(written: string, piece: string, stop: readonly string[]): number | undefined {
  const ends = stop.flatMap((word) => {
    const from = Math.max(0, written.length - piece.length - word.length + 1);
    const at = written.indexOf(word, from);
    return at < 0 ? [] : [at + word.length];
  });
  return ends.length === 0 ? undefined : Math.min(...ends);
}

function reasonOf(reason: 'length' | 'end' | 'told' | 'aborted'): FinishReason {
  switch (reason) {
    case 'end':
      return 'eos_token';
    case 'told':
      return 'stop_sequence';
    case 'length':
    case 'aborted':
      return 'length';
  }
}
