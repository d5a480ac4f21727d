/** Devices that are updated, over a real disk, and a hub that publishes for them; slots without runners. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { createAgentMetrics } from '../../../../agent/metrics.ts';
import type { ReleaseBook, SlotVersion, TrialEnd, UpdatableSlot } from '../../../../agent/ports.ts';
import { pacing } from '../../../../agent/updater/pace.ts';
import { Updater } from '../../../../agent/updater/updater.ts';
import type { ModelRef } from '../../../../shared/contract/names.ts';
import { decodeDelta } from '../../../../shared/release/delta/decode.ts';
import { encodeDelta } from '../../../../shared/release/delta/encode.ts';
import { type ModelFolder, openModelFolder } from '../../../../shared/release/folder/model-folder.ts';
import { consistentPath, type Delta, deltaPath } from '../../../../shared/release/release.ts';
import { AppError } from '../../../../shared/runtime/errors.ts';
import { sha256Hex } from '../../../../shared/runtime/ids.ts';
import { FakeClock, settle } from '../../../support/fake-clock.ts';
import { quickFolder } from '../../../support/fixed.ts';
import { recordingLogger } from '../../../support/recording-logger.ts';
import { releaseOf, writeModelFolder } from '../../../support/version-files.ts';

export const NAME = 'edge-model';

/** A slot without runners. */
export class TestSlot implements UpdatableSlot {
  active: ModelRef | null;
  standby: ModelRef | undefined;
  onTrial = false;
  readonly calls: string[] = [];
  /** What `prepare` comes to. */
  verdict: () => Promise<'golden' | 'smoke'> = async () => 'golden';
  /** How a trial ends; pending until it is called. */
  end: (how: TrialEnd) => void = () => undefined;
  onCall: () => void = () => undefined;
  answers = 0;

  constructor(active: ModelRef | null) {
    this.active = active;
  }

  get model(): ModelRef | null {
    return this.onTrial ? (this.standby ?? null) : this.active;
  }

  rename(ref: ModelRef): void {
    this.#say(`rename ${ref.version}`);
    this.active = ref;
  }

  async prepare({ ref, folder }: SlotVersion): Promise<'golden' | 'smoke'> {
    this.#say(`prepare ${ref.version}`);
    assert.equal((await openModelFolder(folder.path)).digest, ref.digest, 'it is whole when it is tried');
    const kind = await this.verdict();
    this.standby = ref;
    return kind;
  }

  startTrial(): { ended: Promise<TrialEnd>; answers: number } {
    this.#say('trial');
    this.onTrial = true;
    const ended = new Promise<TrialEnd>((resolve) => {
      this.end = resolve;
    });
    const count = (): number => this.answers;
    return {
      ended,
      get answers() {
        return count();
      },
    };
  }

  async commit(): Promise<void> {
    this.#say('commit');
    this.active = this.standby ?? null;
    this.#clear();
  }

  async discard(): Promise<void> {
    if (this.standby) this.#say('discard');
    this.#clear();
  }

  #clear(): void {
    this.standby = undefined;
    this.onTrial = false;
  }

  #say(call: string): void {
    this.calls.push(call);
    this.onCall();
  }
}

export interface Place {
  readonly folder: string;
  readonly given: readonly ModelFolder[];
}

export const keyOf = (name: string, version: string): string => `${name}@${version}`;

