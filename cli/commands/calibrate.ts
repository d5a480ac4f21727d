/** `outrider models calibrate <folder> <labelled>`: makes the scores of a model folder mean what they say. */
import { join } from 'node:path';
import { selfTest } from '../../shared/inference/proof/self-test.ts';
import { withRunner } from '../../shared/inference/runner/with-runner.ts';
import { classifierConfig, labelsInOrder, readModelJson } from '../../shared/release/folder/model-files.ts';
import { type ModelFolder, openModelFolder, SPEC_FILE } from '../../shared/release/folder/model-folder.ts';
import { AppError } from '../../shared/runtime/errors.ts';
import { TASKS } from '../../shared/tasks/tasks.ts';
import { exampleKind, type LabelledSet, readLabelled } from '../calibrate/examples.ts';
import { type Fit, fit, MIN_TO_SPLIT, refuseFew } from '../calibrate/fit.ts';
import { type Answered, askLogits } from '../calibrate/logits.ts';
import { type LabelCalibration, refuseReadOnly, writeCalibration } from '../calibrate/write.ts';
import { print, table } from '../output.ts';
import { progressBar } from '../progress-bar.ts';

/** Flags of `outrider models calibrate`. */
export interface CalibrateOptions {
  readonly dryRun?: boolean;
  /** Write also a temperature that is no better than the one before. */
  readonly force?: boolean;
  readonly json?: boolean;
}

/** Of broken examples, or labels without one. */
const MAX_SHOWN = 5;
/** An answer has at most so many. */
const MAX_LABELS = 10_000;
/** 8 bytes each, twice. */
const MAX_LOGITS = 10_000_000;

/** `same`: the folder says just this already; `no-better`: the calibration error has not fallen. */
type Outcome = 'written' | 'same' | 'no-better' | 'dry-run';

/** Everything that the command has found out. */
interface Report {
  readonly folder: ModelFolder;
  readonly temperatureNow: number;
  readonly found: Fit;
  readonly outcome: Outcome;
  /** Of the folder as it is now. */
  readonly digest: string;
  /** What people should know of the examples. */
  readonly notes: readonly string[];
}

/**
 * @throws MODEL_INVALID, MODEL_DIGEST_MISMATCH, MODEL_SELF_TEST_FAILED (the folder answers otherwise than recorded before anything
 * is changed), BAD_REQUEST, FILE_UNREADABLE, INPUT_TOO_LARGE, or how the runner ended
 */
export async function calibrateModel(
  path: string,
  labelled: string,
  options: CalibrateOptions,
): Promise<void> {
  const folder = await openModelFolder(path);
  const labels = await labelsOf(folder);
  if (!options.dryRun) await refuseReadOnly(folder);
  const set = await readLabelled(labelled, { task: folder.spec.task, labels });
  refuseSize(set, labels);
  const answered = await ask(folder, { set, labels, isShown: options.json !== true });
  const now = folder.spec.calibration.labels;
  const temperatureNow = now?.temperature ?? 1;
  const found = fit(answered.logits, temperatureNow);
  const { temperature, n, eceBefore, eceAfter } = found;
  const wanted: LabelCalibration = { temperature, n, eceBefore, eceAfter };
  const isSame = now?.temperature === temperature && now.n === n;
  const outcome = isSame ? 'same' : outcomeOf(found, options);
  const { digest } = outcome === 'written' ? await writeCalibration(folder, wanted) : folder;
  const notes = notesOf(set, labels, answered);
  const report: Report = { folder, temperatureNow, found, outcome, digest, notes };
  print(options.json, asJson(report), () => asText(report));
}

/** Verdict on a new temperature: only one with a smaller error is written, unless it is forced. */
export function outcomeOf(
  { eceBefore, eceAfter }: Pick<Fit, 'eceBefore' | 'eceAfter'>,
  { dryRun, force }: Pick<CalibrateOptions, 'dryRun' | 'force'>,
): Outcome {
  if (dryRun) return 'dry-run';
  return eceAfter < eceBefore || force ? 'written' : 'no-better';
}

/** @throws BAD_REQUEST, MODEL_INVALID */
async function labelsOf({ path, spec }: ModelFolder): Promise<string[]> {
  // Only answers with one of the model's own labels have scores that a temperature can be fitted to.
  if (TASKS[spec.task].ranks !== 'own' || exampleKind(spec.task) === undefined)
    throw new AppError(
      'BAD_REQUEST',
      `${spec.name} is for ${spec.task}: only classification has a temperature`,
    );
  const config = await readModelJson(path, 'config.json', classifierConfig);
  const labels = labelsInOrder(path, config);
  if (config.problem_type === 'multi_label_classification' || labels.length < 2)
    throw new AppError(
      'BAD_REQUEST',
      `${spec.name} has independent labels: a temperature is fitted to one of many`,
    );
  if (new Set(labels).size < labels.length)
    throw new AppError('BAD_REQUEST', `${spec.name} has two labels of the same name`);
  if (labels.length > MAX_LABELS)
    throw new AppError('BAD_REQUEST', `${spec.name} has ${labels.length} labels, the limit is ${MAX_LABELS}`);
  return labels;
}

