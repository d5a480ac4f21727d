/** `outrider models pull <source>`: brings in a model of anybody's, checked, tried and described, ready to be run or pushed. */
import { createHash } from 'node:crypto';
import { copyFile, cp, rename, rm, stat } from 'node:fs/promises';
import { dirname, join, relative, resolve } from 'node:path';
import { type ModelFolder, openModelFolder, SPEC_FILE } from '../../shared/release/folder/model-folder.ts';
import { AppError } from '../../shared/runtime/errors.ts';
import { makeFolder } from '../../shared/runtime/make-folder.ts';
import { TASKS, type TaskName } from '../../shared/tasks/tasks.ts';
import { cardText, type ModelCard } from '../import/model-card.ts';
import { DESCRIBING_FLAGS, type DescribeOptions, stageModel } from '../import/stage-model.ts';
import { print } from '../output.ts';

/** Flags of `outrider models pull`. */
export interface PullOptions extends DescribeOptions {
  readonly into: string;
  readonly force?: boolean;
  readonly json?: boolean;
}

/** @throws USAGE, MODEL_*, INPUT_TOO_LARGE, FILE_UNREADABLE, HUB_*, DOWNLOAD_INCOMPLETE, DISK_FULL, CONFLICT */
export async function pullModel(what: string, options: PullOptions): Promise<void> {
  const into = resolve(options.into);
  const stage = join(into, `.pull-${keyOf(what, options)}`);
  const { imported, card } = await stageModel(what, stage, { ...options, isShown: options.json !== true });
  const { folder: staged, notes } = imported;
  const to = join(into, staged.spec.name);
  const folder =
    resolve(what) === to ? await describeInPlace(staged, to) : await moveIn(staged, to, options.force);
  const made: ModelCard = {
    ...card,
    digest: folder.digest,
    folder: shortest(folder.path),
  };
  print(options.json, { ...made, notes }, () => pulledText(made, notes));
}

/** Seen from here where it lies below; a way up and down again is harder to read than the whole path. */
function shortest(path: string): string {
  const fromHere = relative(process.cwd(), path) || '.';
  return fromHere.startsWith('..') ? path : fromHere;
}

/** Of the source and what was said of it: two pulls that differ do not mix their files. */
const keyOf = (what: string, options: DescribeOptions): string =>
  createHash('sha256')
    .update(JSON.stringify([what, ...DESCRIBING_FLAGS.map((flag) => options[flag])]))
    .digest('hex')
    .slice(0, 12);

/** @throws CONFLICT where another version is there */
async function moveIn(staged: ModelFolder, to: string, mayReplace = false): Promise<ModelFolder> {
  const there = await openModelFolder(to).catch(() => undefined);
  if (there?.digest === staged.digest) {
    await rm(staged.path, { recursive: true, force: true });
    return there;
  }
  await makeFolder(dirname(to));
  const old = `${staged.path}.old`;
  if (await stat(to).catch(() => undefined)) {
    if (!mayReplace)
      throw new AppError('CONFLICT', `${to} is there already, and is another version; --force replaces it`);
    await rename(to, old);
  }
  await rename(staged.path, to);
  await rm(old, { recursive: true, force: true });
  return openModelFolder(to);
}

/** The folder that was named is the place where it belongs: only what describes it is added. */
async function describeInPlace(staged: ModelFolder, to: string): Promise<ModelFolder> {
  for (const file of ['config.json', 'preprocessor_config.json', SPEC_FILE])
    if (await stat(join(staged.path, file)).catch(() => undefined))
      await copyFile(join(staged.path, file), join(to, file));
  // The example that was given is a file of the version.
  if (await stat(join(staged.path, 'golden')).catch(() => undefined))
    await cp(join(staged.path, 'golden'), join(to, 'golden'), { recursive: true });
  await rm(staged.path, { recursive: true, force: true });
  return openModelFolder(to);
}

function pulledText(card: ModelCard, notes: readonly string[]): string {
  const isHub = TASKS[card.task as TaskName].runsOn === 'hub';
  return [
    cardText(card),
    '',
    ...notes.map((note) => `${note[0]?.toUpperCase()}${note.slice(1)}.`),
    '',
    `Next: outrider models push ${card.folder}${isHub ? '' : ', or name it as edge model in outrider.yaml'}`,
  ].join('\n');
}