/** What the hub publishes: three versions; and what is wrong with it today. */
export async function publish(t: TestContext, names: readonly string[] = [NAME]) {
  const folder = await quickFolder(t);
  const made = new Map<string, ModelFolder>();
  const targets = new Map<string, Uint8Array>();
  const releases = new Map<string, Awaited<ReturnType<typeof releaseOf>>['release']>();
  for (const name of names)
    for (const version of ['1', '2', '3']) {
      const one = await writeModelFolder(join(folder, name, version), name, `version ${version}`);
      const published = await releaseOf(one, version);
      made.set(keyOf(name, version), one);
      releases.set(keyOf(name, version), published.release);
      for (const [path, content] of published.targets) targets.set(path, content);
    }
  const wrong: {
    refresh?: AppError | undefined;
    /** Bytes of each target that come before it breaks off. */
    breaksAfter?: number | undefined;
    content?: Uint8Array | undefined;
  } = {};
  const opened: string[] = [];
  const deltas: Delta[] = [];
  const book: ReleaseBook = {
    refresh: async () => {
      if (wrong.refresh) throw wrong.refresh;
    },
    release: (name, version) => releases.get(keyOf(name, version)),
    deltas: () => deltas,
  };
  const source = {
    book: async () => book,
    open: async (path: string, offset: number) => {
      const isDelta = path.startsWith('deltas/');
      opened.push(`${isDelta ? 'delta' : path.split('.').at(-2)?.split('/').at(-1)} ${offset}`);
      const content = wrong.content ?? targets.get(path);
      if (!content) throw new AppError('DOWNLOAD_INCOMPLETE', `the hub answered 404 for ${path}`);
      const until = wrong.breaksAfter ?? content.length;
      return (async function* () {
        for (let at = offset; at < Math.min(until, content.length); at += 4_096)
          yield content.subarray(at, Math.min(at + 4_096, until));
        if (wrong.breaksAfter !== undefined) throw new AppError('HUB_UNREACHABLE', 'cut off');
      })();
    },
  };
  const ref = (version: string, name = NAME): ModelRef =>
    releases.get(keyOf(name, version))?.ref ?? assert.fail();
  /** Lists the delta between two versions of a model; `content` is what it holds instead. */
  const difference = async (from: string, to: string, content?: Uint8Array): Promise<Delta> => {
    const path = (version: string): string =>
      join(made.get(keyOf(NAME, version))?.path ?? assert.fail(), 'onnx/model.onnx');
    const out = join(folder, `${from}-${to}.delta`);
    const file = (version: string) => ({ path: path(version), graphs: [] });
    encodeDelta(
      { base: file(from), result: file(to), out },
      { maxBytes: Number.POSITIVE_INFINITY, kinds: [] },
    );
    const bytes = content ?? (await readFile(out));
    const [base, result] = [await readFile(path(from)), await readFile(path(to))];
    const delta = {
      ...{ base: sha256Hex(base), result: sha256Hex(result), resultBytes: result.length },
      ...{ sha256: sha256Hex(bytes), bytes: bytes.length },
    };
    deltas.push(delta);
    targets.set(consistentPath(deltaPath(delta), delta.sha256), bytes);
    return delta;
  };
  return { folder, made, releases, deltas, targets, source, wrong, opened, ref, difference };
}

export type Hub = Awaited<ReturnType<typeof publish>>;

export interface Changes {
  readonly agentVersion?: string;
  readonly isInWindow?: () => boolean;
  readonly metered?: () => Promise<{ maxBytes: number } | undefined>;
  readonly maxBytesPerSecond?: number;
}

export async function open(
  hub: Hub,
  place: Place,
  { isInWindow = () => true, agentVersion = '0.1.0', maxBytesPerSecond, ...options }: Changes = {},
) {
  const clock = new FakeClock();
  const logger = recordingLogger();
  const seen: string[] = [];
  let onChange = (): void => undefined;
  const updater = await Updater.open({
    ...{ ...place, ...options, isInWindow, pacing: pacing(maxBytesPerSecond, clock) },
    taskOf: () => 'image-classification',
    source: hub.source,
    agentVersion,
    mayDownload: () => true,
    applyDelta: async ({ resultBytes, ...files }) => decodeDelta(files, resultBytes),
    onChange: () => onChange(),
    onBytes: () => undefined,
    clock,
    logger,
    metrics: createAgentMetrics(),
  });
  const [initial] = await updater.candidates(NAME);
  const slots = new Map<string, TestSlot>();
  for (const { spec } of place.given) {
    const [first] = await updater.candidates(spec.name);
    slots.set(spec.name, new TestSlot(first?.ref ?? null));
  }
  updater.use(slots);
  const slotOf = (name: string): TestSlot => slots.get(name) ?? assert.fail();
  const slot = slotOf(NAME);
  const now = (name = NAME) => updater.updates.find(({ model }) => model.name === name);
  onChange = () => {
    const said = `${now()?.phase}${now()?.error ? ` ${now()?.error?.code}` : ''}`;
    if (seen.at(-1) !== said) seen.push(said);
    hooks.onChange();
  };
  const hooks = { onChange: (): void => undefined };
  await updater.start();
  return { updater, slot, slotOf, clock, logger, seen, now, hooks, initial };
}

export async function until(isTrue: () => boolean, what: string): Promise<void> {
  await settle();
  assert.ok(isTrue(), `never: ${what}`);
}

export async function setUp(t: TestContext, options?: Changes, names: readonly string[] = [NAME]) {
  const hub = await publish(t, names);
  const place: Place = {
    folder: join(hub.folder, 'agent'),
    given: names.map((name) => hub.made.get(keyOf(name, '1')) ?? assert.fail()),
  };
  const agent = await open(hub, place, options);
  return { hub, place, ...agent };
}
