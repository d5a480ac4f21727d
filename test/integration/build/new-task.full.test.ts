/** What a new task touches: told by the compiler, in a copy of the sources to which one is added. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { cp, mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { temporaryFolder } from '../../support/fixed.ts';

const ROOT = fileURLToPath(new URL('../../..', import.meta.url));
/** All programs, and the answers of each task that tests share. */
const SOURCES = ['agent', 'cli', 'cloud', 'shared', 'test/unit/shared/tasks'];

const NAME = 'sound-tagging';

/** Its folder, and its file for the runner. */
const FILES: Readonly<Record<string, string>> = {
  [`shared/tasks/${NAME}/schema.ts`]: `
    import { z } from 'zod';
    import { classification, classificationParameters } from '../forms/labels.ts';
    import type { TaskSchema } from '../task.ts';

    export const soundTagging: TaskSchema = {
      inputKind: 'audio',
      parameters: classificationParameters,
      output: z.array(classification),
      ranks: 'own',
      listed: 'where-asked',
      runsOn: 'device',
    };`,
  [`shared/tasks/${NAME}/judge.ts`]: `
    import { differenceOfLabels, lossOfLabels, routeScoreOfLabels, shownLabels } from '../judging/labels.ts';
    import { smallestSound } from '../judging/smallest.ts';
    import type { Judge } from '../task.ts';

    export const soundTaggingJudge: Judge = {
      lossOf: lossOfLabels,
      routeScoreOf: routeScoreOfLabels,
      differenceOf: differenceOfLabels,
      smallestInput: smallestSound,
      shown: shownLabels,
    };`,
  [`shared/inference/tasks/${NAME}.ts`]: `
    import type { ModelSource, TaskModel } from '../runner/task-model.ts';

    export async function loadSoundTagging(source: ModelSource): Promise<TaskModel<Uint8Array>> {
      return {
        maxBatchSize: 1,
        executionProvider: source.executionProvider,
        prepare: async ({ body }) => body,
        shapeKey: () => 'one',
        run: async (batch) =>
          batch.map(({ length }) => ({ output: [{ label: 'loud', score: length }], routeScore: 0 })),
      };
    }`,
};

interface Entry {
  readonly file: string;
  /** Begins the table to which the line is added. */
  readonly table: string;
  readonly line: string;
  readonly imports?: string;
}

const FIRST: Entry = {
  file: 'shared/tasks/tasks.ts',
  table: 'const table = {',
  line: `'${NAME}': task(soundTagging, soundTaggingJudge),`,
  imports: `
    import { soundTaggingJudge } from './${NAME}/judge.ts';
    import { soundTagging } from './${NAME}/schema.ts';`,
};

/** The other tables that must have every task. */
const OTHERS: readonly Entry[] = [
  {
    file: 'shared/inference/tasks/loaders.ts',
    table: 'export const LOADERS: Readonly<Record<TaskName, () => Promise<Loader>>> = {',
    line: `'${NAME}': async () => (await import('./${NAME}.ts')).loadSoundTagging,`,
  },
  {
    file: 'shared/release/import/foreign-tasks.ts',
    table: 'export const FOREIGN_TASKS: Readonly<Record<TaskName, ForeignTask>> = {',
    line: `'${NAME}': {
      classes: /ForSoundTagging$/,
      types: [],
      graphs: null,
      needsLabels: true,
      tokenizerFiles: [],
      misfit: (signature, labels) => logitsMisfit(signature, 2, labels),
    },`,
  },
  {
    file: 'test/unit/shared/tasks/answers.ts',
    table: 'export const ANSWERS: Readonly<Record<TaskName, Answers>> = {',
    line: `'${NAME}': {
      example: [{ label: 'siren', score: 0.9 }],
      line: 'siren',
      arbitrary: fc.array(fc.record({ label: name, score }), { minLength: 1 }),
    },`,
  },
];

test('the compiler names every place that must know a new task, and is content when they do', async (t) => {
  const root = await temporaryFolder(t);
  for (const name of SOURCES) await cp(join(ROOT, name), join(root, name), { recursive: true });
  const options = JSON.parse(await readFile(join(ROOT, 'tsconfig.json'), 'utf8'));
  await writeFile(join(root, 'tsconfig.json'), JSON.stringify({ ...options, include: SOURCES }));
  // Their types, and that these are modules.
  for (const name of ['node_modules', 'package.json']) await symlink(join(ROOT, name), join(root, name));

  await add(root, FIRST);
  const lacking = compile(root);
  assert.deepEqual(filesOf(lacking), [FIRST, ...OTHERS].map(({ file }) => file).toSorted());
  const folder = lacking.find(({ file }) => file === FIRST.file);
  assert.match(folder?.message ?? '', /Cannot find module '\.\/sound-tagging\/judge\.ts'/);

  for (const [file, text] of Object.entries(FILES)) {
    await mkdir(dirname(join(root, file)), { recursive: true });
    await writeFile(join(root, file), text);
  }
  for (const entry of OTHERS) await add(root, entry);
  assert.deepEqual(compile(root), []);
});

test('those who would add a task are told of each of these places', async () => {
  const said = await readFile(join(ROOT, 'CONTRIBUTING.md'), 'utf8');
  const paragraph = /^\*\*a task\*\* .*?\n\n/ms.exec(said)?.[0] ?? '';
  for (const { file } of [FIRST, ...OTHERS]) assert.ok(paragraph.includes(`\`${file}\``), file);
});

async function add(root: string, { file, table, line, imports = '' }: Entry): Promise<void> {
  const path = join(root, file);
  const parts = (await readFile(path, 'utf8')).split(table);
  assert.equal(parts.length, 2, `${file} has no table, or several, that begin with “${table}”`);
  await writeFile(path, `${imports}\n${parts.join(`${table}\n${line}`)}`);
}

interface CompilerError {
  /** From the root, forward slashes. */
  readonly file: string;
  readonly message: string;
}

/** `src/a.ts(3,5): error TS2322: Type …`; what explains it stands indented below. */
const ERROR = /^(?<file>[^\s(][^(]*)?(?:\(\d+,\d+\): )?error TS\d+: (?<message>.*)$/;

/** What `tsc --noEmit` says of the copy. */
function compile(root: string): CompilerError[] {
  const tsc = join(ROOT, 'node_modules/typescript-native/bin/tsc');
  const { stdout, status } = spawnSync(process.execPath, [tsc, '--noEmit', '--pretty', 'false'], {
    cwd: root,
    encoding: 'utf8',
    maxBuffer: MAX_OUTPUT_BYTES,
  });
  const errors = stdout.split('\n').flatMap((line) => {
    const { file = '', message } = ERROR.exec(line)?.groups ?? {};
    return message === undefined ? [] : [{ file, message }];
  });
  assert.equal(status === 0, errors.length === 0, stdout);
  return errors;
}

const MAX_OUTPUT_BYTES = 64 * 1024 * 1024;

const filesOf = (errors: readonly CompilerError[]): string[] =>
  [...new Set(errors.map(({ file }) => file))].sort();