/** @throws BAD_REQUEST, INPUT_TOO_LARGE */
function refuseSize({ examples }: LabelledSet, labels: readonly string[]): void {
  refuseFew(examples.length);
  const most = Math.floor(MAX_LOGITS / labels.length);
  if (examples.length > most)
    throw new AppError(
      'INPUT_TOO_LARGE',
      `${examples.length} examples of ${labels.length} labels: use at most ${most}`,
    );
}

async function ask(
  folder: ModelFolder,
  { set, labels, isShown }: { set: LabelledSet; labels: readonly string[]; isShown: boolean },
): Promise<Answered> {
  return withRunner(folder, async (runner) => {
    // New golden outputs must not bless a model that answers wrongly on this machine.
    await selfTest(runner, folder);
    const bar = isShown ? progressBar('asking', set.examples.length) : undefined;
    try {
      const { task } = folder.spec;
      return await askLogits(runner, {
        task,
        labels,
        examples: set.examples,
        onAnswer: () => bar?.increment(),
      });
    } finally {
      bar?.stop();
    }
  });
}

function notesOf(set: LabelledSet, labels: readonly string[], { broken }: Answered): string[] {
  const used = new Set(set.examples.map(({ label }) => label));
  const unused = labels.filter((label) => !used.has(label));
  return [
    ...(broken.length > 0
      ? [`${broken.length} could not be answered and do not count: ${few(broken, '; ')}`]
      : []),
    ...(unused.length > 0 ? [`Labels without an example: ${few(unused, ', ')}`] : []),
    ...(set.leftOut > 0 ? [`Left out, not an example by their name or place: ${set.leftOut} entries`] : []),
  ];
}

function few(all: readonly string[], separator: string): string {
  const more = all.length > MAX_SHOWN ? `${separator}and ${all.length - MAX_SHOWN} more` : '';
  return `${all.slice(0, MAX_SHOWN).join(separator)}${more}`;
}

const asJson = ({ folder, temperatureNow, found, outcome, digest, notes }: Report): unknown => ({
  model: folder.spec.name,
  temperatureBefore: temperatureNow,
  ...found,
  outcome,
  goldenOutputs: outcome === 'written' ? folder.spec.golden.length : 0,
  digestBefore: folder.digest,
  digest,
  notes,
});

function asText({ folder, temperatureNow, found, outcome, digest, notes }: Report): string {
  const { accuracy, eceBefore, eceAfter, temperature, n } = found;
  const nNow = folder.spec.calibration.labels?.n ?? 0;
  const rows = [
    ['accuracy', percent(accuracy), percent(accuracy)],
    ['expected calibration error', percent(eceBefore), percent(eceAfter)],
    ['temperature', String(temperatureNow), String(temperature)],
  ];
  return [
    table([`${folder.spec.name}, ${count(n)} examples`, 'before', 'after'], rows),
    '',
    measuredText(found),
    ...(nNow > n ? [`The temperature before was fitted on ${count(nNow)} examples: more than these.`] : []),
    ...notes.map((note) => `${note}.`),
    '',
    ...outcomeText(folder, outcome, digest),
  ].join('\n');
}

const measuredText = ({ measuredOn, measured, n }: Fit): string =>
  measuredOn === 'half'
    ? `The calibration error is of ${count(measured)} examples, with a temperature fitted on the other ${count(n - measured)}; the one above is fitted on all.`
    : `The calibration error is of the same ${count(n)} examples that the temperature is fitted on, which flatters it; from ${MIN_TO_SPLIT} on half are kept apart.`;

function outcomeText(
  { path, spec, digest: before }: ModelFolder,
  outcome: Report['outcome'],
  digest: string,
): string[] {
  switch (outcome) {
    case 'same':
      return ['Nothing to write: the folder has this temperature of as many examples already.'];
    case 'no-better':
      return [
        'Nothing is written: the calibration error has not fallen, the temperature before is as good. --force writes it all the same.',
      ];
    case 'dry-run':
      return ['Nothing is written (--dry-run).'];
    case 'written':
      return [
        `Written to ${join(path, SPEC_FILE)}${spec.golden.length > 0 ? `, with its ${spec.golden.length} golden outputs, whose scores change, answered anew` : ''}.`,
        'The promise of agreement is not touched: labels and route scores stay as they are.',
        `This is a new version: digest ${digest.slice(0, 12)} instead of ${before.slice(0, 12)}.${spec.calibration.cloud ? '' : ' A certificate that names the old one as its cloud model does not hold for it.'}`,
        `Next: outrider models push ${path}`,
      ];
  }
}

const percent = (ratio: number): string => `${(100 * ratio).toFixed(1)} %`;
const count = (value: number): string => value.toLocaleString('en');
