/** One pipeline of `outrider.yaml`: what is asked, of which models, where from and where to. */
import { z } from 'zod';
import { modelName, pipelineName } from '../../shared/contract/names.ts';
import { TASKS, taskName } from '../../shared/tasks/tasks.ts';
import { feed } from './feed.ts';
import { redact } from './redact.ts';
import { route } from './route.ts';
import { sensorProblems } from './sensor.ts';
import { sink } from './sink.ts';
import { sinkProblems } from './sink-problems.ts';

const pipelineFields = z.strictObject({
  /** By which callers, results and metrics name it. @example gate */
  name: pipelineName,
  /** What is asked, by Hugging Face's name. @example image-classification */
  task: taskName,
  /** Where inputs come from, besides HTTP, which is always open. @example { type: folder, path: ./pictures } */
  feed: feed.optional(),
  /** The local model: a folder of `--models`, or the hub's; none: everything is asked. @example cifar10-cnn */
  edge: modelName.optional(),
  /** The hub's model; none: nothing is ever asked. @example cifar10-vit */
  cloud: modelName.optional(),
  /** The promise, and what may be spent on it. @example { agreement: 0.98 } */
  route,
  /** Where Results go, besides HTTP. @example [{ type: file, path: results/gate.ndjson }] */
  sinks: z.array(sink).default([]),
  /**
   * What the hub may see besides what it is asked: nothing, results, or also keep and show escalated inputs.
   *
   * @example results
   */
  share: z.enum(['none', 'results', 'inputs']).default('none'),
  /**
   * What is taken out of texts before they leave: out of what the cloud is asked, shared Results, and what sinks get. The local model and
   * who asks over HTTP have the text as it came. By name (`email`, `phone` with a country code before it, `card`), numbers of phones as a
   * country writes them, or an expression of your own.
   *
   * @example [email, { phone: DE }, { pattern: "\\bK-\\d{6}\\b", as: customer }]
   */
  redact: redact.default([]),
  /** Pictures go to the cloud as they came, instead of as large as its model can use. @example true */
  original: z.boolean().default(false),
  /** How a picture is encoded that is brought to that size. @example { format: webp, quality: 80 } */
  picture: z
    .strictObject({
      /** The file format. @example webp */
      format: z.enum(['webp', 'jpeg']).default('webp'),
      /** 1 to 100, or without any loss (webp). @example 80 */
      quality: z.union([z.int().min(1).max(100), z.literal('lossless')]).default('lossless'),
    })
    .refine(({ format, quality }) => format === 'webp' || quality !== 'lossless', 'jpeg has no lossless')
    .prefault({}),
  /** Of the task, for inputs that bring none of their own. @example { top_k: 3 } */
  parameters: z.record(z.string(), z.unknown()).optional(),
});
/** Settings of one pipeline, checked against what its task can do. */
export const pipeline = pipelineFields.superRefine(
  ({ task, edge, feed: source, parameters, sinks }, context) => {
    for (const { path, message } of sinkProblems(task, sinks))
      context.addIssue({ code: 'custom', path: ['sinks', ...path], message });
    const { runsOn, inputKind, parameters: schema, needsParameters } = TASKS[task];
    if (edge !== undefined && runsOn === 'hub')
      context.addIssue({
        code: 'custom',
        path: ['edge'],
        message: `${task} runs in the hub alone: leave edge out`,
      });
    if (source?.type === 'camera' && inputKind !== 'image')
      context.addIssue({
        code: 'custom',
        path: ['feed'],
        message: `a camera gives pictures, and ${task} takes none`,
      });
    if (source?.type === 'mqtt' || source?.type === 'lines')
      for (const { path, message } of sensorProblems(task, source))
        context.addIssue({ code: 'custom', path: ['feed', ...path], message });
    if (parameters === undefined && !needsParameters) return;
    for (const issue of schema.safeParse(parameters ?? {}).error?.issues ?? [])
      context.addIssue({ code: 'custom', path: ['parameters', ...issue.path], message: issue.message });
  },
);
export type PipelineConfig = z.infer<typeof pipeline>;
