/** Trainings that a hub has ordered: a program of the operator's makes a better edge model of what was captured. */
import { z } from 'zod';
import { modelName, modelVersion, pipelineName } from './names.ts';

/**
 * training   | event                              -> state
 * queued     | its turn                           -> exporting
 * exporting  | the captures are written out       -> training
 * training   | the program has ended well         -> publishing
 * publishing | published (and its rollout begun)  -> done
 * any        | it is cancelled, fails, the hub ends -> cancelled, failed, interrupted
 */
const trainingState = z.enum([
  'queued',
  'exporting',
  'training',
  'publishing',
  'done',
  'failed',
  'cancelled',
  'interrupted',
]);
export type TrainingState = z.infer<typeof trainingState>;

/** Whether something may still come of it. */
export const isOpenTraining = (state: TrainingState): boolean =>
  ['queued', 'exporting', 'training', 'publishing'].includes(state);

/** `POST /trainings`. */
export const trainingRequest = z.strictObject({
  /** The device's model that is to become better. */
  model: modelName,
  /** Only what this pipeline has captured; all of the model, when left out. */
  pipeline: pipelineName.optional(),
  /** Only what was captured since then, ms since 1970. */
  sinceAtMs: z.number().nonnegative().optional(),
  /** Whether a rollout of the new version begins; false: it is only published. */
  rollout: z.boolean().default(true),
  /** The fewest captures that are worth it. */
  minCaptures: z.int().min(1).max(50_000).default(100),
  note: z.string().max(500).default(''),
});

/** A training, and what has become of it. */
export const trainingRecord = z.object({
  /** UUIDv7. */
  id: z.uuid(),
  model: modelName,
  /** The version that it begins from; null: not known yet. */
  base: modelVersion.nullable(),
  state: trainingState,
  pipeline: pipelineName.nullable(),
  sinceAtMs: z.number().nullable(),
  rollout: z.boolean(),
  minCaptures: z.int(),
  note: z.string(),
  /** Id of the key that has ordered it. */
  by: z.string().nullable(),
  createdAtMs: z.number(),
  startedAtMs: z.number().nullable(),
  endedAtMs: z.number().nullable(),
  /** That it has learnt from and was tested on; null: not counted yet. */
  captures: z.int().nonnegative().nullable(),
  /** The last of what the program has said, without control characters. */
  output: z.string(),
  /** Why there is no new version. */
  error: z.object({ code: z.string(), message: z.string() }).nullable(),
  /** What has come of it. */
  result: z
    .object({
      version: modelVersion,
      /** False: it was there already. */
      created: z.boolean(),
      /** Of the rollout that has begun; null: none. */
      rollout: z.string().nullable(),
    })
    .nullable(),
});
export type TrainingRecord = z.infer<typeof trainingRecord>;

/** One page of the trainings, newest first. */
export const trainingList = z.object({ trainings: z.array(trainingRecord), next: z.string().nullable() });
