/**
 * `outrider.json`: the one file that we add to a Hugging Face model folder. It names the ONNX variant of this version
 * and what a runner, a router and a self-test need to know beyond Hugging Face's own files.
 */
import { z } from 'zod';
import { digest, innerPath, modelName } from '../../contract/names.ts';
import { taskName } from '../../tasks/tasks.ts';
import { tensorSpec } from '../../tasks/tensor/signature.ts';
import { DETECTOR_FAMILIES } from './choices.ts';

/** What the calibration on pairs of answers promises: made from data held out of *train*, never the reported set. */
const cloudCertificate = z.object({
  /** The cloud model it was made with, by name and digest: the certificate holds for no other. */
  model: modelName,
  cloudDigest: digest,
  /** Inputs that both models answered. */
  n: z.int().positive(),
  /** 0..1, e.g. 0.95. */
  confidence: z.number().gt(0).lt(1),
  /** P(agrees) = sigmoid(a * routeScore + b). */
  a: z.number(),
  b: z.number(),
  /** For each promised agreement 0..1 the lowest routeScore that may stay local; null where none can be certified. */
  thresholds: z.array(z.object({ agreement: z.number().gt(0).lt(1), threshold: z.number().nullable() })),
});
export type CloudCertificate = z.infer<typeof cloudCertificate>;

const goldenInput = z.union([
  z.strictObject({ text: z.string().min(1) }),
  z.strictObject({ file: innerPath }),
  /** The task's `inputs`, where they are a JSON document. */
  z.strictObject({ json: z.unknown() }),
]);

/** Detector family: how the outputs of a detector are to be read. */
const detectorFamily = z.enum(DETECTOR_FAMILIES);
export type DetectorFamily = z.infer<typeof detectorFamily>;

/** Description of one model version, as `outrider.json` holds it. */
export const modelSpec = z.strictObject({
  schema: z.literal(1),
  name: modelName,
  task: taskName,
  /** The ONNX variant of this version. */
  model: innerPath,
  precision: z.enum(['float32', 'float16', 'int8-static', 'int8-dynamic', 'int8-weights', 'int4-weights']),
  /** Further ONNX files that belong to it: encoder and decoder of a model that generates. */
  graphs: z.array(innerPath).max(16).default([]),
  /** What the graph takes and gives, as its import has read it. */
  signature: z
    .strictObject({ inputs: z.array(tensorSpec).max(256), outputs: z.array(tensorSpec).max(256) })
    .optional(),
  /** Output that holds the answers, where its name does not tell. */
  output: z.string().min(1).max(255).optional(),
  detector: z
    .strictObject({
      /** Whose form its outputs have. */
      family: detectorFamily,
      /** To what pictures are brought, px, where the graph takes any size. */
      inputSize: z
        .strictObject({
          /** Of the picture, px. */
          height: z.int().min(1).max(8_192),
          /** Of the picture, px. */
          width: z.int().min(1).max(8_192),
        })
        .optional(),
      /** Boxes of one label that overlap more (intersection over union, 0..1) are one; the family's own when left out. */
      iouThreshold: z.number().gt(0).max(1).optional(),
    })
    .optional(),
  /** Fold `DequantizeLinear` into float weights at load (session.disable_quant_qdq); for int8-weights files only. */
  foldDequantize: z.boolean().default(false),
  /** `safe`: an answer does not depend on its neighbours in the batch. */
  batch: z
    .strictObject({ safe: z.boolean(), maxSize: z.int().min(1).max(256) })
    .default({ safe: false, maxSize: 1 }),
  calibration: z
    .strictObject({
      cloud: cloudCertificate.optional(),
      /** Temperature of the output scores, with expected calibration error (0..1) before and after. */
      labels: z
        .strictObject({
          temperature: z.number().positive(),
          n: z.int().positive(),
          eceBefore: z.number(),
          eceAfter: z.number(),
        })
        .optional(),
    })
    .default({}),
  /** Inputs with the outputs of the runner that published this version, for self-tests. */
  golden: z
    .array(
      z.strictObject({
        input: goldenInput,
        parameters: z.record(z.string(), z.unknown()).optional(),
        output: z.unknown(),
      }),
    )
    .default([]),
  /**
   * How it is tried where it has no golden inputs and the least that can be made up will not do: by tensors of these shapes, or by none,
   * and why. Only its import knows, which has tried.
   */
  trial: z
    .union([
      z.strictObject({
        /** Of each input, by its name. */
        shapes: z.record(z.string().min(1), z.array(z.int().min(0)).max(16)),
      }),
      z.strictObject({
        /** What the graph said of the inputs that were made up. */
        untested: z.string().min(1).max(500),
      }),
    ])
    .optional(),
  /** SHA-256 of every file that a runner reads, except this one. */
  files: z.record(innerPath, digest),
});
export type ModelSpec = z.infer<typeof modelSpec>;
