/**
 * Every parameter of every method of the official clients, with null, with the value at which it changes nothing, and with one at which it
 * does: that is done, or refused by name. The compiler holds the lists to the types of `@huggingface/tasks`; what Python's clients have
 * besides is asked by themselves in clients.full.test.ts.
 */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type * as hf from '@huggingface/tasks';
import type { TaskName } from '../../../../../shared/tasks/tasks.ts';
import { LABELS, startHubApi, type TestHubApi } from '../../../../support/hub-api.ts';

type Known<T> = keyof { [K in keyof T as string extends K ? never : K]: T[K] };
/** `neutral`: changes nothing. `changes`: changes the answer; `refused` where that is not done here. */
interface Case {
  readonly neutral?: unknown;
  readonly changes: unknown;
  readonly refused?: true;
}
const done = (changes: unknown, neutral?: unknown): Case => ({
  changes,
  ...(neutral !== undefined && { neutral }),
});
const refused = (changes: unknown, neutral?: unknown): Case => ({ ...done(changes, neutral), refused: true });

const RANKED: Record<Known<hf.TextClassificationParameters>, Case> = {
  function_to_apply: done('sigmoid'),
  top_k: done(1),
};
const WRITING: Record<Known<hf.GenerationParameters>, Case> & Record<string, Case> = {
  do_sample: done(true, false),
  early_stopping: done('never', false),
  epsilon_cutoff: refused(0.1, 0),
  eta_cutoff: refused(0.1, 0),
  max_length: done(5),
  max_new_tokens: done(5),
  min_length: done(2, 0),
  min_new_tokens: done(2, 0),
  num_beam_groups: refused(2, 1),
  num_beams: done(2, 1),
  penalty_alpha: refused(0.6, 0),
  temperature: done(2, 1),
  top_k: done(5, 0),
  top_p: done(0.5, 1),
  typical_p: done(0.5, 1),
  use_cache: { neutral: true, changes: false },
  ...{ num_return_sequences: refused(2, 1), diversity_penalty: refused(0.5, 0), length_penalty: done(2, 1) },
};
const TEXT_TO_TEXT: Record<Known<hf.SummarizationParameters>, Case> = {
  clean_up_tokenization_spaces: done(true, false),
  generate_parameters: done({ num_beams: 2 }, {}),
  truncation: done('only_first'),
};
const GENERATION: Record<Known<hf.TextGenerationInputGenerateParameters>, Case> = {
  adapter_id: refused('mine'),
  best_of: refused(2, 1),
  decoder_input_details: refused(true, false),
  details: done(true, false),
  do_sample: done(true, false),
  frequency_penalty: done(0.5, 0),
  grammar: refused({ type: 'regex', value: 'a' }),
  max_new_tokens: done(5),
  repetition_penalty: done(1.2, 1),
  return_full_text: done(true, false),
  seed: done(7),
  stop: done(['end'], []),
  temperature: done(0.8, 1),
  top_k: done(5, 0),
  top_n_tokens: done(2, 0),
  top_p: done(0.95, 1),
  truncate: done(9),
  typical_p: done(0.95, 1),
  watermark: refused(true, false),
};
const PARAMETERS: Partial<Record<TaskName, Record<string, Case>>> = {
  'image-classification': RANKED,
  'text-classification': RANKED,
  'object-detection': { threshold: done(0.9) } satisfies Record<Known<hf.ObjectDetectionParameters>, Case>,
  'token-classification': {
    aggregation_strategy: done('max'),
    ignore_labels: done(['PER'], ['O']),
    stride: done(4, 0),
  } satisfies Record<Known<hf.TokenClassificationParameters>, Case>,
  'question-answering': {
    align_to_words: done(false, true),
    doc_stride: done(64),
    handle_impossible_answer: done(true, false),
    max_answer_len: done(5),
    max_question_len: done(9),
    max_seq_len: done(99),
    top_k: done(3, 1),
  } satisfies Record<Known<hf.QuestionAnsweringParameters>, Case>,
  'zero-shot-classification': {
    candidate_labels: done(['a', 'b']),
    hypothesis_template: done('It is {}.'),
    multi_label: done(true, false),
  } satisfies Record<Known<hf.ZeroShotClassificationParameters>, Case>,
  'fill-mask': { targets: done(['film']), top_k: done(2) } satisfies Record<
    Known<hf.FillMaskParameters>,
    Case
  >,
  translation: { ...TEXT_TO_TEXT, src_lang: done('en'), tgt_lang: done('de') } satisfies Record<
    Known<NonNullable<hf.TranslationInput['parameters']>>,
    Case
  >,
  summarization: TEXT_TO_TEXT,
  'text-generation': {
    ...GENERATION,
    stop_sequences: done(['end'], []),
    num_return_sequences: refused(2, 1),
  },
  'image-to-text': {
    generation_parameters: done({ max_length: 5 }, {}),
    max_new_tokens: done(5),
  } satisfies Record<Known<hf.ImageToTextParameters>, Case>,
  'automatic-speech-recognition': {
    generation_parameters: done({ num_beams: 2 }, {}),
    return_timestamps: done(true, false),
  } satisfies Record<Known<hf.AutomaticSpeechRecognitionParameters>, Case>,
};
/** Those of feature extraction stand beside its inputs; the last two are Python's alone. */
const FEATURES: Record<string, Case> = {
  normalize: done(true),
  prompt_name: done('query'),
  truncate: done(false),
  truncation_direction: done('left'),
  dimensions: refused(8),
  encoding_format: refused('base64', 'float'),
};
/** OpenAI's, of its older form; TGI's come beside. */
const COMPLETIONS: Record<string, Case> = {
  best_of: refused(2, 1),
  echo: done(true, false),
  frequency_penalty: done(1, 0),
  logit_bias: done({ 50256: -100 }, {}),
  logprobs: refused(3, false),
  max_tokens: done(5),
  n: refused(2, 1),
  presence_penalty: done(1, 0),
  seed: done(7),
  stop: done('end'),
  stream: { neutral: false, changes: false },
  stream_options: { neutral: { include_usage: false }, changes: { include_usage: true } },
  suffix: refused(' end', ''),
  temperature: done(1, 0),
  top_p: done(0.9),
  user: { neutral: 'u-1', changes: 'u-2' },
};

