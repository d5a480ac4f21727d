/** `outrider models add|rm`: models that run on other servers. */

import { readFile } from 'node:fs/promises';
import { modelRecord } from '../../shared/contract/admin.ts';
import { type EngineRequest, engineKind } from '../../shared/contract/engines.ts';
import { modelName } from '../../shared/contract/names.ts';
import { AppError, unreadable } from '../../shared/runtime/errors.ts';
import { type TaskName, taskName } from '../../shared/tasks/tasks.ts';
import { HubClient, type HubOptions, modelPath } from '../hub-client.ts';
import { note, print } from '../output.ts';
import { pushModel } from './models.ts';

interface AddOptions extends HubOptions {
  readonly engine: string;
  readonly kind: string;
  readonly remoteName?: string;
  readonly remoteVersion?: string;
  readonly task?: string;
  /** Folder with the model's own pre- and postprocessing, and its graph. */
  readonly folder?: string;
  readonly keyFile?: string;
  readonly keyEnv?: string;
  readonly engineCa?: string;
  readonly timeout?: string;
  readonly fallback?: string;
  readonly batch?: string;
  readonly insecurePlainText?: boolean;
  readonly json?: boolean;
}

/** Names the server that a model runs on; with a folder only its graph does. */
export async function addEngine(name: string, options: AddOptions): Promise<void> {
  requireName(name);
  const kind = engineKind.safeParse(options.kind);
  if (!kind.success) throw new AppError('USAGE', `--kind is ${engineKind.options.join(' or ')}`);
  if (options.folder !== undefined && kind.data === 'openai')
    throw new AppError(
      'USAGE',
      '--folder goes with --kind open-inference: of an openai engine all of the task runs there',
    );
  const request: EngineRequest = {
    kind: kind.data,
    url: options.engine,
    remoteName: options.remoteName,
    version: options.remoteVersion,
    task: options.task === undefined ? undefined : taskOf(options.task),
    key: await keyOf(options),
    ca: options.engineCa === undefined ? undefined : await textOf(options.engineCa),
    timeoutSeconds: options.timeout === undefined ? undefined : secondsOf(options.timeout),
    fallback: options.fallback,
    batch: batchOf(options.batch),
    insecurePlainText: options.insecurePlainText,
  };
  const hub = await HubClient.find(options);
  if (options.folder !== undefined)
    await pushModel(options.folder, {
      ...{ name, wait: false, ...(options.json && { json: true }) },
      ...pick(options, ['hub', 'key', 'data', 'ca']),
    });
  const made = await hub.put(`/api/v1/models/${modelPath(name)}/engine`, request, modelRecord);
  print(options.json, made, () => {
    const { engine } = made;
    const what = engine?.runs === 'graph' ? 'The graph of ' : '';
    return `${what}${name} runs at ${engine?.url}, as ${engine?.remoteName}.`;
  });
  if (!options.json) note(`See how it is: outrider models ls, outrider doctor`);
}

/** Takes the server away. */
export async function removeEngine(
  name: string,
  options: HubOptions & { readonly json?: boolean },
): Promise<void> {
  requireName(name);
  const hub = await HubClient.find(options);
  await hub.delete(`/api/v1/models/${modelPath(name)}/engine`);
  print(options.json, { name, removed: true }, () => `${name} runs on no other server any more.`);
}

const pick = (options: HubOptions, names: readonly (keyof HubOptions)[]): HubOptions =>
  Object.fromEntries(names.flatMap((name) => (options[name] === undefined ? [] : [[name, options[name]]])));

function requireName(name: string): void {
  if (!modelName.safeParse(name).success) throw new AppError('USAGE', `“${name}” is no model name`);
}

function taskOf(text: string): TaskName {
  const found = taskName.safeParse(text);
  if (found.success) return found.data;
  throw new AppError('USAGE', `--task is one of ${taskName.options.join(', ')}`);
}

function batchOf(text: string | undefined): 'here' | 'there' | undefined {
  if (text === undefined || text === 'here' || text === 'there') return text;
  throw new AppError('USAGE', '--batch is here or there');
}

function secondsOf(text: string): number {
  const seconds = Number(text);
  if (Number.isFinite(seconds) && seconds > 0) return seconds;
  throw new AppError('USAGE', '--timeout is a number of seconds above 0');
}

/** Never on the command line: everybody on the machine can read that. @throws USAGE, FILE_UNREADABLE */
async function keyOf({ keyFile, keyEnv }: AddOptions): Promise<string | undefined> {
  if (keyFile !== undefined && keyEnv !== undefined)
    throw new AppError('USAGE', '--key-file and --key-env exclude each other');
  if (keyFile !== undefined) {
    const key = (await textOf(keyFile)).trim();
    if (key === '') throw new AppError('USAGE', `--key-file: ${keyFile} is empty`);
    return key;
  }
  if (keyEnv === undefined) return undefined;
  const key = process.env[keyEnv];
  if (!key) throw new AppError('USAGE', `--key-env: the environment has no ${keyEnv}`);
  return key;
}

async function textOf(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    throw unreadable(path, error);
  }
}
