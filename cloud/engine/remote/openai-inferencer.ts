/**
 * A whole task on an OpenAI-compatible server (vLLM, SGLang, llama.cpp, Ollama): generation, streamed where its tokens are wanted, and
 * embeddings. Its answers become those of the task; nothing of them is believed before it has been checked.
 */
import { z } from 'zod';
import { type EngineHttp, failed } from '../../../shared/inference/remote/engine-http.ts';
import type { Clock } from '../../../shared/runtime/clock.ts';
import { AppError } from '../../../shared/runtime/errors.ts';
import { tryParseJson } from '../../../shared/runtime/json.ts';
import { featureParameters } from '../../../shared/tasks/feature-extraction/schema.ts';
import {
  type Generated,
  type GeneratedToken,
  type TextGenerationParameters,
  textGenerationParameters,
} from '../../../shared/tasks/text-generation/schema.ts';
import type { InferenceReply, InferenceRequest, Inferencer, ModelCatalog } from '../../ports.ts';

/** The server, and the model's name there. */
export interface OpenAiInferencerOptions {
  readonly http: EngineHttp;
  readonly remoteName: string;
  readonly catalog: ModelCatalog;
  readonly timeoutMs: number;
  readonly clock: Clock;
}

const usage = z.looseObject({
  prompt_tokens: z.int().nonnegative().nullish(),
  completion_tokens: z.int().nonnegative().nullish(),
});
const finish = z.string().nullish();
const likely = z.looseObject({
  token: z.string(),
  logprob: z.number(),
  // llama.cpp tells it.
  id: z.int().nonnegative().optional(),
});
const chatLogprobs = z.looseObject({
  content: z.array(likely.extend({ top_logprobs: z.array(likely).nullish() })).nullish(),
});
const textLogprobs = z.looseObject({
  tokens: z.array(z.string()).nullish(),
  token_logprobs: z.array(z.number().nullable()).nullish(),
  top_logprobs: z.array(z.record(z.string(), z.number()).nullable()).nullish(),
});
const answer = z.looseObject({
  choices: z
    .array(
      z.looseObject({
        text: z.string().nullish(),
        message: z.looseObject({ content: z.string().nullish() }).nullish(),
        delta: z.looseObject({ content: z.string().nullish() }).nullish(),
        finish_reason: finish,
        logprobs: z.unknown().optional(),
      }),
    )
    .max(16),
  usage: usage.nullish(),
});
const embeddings = z.looseObject({
  data: z.array(z.looseObject({ embedding: z.array(z.number()).min(1).max(100_000) })).length(1),
  usage: usage.nullish(),
});

/** What an OpenAI-compatible server has no word for: left out silently, the answer would be another. */
const NOT_THERE = ['truncate', 'typical_p'] as const;
const NO_EMBEDDING_WORD = ['prompt_name', 'truncation_direction'] as const;

/** Asks the server for one input at a time. */
export class OpenAiInferencer implements Inferencer {
  readonly #o: OpenAiInferencerOptions;

  constructor(options: OpenAiInferencerOptions) {
    this.#o = options;
  }

  async infer(request: InferenceRequest): Promise<InferenceReply> {
    const { catalog, clock } = this.#o;
    const { ref, task } = catalog.resolve(request.model);
    const startedMonoMs = clock.nowMonoMs();
    const { output, tokens } =
      task === 'text-generation' ? await this.#generate(request) : await this.#embed(request);
    const inference = clock.nowMonoMs() - startedMonoMs;
    return {
      ...{ output, model: ref, timingsMs: { queue: 0, preprocess: 0, inference } },
      ...(tokens !== undefined && { read: { tokens } }),
    };
  }

