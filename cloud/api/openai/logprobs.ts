/** Log-probabilities of tokens in OpenAI's two forms: of chats, and of completions. */
import { z } from 'zod';
import type { GeneratedToken } from '../../../shared/tasks/text-generation/schema.ts';

const likely = z.object({
  token: z.string(),
  /** ln of its probability, before temperature and penalties. */
  logprob: z.number(),
  /** UTF-8 of its text; null where the token is a part of a character. */
  bytes: z.array(z.int()).nullable(),
});

/** Of a chat. */
export const chatLogprobs = z.object({
  content: z.array(likely.extend({ top_logprobs: z.array(likely) })),
  refusal: z.null(),
});

/** Of a completion: four lists of one length. */
export const textLogprobs = z.object({
  tokens: z.array(z.string()),
  token_logprobs: z.array(z.number()),
  top_logprobs: z.array(z.record(z.string(), z.number())).nullable(),
  /** UTF-16 units of the choice's text before each token. */
  text_offset: z.array(z.int()),
});

/** A token, without those that stood beside it. */
function toLikely({ text, logprob }: GeneratedToken): z.infer<typeof likely> {
  return { token: text, logprob, bytes: text.includes('\uFFFD') ? null : [...Buffer.from(text)] };
}

/** Of the tokens of a chat. */
export const toChatLogprobs = (tokens: readonly GeneratedToken[]): z.infer<typeof chatLogprobs> => ({
  content: tokens.map((token) => ({
    ...toLikely(token),
    top_logprobs: (token.top_tokens ?? []).map(toLikely),
  })),
  refusal: null,
});

/**
 * Of the tokens of a completion.
 *
 * @param from UTF-16 units of the choice's text before the first of them
 */
export function toTextLogprobs(
  tokens: readonly GeneratedToken[],
  from: number,
): z.infer<typeof textLogprobs> {
  let offset = from;
  const text_offset = tokens.map(({ text }) => {
    const at = offset;
    offset += text.length;
    return at;
  });
  return {
    tokens: tokens.map(({ text }) => text),
    token_logprobs: tokens.map(({ logprob }) => logprob),
    top_logprobs: tokens.some(({ top_tokens }) => top_tokens)
      ? tokens.map(({ top_tokens = [] }) =>
          Object.fromEntries(top_tokens.map(({ text, logprob }) => [text, logprob])),
        )
      : null,
    text_offset,
  };
}
