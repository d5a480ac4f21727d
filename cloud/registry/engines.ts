/**
 * Which models run on other servers: part of the hub's records. A key lies in a file of its own that nobody but the hub's user can read, and
 * is in no record, no answer and no log.
 */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { z } from 'zod';
import type { engineRequest } from '../../shared/contract/engines.ts';
import { AGENT_NAME } from '../../shared/contract/releases.ts';
import { writeFileAtomic } from '../../shared/runtime/atomic-file.ts';
import type { Clock } from '../../shared/runtime/clock.ts';
import { AppError } from '../../shared/runtime/errors.ts';
import { sha256Hex } from '../../shared/runtime/ids.ts';
import { plainTextProblem } from '../../shared/runtime/loopback.ts';
import { readIfThere } from '../../shared/runtime/read-file.ts';
import { toSinglePem } from '../../shared/runtime/trust.ts';
import { TASKS, type TaskName } from '../../shared/tasks/tasks.ts';
import type { ModelRegistry } from './models.ts';
import type { StoredEngine } from './records.ts';
import { own, type Store, without } from './store.ts';

/** Records, the folder of keys, and who hears of a change. */
export interface EngineRegistryOptions {
  readonly store: Store;
  /** Of key files. */
  readonly folder: string;
  readonly models: Pick<ModelRegistry, 'folderTask' | 'resolve' | 'engineChanged'>;
  readonly clock: Clock;
}

/** An engine with its key, for who asks it. */
export interface KnownEngine {
  readonly name: string;
  readonly engine: StoredEngine;
  readonly key: string | null;
}

type Checked = z.infer<typeof engineRequest>;

const PRIVATE = 0o600;
/** A runner whose call takes longer is taken for one that hangs. */
const MAX_GRAPH_SECONDS = 50;
/** A long text that is not streamed takes its time. */
const DEFAULT_SECONDS = { 'open-inference': 30, openai: 120 } as const;
const MAX_ENGINES = 1_000;
const OPENAI_TASKS: readonly TaskName[] = ['text-generation', 'feature-extraction'];

/** Records of engines. */
export class EngineRegistry {
  readonly #o: EngineRegistryOptions;
  #onChange: (name: string, known: KnownEngine | undefined) => void = () => undefined;

  constructor(options: EngineRegistryOptions) {
    this.#o = options;
  }

  /** Who runs engines hears of each change, and of nothing before. */
  onChange(hear: (name: string, known: KnownEngine | undefined) => void): void {
    this.#onChange = hear;
  }

