/** A foreign model on its way in: what is said of it on the command line, where it comes from, and the folder in which it is tried. */
import { rm } from 'node:fs/promises';
import type { ExecutionProvider } from '../../shared/inference/runner/runner-protocol.ts';
import { DETECTOR_FAMILIES, VARIANTS, type Variant } from '../../shared/release/folder/choices.ts';
import { openModelFolder } from '../../shared/release/folder/model-folder.ts';
import { changeSpec } from '../../shared/release/folder/spec-document.ts';
import {
  type Imported,
  type ImportSource,
  importModel,
  namedBySource,
} from '../../shared/release/import/import-model.ts';
import { systemClock } from '../../shared/runtime/clock.ts';
import { AppError } from '../../shared/runtime/errors.ts';
import { makeFolder } from '../../shared/runtime/make-folder.ts';
import { orNearest } from '../../shared/runtime/near.ts';
import { taskName } from '../../shared/tasks/tasks.ts';
import { bytesText } from '../output.ts';
import { type ProgressBar, progressBar } from '../progress-bar.ts';
import { readExample, recordExample } from './example.ts';
import { folderSource } from './folder-source.ts';
import { hubSource } from './hub-source.ts';
import { readLabels } from './labels-file.ts';
import { type ModelCard, measureModel } from './model-card.ts';

/** Description of a foreign model by its owner, for what its files leave open. */
export interface DescribeOptions {
  readonly name?: string;
  readonly task?: string;
  readonly labels?: string;
  readonly family?: string;
  readonly output?: string;
  /** File with an input that it takes. */
  readonly example?: string;
  readonly variant?: string;
  readonly maxSize?: string;
  readonly mirror?: string;
}

/** Flags that describe somebody else's model. */
export const DESCRIBING_FLAGS = ['name', 'task', 'labels', 'family', 'output', 'variant', 'example'] as const;

const DEFAULT_MIRROR = 'https://huggingface.co';

/**
 * Imports into a folder of its own and tries the model there. What broke off in the middle of a download stays, to be gone on with;
 * what was refused is removed.
 */
export async function stageModel(
  what: string,
  stage: string,
  options: DescribeOptions & {
    readonly isShown: boolean;
    /** To be tried beside the processor. */
    readonly providers?: readonly ExecutionProvider[];
  },
): Promise<{ readonly imported: Imported; readonly card: ModelCard }> {
  const described = await descriptionOf(options);
  const source = await sourceOf(what, options);
  await makeFolder(stage);
  try {
    const imported = await fetchAll(source, stage, { ...described, isShown: options.isShown });
    const example =
      options.example === undefined ? undefined : await readExample(options.example, imported.folder.spec);
    const { card, answer } = await measureModel(imported.folder, { providers: options.providers, example });
    const isRecorded = example !== undefined && (await recordExample(imported.folder, example, answer));
    return await settleBatches(await settleTrial(imported, card, isRecorded), card);
  } catch (error) {
    if (!(error instanceof AppError) || !MAY_GO_ON.has(error.code))
      await rm(stage, { recursive: true, force: true });
    throw namedBySource(error, source, stage);
  }
}

/** After these the next try goes on where this one ended. */
const MAY_GO_ON: ReadonlySet<string> = new Set([
  'DOWNLOAD_INCOMPLETE',
  'HUB_UNREACHABLE',
  'NAME_UNRESOLVED',
  'STOPPING',
  'DISK_FULL',
]);

async function fetchAll(
  source: ImportSource,
  folder: string,
  { isShown, ...described }: Description & { readonly isShown: boolean },
): Promise<Imported> {
  let bar: ProgressBar | undefined;
  try {
    return await importModel(source, {
      ...described,
      folder,
      onTotal: (bytes) => {
        bar?.stop();
        bar = isShown && bytes > 0 ? progressBar(`fetching ${source.title}`, bytes, bytesText) : undefined;
      },
      onBytes: (bytes) => bar?.increment(bytes),
    });
  } finally {
    bar?.stop();
  }
}

type Description = Pick<
  Parameters<typeof importModel>[1],
  'name' | 'task' | 'family' | 'output' | 'labels' | 'variant' | 'maxBytes' | 'example'
>;