  async #embed({
    input,
    signal,
    expiresMonoMs,
  }: InferenceRequest): Promise<{ output: number[][]; tokens: number | undefined }> {
    const { http, remoteName } = this.#o;
    const parameters = featureParameters.parse(input.parameters ?? {});
    refuse(parameters, NO_EMBEDDING_WORD);
    const body = { model: remoteName, input: textOf(input.body), encoding_format: 'float' };
    const given = await http.ask({
      ...{ method: 'POST', path: '/embeddings', headers: JSON_TYPE, body: JSON.stringify(body), signal },
      timeoutMs: this.#leftMs(expiresMonoMs),
    });
    return http.naming(() => {
      const parsed = embeddings.safeParse(tryParseJson(given.body));
      const [first] = parsed.data?.data ?? [];
      if (!first) throw failed('answers with what is no embedding');
      const row = parameters.normalize === true ? normalized(first.embedding) : first.embedding;
      return { output: [row], tokens: parsed.data?.usage?.prompt_tokens ?? undefined };
    });
  }

  async #generate(request: InferenceRequest): Promise<{ output: Generated; tokens: number | undefined }> {
    const { input } = request;
    const parameters = textGenerationParameters.parse(input.parameters ?? {});
    refuse(parameters, NOT_THERE);
    const prompt = textOf(input.body);
    const heard = request.onToken
      ? await this.#stream(request, parameters, prompt)
      : await this.#whole(request, parameters, prompt);
    const text =
      parameters.return_full_text === true && parameters.chat !== true ? prompt + heard.text : heard.text;
    const { seed } = parameters;
    return {
      tokens: heard.promptTokens,
      output: {
        generated_text: text,
        ...(parameters.details === true && {
          details: {
            // The word that ended it is not told, nor whether there was one.
            finish_reason: heard.finish === 'length' ? ('length' as const) : ('eos_token' as const),
            generated_tokens: heard.tokens,
            ...(heard.promptTokens !== undefined && { input_length: heard.promptTokens }),
            prefill: [],
            tokens: heard.said.map(({ top_tokens: _top, ...token }) => token),
            ...(heard.said.some(({ top_tokens }) => top_tokens) && {
              top_tokens: heard.said.map(({ top_tokens = [] }) => top_tokens),
            }),
            ...(seed !== undefined && { seed }),
          },
        }),
      },
    };
  }

  async #whole(
    { signal, expiresMonoMs }: InferenceRequest,
    parameters: TextGenerationParameters,
    prompt: string,
  ): Promise<Heard> {
    const { http } = this.#o;
    const given = await http.ask({
      ...{ ...this.#request(parameters, prompt, false), signal, timeoutMs: this.#leftMs(expiresMonoMs) },
    });
    return http.naming(() => {
      const parsed = answer.safeParse(tryParseJson(given.body));
      const [choice] = parsed.data?.choices ?? [];
      const text = choice?.message?.content ?? choice?.text;
      if (!choice || typeof text !== 'string') throw failed('answers with what is no completion');
      const said = tokensOf(choice.logprobs, parameters.top_n_tokens);
      if (text !== '') refuseUntold(parameters, said);
      const counted = parsed.data?.usage;
      return {
        ...{ text, said, finish: choice.finish_reason ?? undefined },
        tokens: counted?.completion_tokens ?? said.length,
        promptTokens: counted?.prompt_tokens ?? undefined,
      };
    });
  }

  /** Each piece as a token: how the server's own are cut nobody says. */
  async #stream(
    { signal, onToken }: InferenceRequest,
    parameters: TextGenerationParameters,
    prompt: string,
  ): Promise<Heard> {
    const { http } = this.#o;
    const said: GeneratedToken[] = [];
    let counted: z.infer<typeof usage> | undefined;
    let reason: string | undefined;
    let isDone = false;
    // One behind: which is the last, the end alone tells.
    let held: GeneratedToken | undefined;
    for await (const line of http.lines({ ...this.#request(parameters, prompt, true), signal })) {
      if (!line.startsWith('data:')) continue;
      const data = line.slice('data:'.length).trim();
      if (data === '[DONE]') {
        isDone = true;
        break;
      }
      await http.naming(() => {
        const parsed = answer.safeParse(tryParseJson(Buffer.from(data)));
        if (!parsed.success) throw failed('streams what is no chunk of a completion');
        counted = parsed.data.usage ?? counted;
        const [choice] = parsed.data.choices;
        reason = choice?.finish_reason ?? reason;
        const text = choice?.delta?.content ?? choice?.text ?? '';
        const told = tokensOf(choice?.logprobs, parameters.top_n_tokens);
        // A part of a character has no text of its own, and is a token all the same.
        if (text === '' && told.length === 0) return;
        if (said.length === 0) refuseUntold(parameters, told);
        const token = { ...(told[0] ?? NO_TOKEN), text };
        said.push(token);
        if (held) onToken?.(held, false);
        held = token;
      });
    }
    if (!isDone && reason === undefined)
      await http.naming(() => {
        throw failed('ends its stream in the middle of an answer');
      });
    onToken?.(held ?? { ...NO_TOKEN, text: '' }, true);
    return {
      ...{ text: said.map(({ text }) => text).join(''), said, finish: reason },
      tokens: counted?.completion_tokens ?? said.length,
      promptTokens: counted?.prompt_tokens ?? undefined,
    };
  }

  #request(
    parameters: TextGenerationParameters,
    prompt: string,
    isStreamed: boolean,
  ): { method: 'POST'; path: string; headers: Record<string, string>; body: string } {
    const isChat = parameters.chat === true;
    const { top_n_tokens, max_new_tokens, do_sample, temperature, stop } = parameters;
    const { top_p, top_k, repetition_penalty, frequency_penalty, presence_penalty, logit_bias, seed } =
      parameters;
    const same = { top_p, top_k, repetition_penalty, frequency_penalty, presence_penalty, logit_bias, seed };
    // Of none beside the one that was taken llama.cpp tells nothing at all.
    const likeliest = Math.max(1, top_n_tokens ?? 1);
    const logprobs = isChat ? { logprobs: true, top_logprobs: likeliest } : { logprobs: likeliest };
    const asksChance = do_sample ?? [temperature, top_k, top_p].some((one) => one !== undefined);
    const body = {
      model: this.#o.remoteName,
      ...(isChat ? { messages: tryParseJson(Buffer.from(prompt)) } : { prompt }),
      ...Object.fromEntries(Object.entries(same).filter(([, value]) => value !== undefined)),
      // llama.cpp's name for it; who does not know one of the two leaves it.
      ...(repetition_penalty !== undefined && { repeat_penalty: repetition_penalty }),
      ...(asksChance ? temperature !== undefined && { temperature } : { temperature: 0 }),
      ...(max_new_tokens !== undefined && { max_tokens: max_new_tokens }),
      ...(stop !== undefined && stop.length > 0 && { stop }),
      ...(top_n_tokens !== undefined && logprobs),
      ...(isStreamed && { stream: true, stream_options: { include_usage: true } }),
    };
    return {
      ...{ method: 'POST', path: isChat ? '/chat/completions' : '/completions' },
      ...{ headers: JSON_TYPE, body: JSON.stringify(body) },
    };
  }

  #leftMs(expiresMonoMs: number): number {
    return Math.min(this.#o.timeoutMs, expiresMonoMs - this.#o.clock.nowMonoMs());
  }
}