  /** All of them, with their keys; where one is gone none is sent, and the engine will refuse. */
  async list(): Promise<KnownEngine[]> {
    const engines = Object.entries(this.#o.store.data.engines);
    return Promise.all(
      engines.map(async ([name, engine]) => ({
        ...{ name, engine },
        key: engine.hasKey ? await this.#keyOf(name) : null,
      })),
    );
  }

  /**
   * Names the engine of a model, or another in its place; without a folder of this name here it is a model of its own.
   *
   * @returns whether there was none before
   * @throws PARAMETERS_INVALID naming what does not go together, MODEL_UNKNOWN (the fallback), DISK_FULL
   */
  async put(name: string, request: Checked): Promise<boolean> {
    const { store, clock } = this.#o;
    if (name === '__proto__' || name === AGENT_NAME)
      throw invalid('name', `no model may be called ${name}: the name is taken`);
    const hasFolder = this.#o.models.folderTask(name) !== undefined;
    const before = own<StoredEngine>(store.data.engines, name);
    if (!before && Object.keys(store.data.engines).length >= MAX_ENGINES)
      throw invalid('name', `a hub has at most ${MAX_ENGINES} engines`);
    const task = this.#check(name, request, hasFolder);
    const runs = request.kind === 'open-inference' && hasFolder ? 'graph' : 'task';
    const key = request.key ?? null;
    // On disk before the record that says so.
    if (key !== null) await writeFileAtomic(this.#keyFile(name), `${key}\n`, PRIVATE);
    const engine: StoredEngine = {
      ...{ kind: request.kind, url: baseUrl(request), remoteName: request.remoteName ?? name, task, runs },
      ...{ version: request.version ?? null, hasKey: key !== null, ca: request.ca ?? null },
      ...{ timeoutMs: (request.timeoutSeconds ?? DEFAULT_SECONDS[request.kind]) * 1000 },
      fallback: request.fallback ?? null,
      batch: request.batch ?? (runs === 'graph' ? 'here' : 'there'),
      number: (before?.number ?? 0) + 1,
      createdAtMs: before?.createdAtMs ?? clock.nowAtMs(),
    };
    await store.change((data) => ({
      ...{ ...data, desiredVersion: data.desiredVersion + 1 },
      engines: { ...data.engines, [name]: engine },
    }));
    if (key === null) await rm(this.#keyFile(name), { force: true });
    this.#onChange(name, { name, engine, key });
    this.#o.models.engineChanged(name);
    return before === undefined;
  }

  /** The model runs here again, where it has a folder; else it is gone. @throws NOT_FOUND */
  async remove(name: string): Promise<void> {
    const { store, models } = this.#o;
    if (!own<StoredEngine>(store.data.engines, name))
      throw new AppError('NOT_FOUND', 'this model has no engine on another server');
    await store.change((data) => ({
      ...{ ...data, desiredVersion: data.desiredVersion + 1 },
      engines: without(data.engines, name),
    }));
    await rm(this.#keyFile(name), { force: true });
    this.#onChange(name, undefined);
    models.engineChanged(name);
  }

  /** @returns the task @throws PARAMETERS_INVALID, MODEL_UNKNOWN */
  #check(name: string, request: Checked, hasFolder: boolean): TaskName {
    const { models, store } = this.#o;
    const { kind, url, key, ca, fallback, batch, timeoutSeconds, insecurePlainText } = request;
    const own = models.folderTask(name);
    const task = request.task ?? own;
    if (task === undefined)
      throw invalid('task', 'is needed: this hub has no folder of the model that says it');
    if (own !== undefined && task !== own) throw invalid('task', `the folder of ${name} does ${own}`);
    if (kind === 'openai' && !OPENAI_TASKS.includes(task))
      throw invalid('task', `an engine of kind openai does ${OPENAI_TASKS.join(' or ')}, not ${task}`);
    if (kind === 'open-inference' && hasFolder && TASKS[task].runsOn === 'hub')
      throw invalid('kind', `${task} has its graphs in a loop, which cannot run elsewhere by themselves`);
    if (kind === 'open-inference' && !hasFolder && task === 'tensor')
      throw invalid(
        'task',
        'what a tensor model takes and gives says its folder: push it first, or give --folder',
      );
    const runsGraph = kind === 'open-inference' && hasFolder;
    if (batch === 'here' && !runsGraph)
      throw invalid(
        'batch',
        'batches are made here where the graph alone runs there: with a folder, and of kind open-inference',
      );
    if (runsGraph && (timeoutSeconds ?? 0) > MAX_GRAPH_SECONDS)
      throw invalid('timeoutSeconds', `at most ${MAX_GRAPH_SECONDS} where the graph alone runs there`);
    const problem = key == null ? undefined : plainTextProblem(url);
    if (problem !== undefined && !insecurePlainText) throw invalid('url', problem);
    if (ca != null) requirePem(ca);
    if (fallback != null) {
      if (fallback === name || Object.hasOwn(store.data.engines, fallback))
        throw invalid('fallback', 'must be a model that runs in this hub itself');
      const other = models.resolve(fallback);
      if (other.task !== task) throw invalid('fallback', `${fallback} does ${other.task}, and not ${task}`);
    }
    return task;
  }

  /** Names may have a slash, and lengths that a file's name has not. */
  #keyFile(name: string): string {
    return join(this.#o.folder, `${sha256Hex(name).slice(0, 32)}.key`);
  }

  async #keyOf(name: string): Promise<string | null> {
    return (await readIfThere(this.#keyFile(name)))?.toString('utf8').trim() || null;
  }
}

const invalid = (param: string, message: string): AppError =>
  new AppError('PARAMETERS_INVALID', `${param}: ${message}`, { details: { param } });

function requirePem(ca: string): void {
  try {
    toSinglePem(ca);
  } catch (error) {
    throw new AppError('PARAMETERS_INVALID', 'ca: is no certificate in PEM', { cause: error });
  }
}

/** Without a slash at its end; below `/v1` of an OpenAI-compatible server, above `/v2` of the others. */
function baseUrl({ kind, url }: Checked): string {
  const bare = url.replace(/\/+$/, '');
  if (kind === 'open-inference') return bare.replace(/\/v2$/, '');
  return new URL(bare).pathname === '/' ? `${bare}/v1` : bare;
}
