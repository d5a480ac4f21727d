/**
 * The input kinds, parameters and outputs of every task, in Hugging Face's names and shapes
 * (huggingface.js `@huggingface/tasks`). One schema each: type, validation and documentation come from it.
 */
import { z } from 'zod';

/** The tasks that this version runs. */
export const taskName = z.enum(['image-classification', 'text-classification']);
export type TaskName = z.infer<typeof taskName>;

/** What a request carries from feed to runner, and over the wire: encoded bytes, never tensors. */
export interface TaskInput {
  /** `image/jpeg`, `text/plain; charset=utf-8`, …: advice; the body's first bytes decide. */
  readonly contentType: string;
  readonly body: Uint8Array;
  /** Already validated by the task's schema. */
  readonly parameters?: Readonly<Record<string, unknown>>;
}

/** A label with its probability 0..1 (its logit with `function_to_apply: none`). */
export const classification = z.object({ label: z.string(), score: z.number() });
export type Classification = z.infer<typeof classification>;

export const classificationParameters = z.strictObject({
  /** How many labels to answer with, best first. */
  top_k: z.int().min(1).max(10_000).optional(),
  /** How logits become scores; the model's own way when left out. */
  function_to_apply: z.enum(['softmax', 'sigmoid', 'none']).optional(),
});

export type ClassificationParameters = z.infer<typeof classificationParameters>;

export interface TaskContract {
  readonly inputKind: 'image' | 'text';
  readonly parameters: z.ZodType<Record<string, unknown>>;
  readonly output: z.ZodType<unknown>;
}

/** Parameters and output of each task. */
export const TASKS: Readonly<Record<TaskName, TaskContract>> = {
  'image-classification': {
    inputKind: 'image',
    parameters: classificationParameters,
    output: z.array(classification),
  },
  'text-classification': {
    inputKind: 'text',
    parameters: classificationParameters,
    output: z.array(classification),
  },
};

/** The best label of an answer, as `classification` has it; null for an answer without one. */
export function topLabel(output: unknown): string | null {
  if (!Array.isArray(output)) return null;
  const best: unknown = output[0];
  const label = typeof best === 'object' && best !== null && 'label' in best ? best.label : null;
  return typeof label === 'string' ? label : null;
}