interface Heard {
  readonly text: string;
  readonly said: readonly GeneratedToken[];
  readonly tokens: number;
  readonly promptTokens: number | undefined;
  readonly finish: string | undefined;
}

const JSON_TYPE = { 'content-type': 'application/json' };
/** Neither id nor probability is told. */
const NO_TOKEN: Omit<GeneratedToken, 'text'> = { id: 0, logprob: 0, special: false };

function textOf(body: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(body);
  } catch (error) {
    throw new AppError('TEXT_INVALID', undefined, { cause: error });
  }
}

/** @throws PARAMETERS_INVALID */
function refuse(given: Readonly<Record<string, unknown>>, names: readonly string[]): void {
  const found = names.find((name) => given[name] !== undefined);
  if (found !== undefined)
    throw new AppError(
      'PARAMETERS_INVALID',
      `${found}: the server that this model runs on has no such parameter`,
      {
        details: { param: found, isDone: false },
      },
    );
}

/** A server that does not tell what was asked for: Ollama's answers have no log-probabilities. @throws PARAMETERS_INVALID */
function refuseUntold({ top_n_tokens }: TextGenerationParameters, said: readonly GeneratedToken[]): void {
  if (top_n_tokens !== undefined && said.length === 0) refuse({ top_n_tokens }, ['top_n_tokens']);
}

/**
 * In a chat's form or a completion's, which llama.cpp writes in that of a chat; empty where there are none.
 *
 * @param most likeliest that were asked for beside each
 */
function tokensOf(logprobs: unknown, most = 0): GeneratedToken[] {
  const chat = chatLogprobs.safeParse(logprobs).data?.content;
  const tokenOf = ({ token, logprob, id = NO_TOKEN.id }: z.infer<typeof likely>): GeneratedToken => ({
    ...{ ...NO_TOKEN, id, text: token, logprob },
  });
  if (chat)
    return chat.map((one) => ({
      ...tokenOf(one),
      ...(one.top_logprobs && most > 0 && { top_tokens: one.top_logprobs.slice(0, most).map(tokenOf) }),
    }));
  const text = textLogprobs.safeParse(logprobs).data;
  return (text?.tokens ?? []).map((token, at) => {
    const beside = Object.entries(text?.top_logprobs?.[at] ?? {}).slice(0, most);
    return {
      ...{ ...NO_TOKEN, text: token, logprob: text?.token_logprobs?.[at] ?? 0 },
      ...(beside.length > 0 && {
        top_tokens: beside.map(([token, logprob]) => tokenOf({ token, logprob })),
      }),
    };
  });
}

function normalized(row: readonly number[]): number[] {
  const length = Math.hypot(...row) || 1;
  return row.map((value) => value / length);
}
