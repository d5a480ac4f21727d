/**
 * `npm run bench:circle -- --data DATA --python PYTHON [--turn N] [--reported N] [--agreement A] [--epochs N] [--json FILE] [--svg FILE]`: what one
 * turn of the circle changes. A real agent sees pictures of CIFAR-10, a quarter each clean, blurred, noisy and dark; the hub captures what it asks,
 * orders a training of models/recipes/distill_pictures.py, and publishes the version. Before and after, another agent that has learnt nothing yet is asked about
 * pictures that neither has seen: what is escalated at the same promise, what its answers are worth, by their true labels.
 */
import { cp, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { z } from 'zod';
import { captureSummary } from '../../../shared/contract/captures.ts';
import { trainingRecord } from '../../../shared/contract/trainings.ts';
import { openModelFolder } from '../../../shared/release/folder/model-folder.ts';
import { AppError } from '../../../shared/runtime/errors.ts';
import { askModel } from '../../../tools/measure/answers.ts';
import { runTool } from '../../../tools/measure/command.ts';
import { type BenchReport, inTree, runBenches } from '../harness.ts';
import { fieldPictures, KINDS, originalPictures, type Seen } from './field.ts';
import { type Figures, gridOf } from './figures.ts';
import { drawTurn } from './plot.ts';
import { type Answered, Stack } from './stack.ts';

const EDGE = 'cifar10-cnn';
const CLOUD = 'cifar10-vit';
const RECIPE = inTree('models/recipes/distill_pictures.py');
/** Pictures of before that the recipe takes for each capture, and those by which it chooses. */
const ORIGINAL_TIMES = 3;
const CHOOSING = 1_000;

const share = (all: readonly boolean[]): number => all.filter(Boolean).length / Math.max(1, all.length);

function figuresOf(
  version: Figures['version'],
  of: {
    readonly pictures: readonly Seen[];
    readonly answers: readonly Answered[];
    readonly edge: readonly string[];
    readonly cloud: readonly string[];
  },
): Figures[] {
  const { pictures, answers, edge, cloud } = of;
  return ['all', ...KINDS].map((kind) => {
    const places = pictures.flatMap((one, at) => (kind === 'all' || one.kind === kind ? [at] : []));
    const late = places.filter((at) => at >= pictures.length / 2);
    const part = (isSo: (at: number) => boolean): number => share(places.map(isSo));
    return {
      ...{ version, kind, n: places.length },
      escalated: share(late.map((at) => answers[at]?.isEscalated === true)),
      accuracy: part((at) => answers[at]?.label === pictures[at]?.label),
      agreement: part((at) => answers[at]?.label === cloud[at]),
      edgeAccuracy: part((at) => edge[at] === pictures[at]?.label),
      edgeAgreement: part((at) => edge[at] === cloud[at]),
      cloudAccuracy: part((at) => cloud[at] === pictures[at]?.label),
    };
  });
}

const labelsBy = async (folder: string, pictures: readonly Seen[]): Promise<string[]> =>
  (
    await askModel(
      await openModelFolder(folder),
      pictures.map(({ input }) => input),
    )
  ).map(({ label }) => label);

async function turn(
  folder: string,
  options: {
    readonly data: string;
    readonly python: string;
    readonly turn: number;
    readonly reported: number;
    readonly agreement: number;
    /** While it is captured: a strict promise asks about nearly all. */
    readonly captureAgreement: number;
    readonly epochs: number;
    readonly svg: string | undefined;
  },
): Promise<BenchReport> {
  const { data, python, agreement } = options;
  const models = join(folder, 'models');
  for (const name of [EDGE, CLOUD])
    await cp(inTree(`models/${name}`), join(models, name), { recursive: true });
  const original = join(folder, 'original');
  await originalPictures(data, original, ORIGINAL_TIMES * options.turn + CHOOSING);
  const [field, reported] = [
    await fieldPictures('held-out', data, options.turn),
    await fieldPictures('reported', data, options.reported),
  ];
  const stack = new Stack(folder);
  try {
    await stack.startHub(
      models,
      `'${python}' '${RECIPE}' --original '${original}' --flip --threads 2 --epochs ${options.epochs}`,
    );
    const told = await stack.withAgent(
      'field',
      { models, share: 'inputs', agreement: options.captureAgreement },
      (ask) => ask(field),
    );
    const evaluate = (id: string, from: string) =>
      stack.withAgent(id, { models: from, share: 'none', agreement }, (ask) => ask(reported));
    const before = await evaluate('before', models);
    const summary = z
      .object({ summary: captureSummary })
      .parse(JSON.parse(stack.run('captures', 'ls', '--json'))).summary;
    const ordered = JSON.parse(
      stack.run('captures', 'train', EDGE, '--no-rollout', '--wait', '7200', '--json'),
    );
    const training = trainingRecord.parse(ordered);
    if (!training.result) throw new AppError('TRAINING_FAILED', training.error?.message);
    stack.run('models', 'deploy', EDGE, training.result.version, '--no-wait');
    const next = join(folder, 'next');
    const versions = join(stack.dataDir, 'hub', 'models', EDGE);
    if (!(await readdir(versions)).includes(training.result.version))
      throw new AppError('NOT_FOUND', 'the hub has no folder of the new version');
    await cp(join(versions, training.result.version), join(next, EDGE), { recursive: true });
    const after = await evaluate('after', next);
    const cloud = await labelsBy(inTree(`models/${CLOUD}`), reported);
    const figures = [
      ...figuresOf('before', {
        pictures: reported,
        answers: before,
        edge: await labelsBy(join(models, EDGE), reported),
        cloud,
      }),
      ...figuresOf('after', {
        pictures: reported,
        answers: after,
        edge: await labelsBy(join(next, EDGE), reported),
        cloud,
      }),
    ];
    if (options.svg !== undefined) await writeFile(options.svg, await drawTurn(figures, agreement));
    const minutes = ((training.endedAtMs ?? 0) - (training.startedAtMs ?? 0)) / 60_000;
    const facts = {
      shown: field.length,
      asked: told.filter(({ isEscalated }) => isEscalated).length,
      captures: summary.kept,
      captureBytes: summary.bytes,
      learntFrom: training.captures,
      trainingMinutes: Number(minutes.toFixed(1)),
    };
    console.error(JSON.stringify(facts));
    console.error(training.output);
    const [mixedBefore, mixedAfter] = ['before', 'after'].map((version) =>
      figures.find((one) => one.version === version && one.kind === 'all'),
    );
    const clean = figures.filter(({ kind }) => kind === 'clean').map(({ accuracy }) => accuracy);
    return {
      name: `One turn of the circle: pictures, ${EDGE} and ${CLOUD}, ${agreement} agreement promised`,
      about: Object.entries(facts)
        .map(([name, value]) => `${name} ${value}`)
        .join(', '),
      tables: [
        {
          ...{ title: 'Before and after', lines: [], grid: gridOf(figures) },
          verdicts: [
            {
              requirement: 'less is escalated at the same promise',
              measured: `${mixedBefore?.escalated} → ${mixedAfter?.escalated}`,
              holds: (mixedAfter?.escalated ?? 1) < (mixedBefore?.escalated ?? 0),
            },
            {
              // Of some thousand answers, two points are chance.
              requirement: 'the true accuracy of clean pictures has not fallen by more than two points',
              measured: clean.map((value) => value.toFixed(3)).join(' → '),
              holds: (clean[1] ?? 0) >= (clean[0] ?? 1) - 0.02,
            },
          ],
        },
      ],
    };
  } finally {
    await stack.stop();
  }
}

runTool(async () => {
  const { values } = parseArgs({
    options: {
      data: { type: 'string' },
      python: { type: 'string' },
      turn: { type: 'string', default: '5000' },
      reported: { type: 'string', default: '4900' },
      agreement: { type: 'string', default: '0.9' },
      'capture-agreement': { type: 'string', default: '0.99' },
      epochs: { type: 'string', default: '12' },
      json: { type: 'string' },
      svg: { type: 'string' },
      keep: { type: 'string' },
    },
  });
  const { data, python } = values;
  if (data === undefined || python === undefined)
    throw new AppError(
      'USAGE',
      'usage: npm run bench:circle -- --data DATA --python PYTHON, one with models/recipes/requirements.txt',
    );
  const folder = values.keep ?? (await mkdtemp(join(tmpdir(), 'outrider-circle-')));
  const numbers = {
    turn: Number(values.turn),
    reported: Number(values.reported),
    agreement: Number(values.agreement),
    captureAgreement: Number(values['capture-agreement']),
    epochs: Number(values.epochs),
  };
  try {
    await runBenches(
      [() => turn(folder, { data, python, ...numbers, svg: values.svg })],
      values.json,
      'circle-',
    );
  } finally {
    if (values.keep === undefined) await rm(folder, { recursive: true, force: true });
  }
});
