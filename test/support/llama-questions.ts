/** What is asked of llama.cpp's server, the real one and the recorded: the same to the byte. */

const SHORT = { max_new_tokens: 3, details: true } as const;
const CHAT = JSON.stringify([{ role: 'user', content: 'ab' }]);

/** Texts with their parameters; streamed where it says so. */
export const LLAMA_QUESTIONS: readonly {
  readonly name: string;
  readonly body: string;
  readonly parameters: Readonly<Record<string, unknown>>;
  readonly isStreamed?: true;
}[] = [
  { name: 'a text', body: 'ab', parameters: SHORT },
  { name: 'a text, streamed', body: 'ab', parameters: SHORT, isStreamed: true },
  { name: 'a chat', body: CHAT, parameters: { ...SHORT, chat: true } },
  { name: 'a chat, streamed', body: CHAT, parameters: { ...SHORT, chat: true }, isStreamed: true },
  { name: 'the taken alone', body: 'ab', parameters: { ...SHORT, top_n_tokens: 0 } },
  { name: 'two likeliest', body: 'ab', parameters: { ...SHORT, top_n_tokens: 2 } },
  { name: 'two likeliest of a chat', body: CHAT, parameters: { ...SHORT, chat: true, top_n_tokens: 2 } },
  { name: 'likeliest, streamed', body: 'ab', parameters: { ...SHORT, top_n_tokens: 1 }, isStreamed: true },
  { name: 'another token', body: 'ab', parameters: { ...SHORT, repetition_penalty: 1.9 } },
  { name: 'by chance', body: 'ab', parameters: { ...SHORT, do_sample: true, temperature: 0.7, seed: 5 } },
];

/** Longer than the model's context. */
export const TOO_LONG = { body: 'a'.repeat(600), parameters: { max_new_tokens: 1 } };