/** @throws USAGE, FILE_UNREADABLE */
async function descriptionOf(options: DescribeOptions): Promise<Description> {
  return {
    name: options.name,
    example: options.example,
    output: options.output,
    task: oneOf('--task', options.task, taskName.options),
    family: oneOf('--family', options.family, DETECTOR_FAMILIES),
    variant: oneOf<Variant>('--variant', options.variant, VARIANTS),
    labels: options.labels === undefined ? undefined : await readLabels(options.labels),
    maxBytes: bytesOf(options.maxSize ?? '2GB'),
  };
}

/** @throws USAGE naming what there is */
function oneOf<T extends string>(flag: string, given: string | undefined, all: readonly T[]): T | undefined {
  const found = all.find((one) => one === given);
  if (given !== undefined && found === undefined)
    throw new AppError(
      'USAGE',
      `${flag} is one of ${all.join(', ')}; “${given.slice(0, 64)}” is none${orNearest(given, all)}`,
    );
  return found;
}

const UNITS = { B: 1, KB: 1e3, MB: 1e6, GB: 1e9 } as const;

/** `500MB` @throws USAGE */
function bytesOf(text: string): number {
  const [, number, unit = 'B'] = /^(\d+(?:\.\d+)?)\s*(B|KB|MB|GB)?$/i.exec(text.trim()) ?? [];
  if (number === undefined)
    throw new AppError('USAGE', `--max-size is a size as 500MB or 2GB, not “${text.slice(0, 64)}”`);
  return Number(number) * UNITS[unit.toUpperCase() as keyof typeof UNITS];
}

async function sourceOf(what: string, { mirror }: DescribeOptions): Promise<ImportSource> {
  if (!what.startsWith('hf:')) return folderSource(what);
  const baseUrl = (mirror ?? process.env.HF_ENDPOINT ?? DEFAULT_MIRROR).replace(/\/+$/, '');
  if (!URL.canParse(baseUrl) || !/^https?:/.test(baseUrl))
    throw new AppError('USAGE', `the mirror “${baseUrl}” is no http(s) address`);
  const stopping = new AbortController();
  process.once('SIGINT', () => {
    stopping.abort(new AppError('STOPPING'));
    process.exitCode = 130;
  });
  return hubSource(what, {
    baseUrl,
    token: process.env.HF_TOKEN || undefined,
    clock: systemClock,
    signal: stopping.signal,
    random: Math.random,
  });
}

/** How it can be tried is written down, so that hub and devices need not look for it again. */
async function settleTrial(
  { folder, notes }: Imported,
  { test, trial }: ModelCard,
  isRecorded: boolean,
): Promise<Imported> {
  const { path, spec } = folder;
  const isUnasked = trial !== undefined && 'untested' in trial;
  // Where there is an example, it is asked.
  const isKept = trial !== undefined && spec.trial === undefined && !(isUnasked && isRecorded);
  const isChanged = isKept || isUnasked || isRecorded;
  if (isKept || isUnasked)
    await changeSpec(path, (document) => ({
      ...document,
      ...(isKept && { trial }),
      // What was not asked one by one was not asked two at a time either.
      ...(isUnasked && { batch: { safe: false, maxSize: 1 } }),
    }));
  const note = {
    golden: [],
    example: [
      isRecorded
        ? 'the example is its golden input: hub and devices compare with what was answered here'
        : 'it answers the example, too much to be recorded: no golden inputs',
    ],
    smoke: ['no golden inputs: a device only checks that it answers'],
    untested: [
      `untested: no input could be made up that it takes (${isUnasked ? trial.untested : ''}); give one with --example FILE`,
    ],
  }[test];
  return { folder: isChanged ? await openModelFolder(path) : folder, notes: [...notes, ...note] };
}

/** A graph that passes for batches and answers otherwise in them goes without. */
async function settleBatches(
  imported: Imported,
  card: ModelCard,
): Promise<{ readonly imported: Imported; readonly card: ModelCard }> {
  if (card.answersAlikeInBatches !== false) return { imported, card };
  const { folder, notes } = imported;
  await changeSpec(folder.path, (document) => ({ ...document, batch: { safe: false, maxSize: 1 } }));
  const note = 'tried in a batch, an answer depended on its neighbour: batching is off';
  return {
    imported: { folder: await openModelFolder(folder.path), notes: [...notes, note] },
    card: { ...card, maxBatchSize: 1, answersAlikeInBatches: null },
  };
}
