/** Chats: `POST /v1/chat/completions`. The template of the model's folder makes a prompt of the messages, in the runner. */
import { z } from 'zod';
import { inputOf } from '../../../shared/contract/http-input.ts';
import type { NeutralValues } from '../../../shared/tasks/forms/neutral.ts';
import type { TaskInput } from '../../../shared/tasks/tasks.ts';
import type { ChatMessages } from '../../../shared/tasks/text-generation/schema.ts';
import { blaming, refused } from './asked.ts';
import type { GenerationForm, ReadGeneration } from './generate.ts';
import { chatLogprobs, toChatLogprobs } from './logprobs.ts';
import { generationParameters, parsed, readFields, readGeneration, WHOLE_LENGTH } from './parameters.ts';

const MAX_TOP_LOGPROBS = 20;

const textPart = z.looseObject({ type: z.literal('text'), text: z.string() });
const message = z.looseObject({
  /** `developer` is `system` to templates. */
  role: z.string(),
  /** A text, or parts of `{"type": "text"}`. */
  content: z.union([z.string(), z.array(textPart)]),
});

/** Body of a chat. null is the same as nothing. */
export const chatRequest = z.strictObject({
  ...generationParameters,
  messages: z.array(message).min(1),
  /** The newer name of `max_tokens`. */
  max_completion_tokens: z.int().min(1).optional(),
  logprobs: z.boolean().optional(),
  top_logprobs: z.int().min(0).max(MAX_TOP_LOGPROBS).optional(),
});

/** What there is not, with the values at which nothing is asked. */
const NEUTRAL: NeutralValues = {
  ...{ tools: [[]], tool_choice: ['none', 'auto'], parallel_tool_calls: [true, false] },
  ...{ functions: [[]], function_call: ['none', 'auto'] },
  ...{ response_format: [{ type: 'text' }], modalities: [['text']], audio: [], prediction: [] },
  ...{ reasoning_effort: ['none'], verbosity: [], web_search_options: [] },
  ...{ store: [false], service_tier: ['auto', 'default'] },
};

const usage = z.object({
  prompt_tokens: z.int(),
  completion_tokens: z.int(),
  total_tokens: z.int(),
});

/** A chat's answer. */
export const chatCompletion = z.object({
  id: z.string(),
  object: z.literal('chat.completion'),
  /** Seconds since 1970. */
  created: z.int(),
  model: z.string(),
  /** Names the weights: where it is the same, the same seed gives the same text. */
  system_fingerprint: z.string(),
  choices: z.array(
    z.object({
      index: z.int(),
      message: z.object({ role: z.literal('assistant'), content: z.string(), refusal: z.null() }),
      logprobs: chatLogprobs.nullable(),
      finish_reason: z.enum(['stop', 'length']),
    }),
  ),
  usage,
});

/**
 * @param model of the address; undefined: the body names it
 * @throws BAD_REQUEST, PARAMETERS_INVALID, INPUT_TOO_LARGE, MODEL_UNKNOWN (no name of a model)
 */
export async function readChat(body: Uint8Array, model?: string): Promise<ReadGeneration> {
  const fields: Record<string, unknown> = {
    ...readFields(body, NEUTRAL),
    ...(model !== undefined && { model }),
  };
  const messages = readMessages(fields.messages);
  const {
    max_completion_tokens,
    logprobs,
    top_logprobs,
    messages: _messages,
    ...asked
  } = parsed(chatRequest, {
    ...fields,
    messages,
  });
  if (top_logprobs !== undefined && logprobs !== true)
    throw refused('top_logprobs', 'they come with logprobs: true alone');
  const max_tokens = max_completion_tokens ?? asked.max_tokens ?? WHOLE_LENGTH;
  const generation = readGeneration(
    { ...asked, max_tokens },
    { chat: true, ...(logprobs === true && { top_n_tokens: top_logprobs ?? 0 }) },
  );
  const inputs = await blaming('messages', () =>
    generation.parameters.map(
      (parameters): TaskInput => inputOf('text-generation', { inputs: JSON.stringify(messages), parameters }),
    ),
  );
  return { generation, inputs, hasLogprobs: logprobs === true };
}

const ROLES: Readonly<Record<string, string>> = {
  ...{ system: 'system', developer: 'system', user: 'user', assistant: 'assistant' },
};
/** Fields of a message that a text-only model has no use for. */
const NOT_READ = ['tool_calls', 'function_call', 'tool_call_id', 'audio'] as const;

/** As templates take them: a role and a text each. @throws PARAMETERS_INVALID naming the message, and the part, that cannot be read */
function readMessages(given: unknown): ChatMessages {
  if (!Array.isArray(given) || given.length === 0)
    throw refused('messages', 'a list of {"role", "content"}, one at least');
  return given.map((one: unknown, index) => {
    const at = `messages[${index}]`;
    if (typeof one !== 'object' || one === null) throw refused(at, 'must be {"role", "content"}');
    const { role, content, name, ...rest } = one as Record<string, unknown>;
    const known = typeof role === 'string' && Object.hasOwn(ROLES, role) ? ROLES[role] : undefined;
    if (known === undefined)
      throw refused(`${at}.role`, `one of ${Object.keys(ROLES).join(', ')}; tools are not done here`, false);
    for (const field of NOT_READ)
      if (rest[field] != null) throw refused(`${at}.${field}`, 'is not done here', false);
    return {
      ...{ role: known, content: textOf(content, at) },
      ...(typeof name === 'string' && { name }),
    };
  });
}

/** @throws PARAMETERS_INVALID */
function textOf(content: unknown, at: string): string {
  if (typeof content === 'string') return content;
  if (!Array.isArray(content)) throw refused(`${at}.content`, 'must be a text, or a list of parts');
  return content
    .map((part: unknown, index) => {
      const read = textPart.safeParse(part);
      if (read.success) return read.data.text;
      const type = typeof part === 'object' && part !== null && 'type' in part ? String(part.type) : 'this';
      throw refused(`${at}.content[${index}]`, `${type.slice(0, 40)} is not read here, text alone is`, false);
    })
    .join('');
}

/** Answers of a chat. */
export const chatForm = (hasLogprobs: boolean): GenerationForm => ({
  prefix: 'chatcmpl',
  object: 'chat.completion',
  chunkObject: 'chat.completion.chunk',
  choice: ({ index, text, tokens }, finish_reason) => ({
    index,
    message: { role: 'assistant', content: text, refusal: null },
    logprobs: hasLogprobs ? toChatLogprobs(tokens) : null,
    finish_reason,
  }),
  begin: (index) => ({
    ...{ index, delta: { role: 'assistant', content: '', refusal: null } },
    ...{ logprobs: null, finish_reason: null },
  }),
  part: ({ index, text, tokens }) => ({
    ...{ index, delta: { content: text }, logprobs: hasLogprobs ? toChatLogprobs(tokens) : null },
    finish_reason: null,
  }),
  end: (index, finish_reason) => ({ index, delta: {}, logprobs: null, finish_reason }),
});
