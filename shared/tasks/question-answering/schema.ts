/** `question-answering`: a question about a text, answered by a part of that text. */
import { z } from 'zod';
import type { TaskSchema } from '../task.ts';

/** What is asked, and the text that has the answer. */
export const question = z.object({ question: z.string().min(1), context: z.string().min(1) });
export type Question = z.infer<typeof question>;

/** An answer: a part of the context: `start`, `end` in characters of it (code points, as Python counts), end exclusive; empty where it has no answer. */
export const span = z.object({ answer: z.string(), score: z.number(), start: z.int(), end: z.int() });
export type Span = z.infer<typeof span>;

/** How a context is read in parts, and which spans may be answers. */
export const questionParameters = z.strictObject({
  /** How many answers, best first; 1 when left out. */
  top_k: z.int().min(1).max(100).optional(),
  /** Tokens that neighbouring parts of a long context share; half a window, at most 128, when left out. */
  doc_stride: z.int().min(1).max(4_096).optional(),
  /** 15 when left out. */
  max_answer_len: z.int().min(1).max(1_000).optional(),
  /** Of question and part of the context together; 384 or what the model takes when left out. */
  max_seq_len: z.int().min(8).max(4_096).optional(),
  /** The question is cut to it; 64 when left out. */
  max_question_len: z.int().min(1).max(4_096).optional(),
  /** Whether "no answer" is an answer. */
  handle_impossible_answer: z.boolean().optional(),
  /** Whether an answer begins and ends with whole words; true when left out. */
  align_to_words: z.boolean().optional(),
});
export type QuestionParameters = z.infer<typeof questionParameters>;

/** The schema of `question-answering`. */
export const questionAnswering: TaskSchema = {
  inputKind: 'json',
  inputs: question,
  parameters: questionParameters,
  output: z.array(span),
  ranks: null,
  listed: 'where-asked',
  runsOn: 'device',
};
