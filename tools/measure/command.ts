/** What the tools' command lines have in common: folders, `--data`, and a failure told in one sentence. */
import { parseArgs } from 'node:util';
import { type ModelFolder, openModelFolder } from '../../shared/release/folder/model-folder.ts';
import { AppError, toAppError } from '../../shared/runtime/errors.ts';

export interface Arguments {
  readonly folders: readonly ModelFolder[];
  /** The folder that the recipes call `--data`. */
  readonly data: string;
}

/** Opens the model folders of a command line. @throws BAD_REQUEST, MODEL_INVALID, MODEL_DIGEST_MISMATCH */
export async function readArguments(
  usage: string,
  accepts: (folders: number) => boolean,
): Promise<Arguments> {
  const { values, positionals } = parseArgs({
    options: { data: { type: 'string', default: '' } },
    allowPositionals: true,
  });
  if (!accepts(positionals.length) || (usage.includes('--data') && values.data === ''))
    throw new AppError('BAD_REQUEST', `usage: ${usage}`);
  return { folders: await Promise.all(positionals.map(openModelFolder)), data: values.data };
}

/** Runs a tool; exit code 1 and one line on stderr when it fails. */
export function runTool(main: () => Promise<void>): void {
  main().catch((error: unknown) => {
    const { code, message } = toAppError(error);
    console.error(`${message} (${code})`);
    process.exitCode = 1;
  });
}
