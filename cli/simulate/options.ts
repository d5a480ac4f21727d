/** What `outrider route simulate` is asked for. */
import { z } from 'zod';
import { routeScope } from '../../shared/contract/routing.ts';
import { AppError } from '../../shared/runtime/errors.ts';
import { checkAll, readArguments } from '../../shared/runtime/flags.ts';
import { lossOptions } from '../../shared/tasks/loss-options.ts';
import { taskName } from '../../shared/tasks/tasks.ts';

/** Help text of `outrider route simulate`. */
export const SIMULATE_HELP = `Usage: outrider route simulate [options] <captures.jsonl>

Replays recorded requests through the router, and says how many it would escalate and what was kept of the promise.
Each line is one request: {"score": 3.2, "loss": 0}, or the answers that both follow from:
{"task": "image-classification", "local": [{"label": "cat", "score": 0.9}], "cloud": [{"label": "cat", "score": 0.8}]}.

Options:
  --agreement SHARE   promised agreement with the cloud, 0..1 (default 0.98)
  --confidence SHARE  confidence of the promise, 0..1 (default 0.95)
  --scope SCOPE       promise it of all requests, or of those answered locally: all, local (default all)
  --task TASK         task of lines that name none:
                      ${taskName.options.join(', ')}
  --top-k N           labels: the cloud's best must be among so many of the local ones (default 1)
  --iou SHARE         boxes: overlap from which two are the same (default 0.5)
  --min-score SHARE   boxes below it are not looked at (default 0.5)
  --strict            boxes: one without a partner is a whole disagreement, not its share
  --tolerance NUMBER  tensors and regressions: the difference of two numbers that is a whole disagreement (default 1)
  --requests N        length of a replay (default 20000)
  --runs N            replays, each of other requests drawn from the captures (default 100)
  --in-order          replay them once, as recorded, instead: what changed over time shows
  --svg FILE          draw agreement against share escalated into this file
  --seed N            same seed, same numbers (default 1)
  --json              print JSON
  --help              print this
`;

const flags = {
  agreement: { type: 'string' },
  confidence: { type: 'string' },
  scope: { type: 'string' },
  task: { type: 'string' },
  'top-k': { type: 'string' },
  iou: { type: 'string' },
  'min-score': { type: 'string' },
  strict: { type: 'boolean' },
  tolerance: { type: 'string' },
  requests: { type: 'string' },
  runs: { type: 'string' },
  'in-order': { type: 'boolean' },
  svg: { type: 'string' },
  seed: { type: 'string' },
  json: { type: 'boolean' },
  help: { type: 'boolean' },
} as const;

/** `Number('')` is 0, which nobody means. */
const number = z.string().regex(/\S/, 'a number is needed').transform(Number);
const share = number.pipe(z.number().gt(0).lt(1));
const count = (most: number) => number.pipe(z.int().min(1).max(most));
const { topK, iou, minScore, tolerance } = lossOptions.shape;

const values = z.object({
  agreement: share.default(0.98),
  confidence: share.default(0.95),
  scope: routeScope.default('all'),
  task: taskName.optional(),
  'top-k': number.pipe(topK.unwrap()).optional(),
  iou: number.pipe(iou.unwrap()).optional(),
  'min-score': number.pipe(minScore.unwrap()).optional(),
  strict: z.boolean().default(false),
  tolerance: number.pipe(tolerance.unwrap()).optional(),
  requests: count(10_000_000).default(20_000),
  runs: count(100_000).default(100),
  'in-order': z.boolean().default(false),
  svg: z.string().min(1).optional(),
  seed: number
    .pipe(
      z
        .int()
        .min(0)
        .max(2 ** 32 - 1),
    )
    .default(1),
  json: z.boolean().default(false),
});

/** Checked flags of a simulation, defaults filled in. */
export type SimulateOptions = ReturnType<typeof optionsOf>;

/** @throws USAGE naming each wrong flag */
export function readOptions(argv: readonly string[]): SimulateOptions | 'help' {
  const { values: given, positionals } = readArguments(argv, flags, 'outrider route simulate');
  if (given.help) return 'help';
  const [path, ...more] = positionals;
  if (path === undefined || more.length > 0)
    throw new AppError('USAGE', 'one file of captures is needed; see outrider route simulate --help');
  return optionsOf(
    path,
    checkAll(values, given, 'USAGE', (flag) => `--${flag}`),
  );
}

function optionsOf(path: string, given: z.infer<typeof values>) {
  const { 'top-k': k, 'min-score': least, 'in-order': inOrder, ...rest } = given;
  const { strict } = rest;
  return {
    ...rest,
    path,
    inOrder,
    loss: lossOptions.parse({ topK: k, iou: rest.iou, minScore: least, strict, tolerance: rest.tolerance }),
  };
}
