/** The local models: which folders an installer has given, which version of each answers from the start, and a place for each. */
import { join } from 'node:path';
import { selfTest } from '../../shared/inference/proof/self-test.ts';
import { startRunner } from '../../shared/inference/runner/runner-process.ts';
import { findModelFolders, type ModelFolder } from '../../shared/release/folder/model-folder.ts';
import type { Clock } from '../../shared/runtime/clock.ts';
import { AppError, isAppError, toAppError } from '../../shared/runtime/errors.ts';
import type { Logger } from '../../shared/runtime/logger.ts';
import type { Metrics } from '../../shared/runtime/metrics.ts';
import { peakResidentBytes, residentBytes } from '../../shared/runtime/resident-memory.ts';
import type { TaskName } from '../../shared/tasks/tasks.ts';
import type { AgentConfig } from '../config.ts';
import type { SlotVersion, VersionMeter } from '../ports.ts';
import { Slot } from '../slot/slot.ts';

/** A runner of a small model: far above what the starter models take, far below what hurts a device. */
const MAX_RUNNER_RSS_BYTES = 1.5 * 1024 ** 3;
const RUNNER_START_TIMEOUT_MS = 60_000;
const RUNNER_CALL_TIMEOUT_MS = 30_000;

/** The names of the models that this device's pipelines run by themselves. */
export const edgeModels = ({ pipelines }: Pick<AgentConfig, 'pipelines'>): ReadonlySet<string> =>
  new Set(pipelines.map(({ edge }) => edge).filter((name) => name !== undefined));

/**
 * The folders of `--models` that the pipelines name. A hub can bring what is not there; what is there must be good.
 *
 * @throws MODEL_UNKNOWN, FILE_UNREADABLE (nothing there, and no hub that could bring it), or what is wrong with the folder of a name
 */
export async function givenModels(config: AgentConfig, logger: Logger): Promise<ModelFolder[]> {
  const wanted = edgeModels(config);
  if (wanted.size === 0) return [];
  const hasHub = config.hubUrl !== undefined || config.isToldHub;
  const invalid = new Map<string, AppError>();
  const onInvalid = (path: string, error: unknown): void => {
    logger.failure('agent.model_invalid', error, { path });
    invalid.set(path, toAppError(error));
  };
  const isWanted = (name: string): boolean => wanted.has(name);
  const found = await findModelFolders(config.modelsDir, onInvalid, isWanted).catch((error: unknown) => {
    if (hasHub && isAppError(error, 'FILE_UNREADABLE')) return [];
    throw error;
  });
  return [...wanted].flatMap((name) => {
    const folder = found.find(({ spec }) => spec.name === name);
    if (folder) return [folder];
    const broken = invalid.get(join(config.modelsDir, name));
    if (broken) throw broken;
    if (!hasHub) throw noModel(name, config, invalid);
    logger.warn('agent.model_not_here', { model: name, folder: config.modelsDir });
    return [];
  });
}

/** A folder may hold a model of another name than its own: all that were passed over are told. */
function noModel(name: string, { modelsDir }: AgentConfig, invalid: ReadonlyMap<string, AppError>): AppError {
  const passedOver = [...invalid.values()].map(({ message }) => message).join('; ');
  const why = passedOver === '' ? '' : ` (passed over: ${passedOver})`;
  return new AppError('MODEL_UNKNOWN', `there is no model ${name} in ${modelsDir}${why}`);
}

/** What a model of the pipelines is for; undefined: none of them runs it by itself. */
export const taskOf = ({ pipelines }: Pick<AgentConfig, 'pipelines'>, name: string): TaskName | undefined =>
  pipelines.find(({ edge }) => edge === name)?.task;

/** Threads and tools that every slot gets. */
export interface SlotParts {
  readonly threads: number;
  /** Over it a runner is replaced; undefined: by what it takes once it is warm. */
  readonly maxMemory?: number | undefined;
  readonly onSwitch: (version: SlotVersion) => void;
  /** Counts what the versions do. */
  readonly counts?: VersionMeter;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

/**
 * A place with the first of these versions that a runner takes: one that answered before an upgrade of the agent may not any more.
 *
 * @param task what its pipelines are for: a configuration that has changed may not be about this model any more
 * @param candidates best first; none: the place waits for one
 * @throws MODEL_INVALID, CONFIG_INVALID (it does something else) where not even the last can be loaded
 */
export async function startSlot(
  { name, task }: { readonly name: string; readonly task: TaskName | undefined },
  candidates: readonly SlotVersion[],
  parts: SlotParts,
): Promise<{ readonly slot: Slot; readonly version: SlotVersion | undefined }> {
  for (const [index, version] of candidates.entries()) {
    const slot = createSlot(name, version, parts);
    try {
      const does = version.folder.spec.task;
      if (does !== task)
        throw new AppError('CONFIG_INVALID', `${name} does ${does}, and its pipeline is for ${task}`);
      await slot.start();
      return { slot, version };
    } catch (error) {
      await slot.stop();
      if (index === candidates.length - 1) throw error;
      parts.logger.failure('agent.version_not_loaded', error, { model: name, version: version.ref.version });
    }
  }
  return { slot: createSlot(name, undefined, parts), version: undefined };
}

/** @param initial undefined: no version of it is here yet */
export function createSlot(name: string, initial: SlotVersion | undefined, parts: SlotParts): Slot {
  const { threads, maxMemory, ...rest } = parts;
  const runner = {
    threads,
    maxRssBytes: MAX_RUNNER_RSS_BYTES,
    startTimeoutMs: RUNNER_START_TIMEOUT_MS,
    callTimeoutMs: RUNNER_CALL_TIMEOUT_MS,
  };
  const memory = {
    ...{ memoryOf: residentBytes, peakOf: peakResidentBytes },
    ...{ maxBytes: maxMemory, hardBytes: MAX_RUNNER_RSS_BYTES },
  };
  return new Slot({ name, runner, startRunner, memory, selfTest, ...rest }, initial);
}