const GENERATED = { generated_text: ' then' };
const ANSWERS: Partial<Record<TaskName, unknown>> = {
  'text-generation': GENERATED,
  'feature-extraction': [[1, 0]],
};

describe('the parameters of official clients', () => {
  let hub: TestHubApi;
  before(async () => {
    const models = Object.fromEntries(
      [...Object.keys(PARAMETERS), 'feature-extraction'].map((task) => [task, task as TaskName]),
    );
    hub = await startHubApi({ models });
    hub.answer = ({ model }) => ANSWERS[model as TaskName] ?? LABELS;
  });
  after(() => hub.stop());

  /** @returns the parameters that the model was asked with; the error's text, where it was refused */
  async function ask(path: string, body: object): Promise<unknown> {
    const response = await hub.app.request(`/hf/models/${path}`, {
      method: 'POST',
      headers: { authorization: `Bearer ${hub.inferKey}`, 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
    const json = (await response.json()) as { code?: string; error?: string };
    if (response.status === 200) return hub.asked.at(-1)?.input.parameters ?? {};
    assert.deepEqual([response.status, json.code], [400, 'PARAMETERS_INVALID'], JSON.stringify(json));
    return json.error;
  }

  /** @param askWith the request with this parameter, or with none */
  async function holds(
    name: string,
    one: Case,
    askWith: (given: Record<string, unknown>) => Promise<unknown>,
  ) {
    const plain = await askWith({});
    assert.deepEqual(await askWith({ [name]: null }), plain, `${name}: null`);
    if ('neutral' in one)
      assert.equal(typeof (await askWith({ [name]: one.neutral })), 'object', `${name}: ${one.neutral}`);
    const changed = await askWith({ [name]: one.changes });
    if (one.refused) assert.match(String(changed), new RegExp(`\\b${name}\\b`), 'refused by its name');
    else assert.equal(typeof changed, 'object', `${name}: ${changed}`);
    if (one.refused && 'neutral' in one)
      assert.deepEqual(
        await askWith({ [name]: one.neutral }),
        plain,
        `${name} is left out where it changes nothing`,
      );
  }

  const inputsOf = (task: TaskName): unknown => {
    if (task === 'question-answering') return { question: 'Who?', context: 'Ada' };
    return task.startsWith('image') || task.startsWith('object') || task.startsWith('automatic')
      ? 'AAAA'
      : 'a';
  };

  for (const [task, cases] of Object.entries(PARAMETERS))
    it(task, async () => {
      const needed = task === 'zero-shot-classification' ? { candidate_labels: ['x'] } : {};
      for (const [name, one] of Object.entries(cases))
        await holds(name, one, (given) => {
          const parameters = given.candidate_labels === null ? needed : { ...needed, ...given };
          return ask(task, { inputs: inputsOf(task as TaskName), parameters });
        });
      const parameters = { candidate_labels: ['x'], made_up: 1 };
      assert.match(String(await ask(task, { inputs: inputsOf(task as TaskName), parameters })), /made_up/);
    });

  it('what steers writing, below the name that each task has for it', async () => {
    for (const [task, place] of [
      ['translation', 'generate_parameters'],
      ['summarization', 'generate_parameters'],
      ['image-to-text', 'generation_parameters'],
      ['automatic-speech-recognition', 'generation_parameters'],
    ] as const)
      for (const [name, one] of Object.entries(WRITING))
        await holds(name, one, (given) =>
          ask(task, { inputs: inputsOf(task), parameters: { [place]: given } }),
        );
  });

  it('feature extraction, beside its inputs', async () => {
    for (const [name, one] of Object.entries(FEATURES))
      for (const path of ['feature-extraction', 'feature-extraction/pipeline/feature-extraction'])
        await holds(name, one, (given) => ask(path, { inputs: 'a', ...given }));
    assert.deepEqual(await ask('feature-extraction', { inputs: 'a', options: { wait_for_model: true } }), {});
  });

  it('completions: OpenAI’s and those of Text Generation Inference', async () => {
    const { max_new_tokens: _length, ...others } = GENERATION;
    for (const [name, one] of Object.entries({ ...others, ...COMPLETIONS }))
      await holds(name, one, (given) => ask('text-generation/v1/completions', { prompt: 'a', ...given }));
  });

  it('null in the place of all parameters is none', async () => {
    assert.deepEqual(await ask('text-classification', { inputs: 'a', parameters: null }), {});
  });

  it('LangChain’s defaults, as HuggingFaceEndpoint sends them', async () => {
    const defaults = {
      ...{ max_new_tokens: 512, top_k: null, top_p: 0.95, typical_p: 0.95, temperature: 0.8 },
      ...{ repetition_penalty: null, return_full_text: false, truncate: null, stop: [], seed: null },
      ...{ do_sample: false, watermark: false, best_of: null, stream: null },
    };
    const heard = await ask('text-generation', {
      inputs: 'a',
      parameters: { ...defaults, stream: undefined },
    });
    assert.deepEqual(heard, {
      ...{ max_new_tokens: 512, top_p: 0.95, typical_p: 0.95, temperature: 0.8 },
      ...{ return_full_text: false, stop: [], do_sample: false },
    });
  });
});
