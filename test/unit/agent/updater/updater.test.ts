import assert from 'node:assert/strict';
import { cpSync } from 'node:fs';
import { cp, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { createAgentMetrics } from '../../../../agent/metrics.ts';
import type { ReleaseBook, SlotVersion, TrialEnd, UpdatableSlot } from '../../../../agent/ports.ts';
import { Updater } from '../../../../agent/updater/updater.ts';
import type { ModelRef } from '../../../../shared/contract/names.ts';
import { type ModelFolder, openModelFolder } from '../../../../shared/release/folder/model-folder.ts';
import { AppError, type ErrorCode } from '../../../../shared/runtime/errors.ts';
import { FakeClock, settle } from '../../../support/fake-clock.ts';
import { quickFolder } from '../../../support/fixed.ts';
import { recordingLogger } from '../../../support/recording-logger.ts';
import { releaseOf, writeModelFolder } from '../../../support/version-files.ts';

const NAME = 'edge-model';

/** A slot without runners. */
class TestSlot implements UpdatableSlot {
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

interface Place {
  readonly folder: string;
  readonly given: readonly ModelFolder[];
}

/** What the hub publishes: three versions; and what is wrong with it today. */
async function publish(t: TestContext) {
  const folder = await quickFolder(t);
  const made = new Map<string, ModelFolder>();
  const targets = new Map<string, Uint8Array>();
  const releases = new Map<string, Awaited<ReturnType<typeof releaseOf>>['release']>();
  for (const version of ['1', '2', '3']) {
    const one = await writeModelFolder(join(folder, version), NAME, `version ${version}`);
    const published = await releaseOf(one, version);
    made.set(version, one);
    releases.set(version, published.release);
    for (const [path, content] of published.targets) targets.set(path, content);
  }
  const wrong: {
    refresh?: AppError | undefined;
    /** Bytes of each target that come before it breaks off. */
    breaksAfter?: number | undefined;
    content?: Uint8Array | undefined;
  } = {};
  const opened: string[] = [];
  const book: ReleaseBook = {
    refresh: async () => {
      if (wrong.refresh) throw wrong.refresh;
    },
    release: (_name, version) => releases.get(version),
  };
  const source = {
    book: async () => book,
    open: async (path: string, offset: number) => {
      opened.push(`${path.split('.').at(-2)?.split('/').at(-1)} ${offset}`);
      const content = wrong.content ?? targets.get(path) ?? assert.fail(`${path} is not a target`);
      const until = wrong.breaksAfter ?? content.length;
      return (async function* () {
        for (let at = offset; at < Math.min(until, content.length); at += 4_096)
          yield content.subarray(at, Math.min(at + 4_096, until));
        if (wrong.breaksAfter !== undefined) throw new AppError('HUB_UNREACHABLE', 'cut off');
      })();
    },
  };
  const ref = (version: string): ModelRef => releases.get(version)?.ref ?? assert.fail();
  return { folder, made, releases, source, wrong, opened, ref };
}

type Hub = Awaited<ReturnType<typeof publish>>;

async function open(hub: Hub, place: Place, options: { isInWindow?: () => boolean } = {}) {
  const clock = new FakeClock();
  const logger = recordingLogger();
  const seen: string[] = [];
  let onChange = (): void => undefined;
  const updater = await Updater.open({
    ...place,
    taskOf: () => 'image-classification',
    source: hub.source,
    agentVersion: '0.1.0',
    isInWindow: options.isInWindow ?? (() => true),
    mayDownload: () => true,
    onChange: () => onChange(),
    onBytes: () => undefined,
    clock,
    logger,
    metrics: createAgentMetrics(),
  });
  const [initial] = await updater.candidates(NAME);
  const slot = new TestSlot(initial?.ref ?? null);
  updater.use(new Map([[NAME, slot]]));
  const now = () => updater.updates[0];
  onChange = () => {
    const said = `${now()?.phase}${now()?.error ? ` ${now()?.error?.code}` : ''}`;
    if (seen.at(-1) !== said) seen.push(said);
    hooks.onChange();
  };
  const hooks = { onChange: (): void => undefined };
  await updater.start();
  return { updater, slot, clock, logger, seen, now, hooks, initial };
}

async function until(isTrue: () => boolean, what: string): Promise<void> {
  await settle();
  assert.ok(isTrue(), `never: ${what}`);
}

async function setUp(t: TestContext, options?: { isInWindow?: () => boolean }) {
  const hub = await publish(t);
  const place: Place = {
    folder: join(hub.folder, 'agent'),
    given: [hub.made.get('1') ?? assert.fail()],
  };
  const agent = await open(hub, place, options);
  return { hub, place, ...agent };
}

test('takes a version from desired to committed, and it answers after a restart', async (t) => {
  const { hub, place, updater, slot, seen, now } = await setUp(t);
  updater.want([hub.ref('2')]);
  await until(() => slot.onTrial, 'a trial');
  assert.equal(now()?.phase, 'trial');
  slot.end({ kind: 'passed' });
  await until(() => now()?.phase === 'committed', 'committed');
  await until(() => slot.active?.version === '2', 'the slot has it');
  assert.deepEqual(seen, ['checking', 'downloading', 'staged', 'trying', 'trial', 'committed']);
  assert.deepEqual(slot.calls, ['prepare 2', 'trial', 'commit']);
  const { downloadedBytes, totalBytes, test: kind } = now() ?? assert.fail();
  assert.deepEqual([downloadedBytes, kind], [totalBytes, 'golden']);
  await updater.stop();
  const again = await open(hub, place);
  assert.equal(again.initial?.ref.version, '2');
  await again.updater.stop();
});

test('takes from the folder that is here what is the same, and downloads the rest', async (t) => {
  const { hub, updater, slot } = await setUp(t);
  updater.want([hub.ref('2')]);
  await until(() => slot.onTrial, 'a trial');
  assert.deepEqual(hub.opened, ['model 0', 'outrider 0']);
  await updater.stop();
});

test('what runs already gets the hub’s number and nothing else happens', async (t) => {
  const { hub, place, updater, slot, seen } = await setUp(t);
  updater.want([hub.ref('1')]);
  await until(() => slot.calls.length > 0, 'a call');
  assert.deepEqual([slot.calls, hub.opened, updater.updates], [['rename 1'], [], []]);
  updater.want([hub.ref('1')]);
  await until(() => seen.length === 1, 'told once');
  await settle();
  assert.deepEqual([slot.calls.length, seen.length], [1, 1]);
  await updater.stop();
  const again = await open(hub, place);
  assert.equal(again.initial?.ref.version, '1', 'after a restart it has its number still');
  await again.updater.stop();
});

for (const code of ['UPDATE_UNTRUSTED', 'UPDATE_EXPIRED', 'UPDATE_OLDER'] satisfies ErrorCode[]) {
  test(`${code}: told, nothing changes, and taken once it is mended`, async (t) => {
    const { hub, updater, slot, now } = await setUp(t);
    hub.wrong.refresh = new AppError(code);
    updater.want([hub.ref('2')]);
    await until(() => now()?.error?.code === code, 'told');
    assert.deepEqual([now()?.phase, slot.calls, slot.model?.digest], ['checking', [], hub.ref('1').digest]);
    hub.wrong.refresh = undefined;
    updater.retry();
    await until(() => slot.onTrial, 'a trial');
    assert.equal(now()?.error, null);
    await updater.stop();
  });
}

test('a version that signed metadata does not list is not taken, nor one that it lists as another', async (t) => {
  const { hub, updater, slot, now } = await setUp(t);
  updater.want([{ ...hub.ref('2'), version: '9' }]);
  await until(() => now()?.error?.code === 'UPDATE_NOT_LISTED', 'told');
  updater.want([{ ...hub.ref('2'), digest: 'f'.repeat(64) }]);
  await until(() => now()?.model.digest === 'f'.repeat(64) && now()?.error !== null, 'told');
  assert.deepEqual([now()?.error?.code, slot.calls, hub.opened], ['UPDATE_NOT_LISTED', [], []]);
  await updater.stop();
});

test('a version that needs a newer agent waits for that agent', async (t) => {
  const { hub, updater, slot, now } = await setUp(t);
  const release = hub.releases.get('2') ?? assert.fail();
  hub.releases.set('2', { ...release, minAgentVersion: '0.10.0' });
  updater.want([hub.ref('2')]);
  await until(() => now()?.error !== null && now()?.error !== undefined, 'told');
  assert.deepEqual([now()?.error?.code, slot.calls, hub.opened], ['AGENT_TOO_OLD', [], []]);
  await updater.stop();
});

test('a truncated download goes on where it ended', async (t) => {
  const { hub, updater, slot, now, clock } = await setUp(t);
  hub.wrong.breaksAfter = 8_192;
  updater.want([hub.ref('2')]);
  await until(() => now()?.error !== null && now()?.error !== undefined, 'told');
  assert.deepEqual([now()?.phase, now()?.error?.code], ['downloading', 'HUB_UNREACHABLE']);
  hub.wrong.breaksAfter = undefined;
  await clock.advance(10_000);
  await until(() => slot.onTrial, 'a trial');
  assert.deepEqual(hub.opened, ['model 0', 'model 8192', 'outrider 0']);
  await updater.stop();
});

test('content that is not as signed is thrown away', async (t) => {
  for (const content of [Buffer.alloc(18_000, 1), Buffer.alloc(1_000_000, 1)]) {
    const { hub, updater, slot, now, place } = await setUp(t);
    hub.wrong.content = content;
    updater.want([hub.ref('2')]);
    await until(() => now()?.error !== null && now()?.error !== undefined, 'told');
    const { code } = now()?.error ?? assert.fail();
    assert.ok(code === 'MODEL_DIGEST_MISMATCH' || code === 'DOWNLOAD_INCOMPLETE', code);
    assert.deepEqual(slot.calls, []);
    const left = await readdir(join(place.folder, 'versions')).catch(() => []);
    assert.deepEqual(left, []);
    await updater.stop();
  }
});

test('a version that fails its test is refused, told, and not tried again until another is desired', async (t) => {
  const { hub, place, updater, slot, now } = await setUp(t);
  slot.verdict = () => Promise.reject(new AppError('MODEL_SELF_TEST_FAILED', 'golden 1: dog, not cat'));
  updater.want([hub.ref('2')]);
  await until(() => now()?.phase === 'rolled-back', 'rolled back');
  assert.deepEqual(now()?.error, { code: 'MODEL_SELF_TEST_FAILED', message: 'golden 1: dog, not cat' });
  updater.want([hub.ref('2')]);
  await settle();
  assert.deepEqual(slot.calls, ['prepare 2']);
  await updater.stop();

  const again = await open(hub, place);
  assert.equal(again.initial?.ref.digest, hub.ref('1').digest);
  again.updater.want([hub.ref('2')]);
  await settle();
  assert.deepEqual(again.slot.calls, [], 'nor after a restart');
  again.updater.want([hub.ref('1')]);
  await until(() => again.updater.updates.length === 0, 'forgotten');
  again.updater.want([hub.ref('2')]);
  await until(() => again.slot.onTrial, 'another trial');
  await again.updater.stop();
});

test('one that fails on trial is rolled back, and the next version is taken', async (t) => {
  const { hub, updater, slot, now } = await setUp(t);
  updater.want([hub.ref('2')]);
  await until(() => slot.onTrial, 'a trial');
  slot.end({ kind: 'failed', error: new AppError('MODEL_TOO_SLOW') });
  await until(() => now()?.phase === 'rolled-back', 'rolled back');
  await until(() => slot.standby === undefined, 'discarded');
  assert.deepEqual([now()?.error?.code, slot.active?.digest], ['MODEL_TOO_SLOW', hub.ref('1').digest]);
  updater.want([hub.ref('3')]);
  await until(() => slot.onTrial, 'a trial of the next');
  assert.equal(slot.model?.version, '3');
  await updater.stop();
});

test('an older version that desired names is a rollback, and is taken without a download', async (t) => {
  const { hub, updater, slot, now } = await setUp(t);
  for (const version of ['2', '3', '2', '1']) {
    hub.opened.length = 0;
    updater.want([hub.ref(version)]);
    await until(() => slot.onTrial, `a trial of ${version}`);
    slot.end({ kind: 'passed' });
    await until(() => slot.active?.version === version && now()?.phase === 'committed', version);
  }
  assert.deepEqual(hub.opened, [], 'the one before stays on disk, and so does the folder that was given');
  await updater.stop();
});

test('another version that is desired meanwhile ends a trial without a verdict', async (t) => {
  const { hub, updater, slot, clock } = await setUp(t);
  updater.want([hub.ref('2')]);
  await until(() => slot.onTrial, 'a trial');
  updater.want([hub.ref('3')]);
  await clock.advance(1_000);
  await until(() => slot.model?.version === '3', 'a trial of the other');
  await updater.stop();
});

test('outside its window it is staged and waits', async (t) => {
  let isOpen = false;
  const { hub, updater, slot, now, clock, hooks } = await setUp(t, { isInWindow: () => isOpen });
  let told = 0;
  hooks.onChange = () => {
    if (now()?.phase === 'staged') told++;
  };
  updater.want([hub.ref('2')]);
  await until(() => now()?.phase === 'staged', 'staged');
  for (let i = 0; i < 4; i++) {
    await clock.advance(30_000);
    await settle();
  }
  assert.deepEqual(slot.calls, []);
  isOpen = true;
  await clock.advance(60_000);
  await until(() => slot.onTrial, 'a trial');
  assert.equal(told, 2, 'once when it was staged, and once when the window opened');
  await updater.stop();
});

test('a stop in a trial is nobody’s fault: it is tried again at the next start', async (t) => {
  const { hub, place, updater, slot, now } = await setUp(t);
  updater.want([hub.ref('2')]);
  await until(() => slot.onTrial, 'a trial');
  await updater.stop();
  assert.equal(now()?.phase, 'staged');
  const again = await open(hub, place);
  assert.equal(again.initial?.ref.digest, hub.ref('1').digest);
  again.updater.want([hub.ref('2')]);
  await until(() => again.slot.onTrial, 'a trial');
  await again.updater.stop();
});

test('a committed version whose files are damaged gives way to the one before it, and is fetched again', async (t) => {
  const { hub, place, updater, slot, now } = await setUp(t);
  updater.want([hub.ref('2')]);
  await until(() => slot.onTrial, 'a trial');
  slot.end({ kind: 'passed' });
  await until(() => slot.calls.includes('commit'), 'committed');
  await updater.stop();
  assert.equal(now()?.phase, 'committed');
  await writeFile(join(place.folder, 'versions', hub.ref('2').digest, 'config.json'), 'torn');
  const again = await open(hub, place);
  assert.equal(again.initial?.ref.digest, hub.ref('1').digest);
  again.updater.want([hub.ref('2')]);
  await until(() => again.slot.onTrial, 'a trial');
  await again.updater.stop();
});

test('killed between any two steps it always answers, and ends committed or rolled back', async (t) => {
  const { hub, place, updater, slot, now, hooks } = await setUp(t);
  const snapshots: { readonly at: string; readonly folder: string }[] = [];
  const snap = (at: string): void => {
    const folder = join(hub.folder, `killed-${snapshots.length}`);
    cpSync(place.folder, folder, { recursive: true });
    snapshots.push({ at, folder });
  };
  hooks.onChange = () => snap(`told ${now()?.phase}`);
  slot.onCall = () => snap(slot.calls.at(-1) ?? '');
  const { open: openTarget } = hub.source;
  hub.source.open = async (path, offset) => {
    const pieces = await openTarget(path, offset);
    return (async function* () {
      for await (const piece of pieces) {
        snap(`a piece of ${path}`);
        yield piece;
      }
    })();
  };
  updater.want([hub.ref('2')]);
  await until(() => slot.onTrial, 'a trial');
  slot.end({ kind: 'passed' });
  await until(() => now()?.phase === 'committed' && slot.active?.version === '2', 'committed');
  await updater.stop();
  snap('the end');
  hub.source.open = openTarget;
  assert.ok(snapshots.length > 12, `${snapshots.length} moments`);

  const outcomes = new Set<string>();
  for (const { at, folder } of snapshots) {
    const after = await open(hub, { ...place, folder });
    const { ref } = after.initial ?? assert.fail(`nothing answers after a kill at ${at}`);
    assert.ok([hub.ref('1').digest, hub.ref('2').digest].includes(ref.digest), at);
    after.updater.want([hub.ref('2')]);
    await until(
      () =>
        after.slot.onTrial ||
        after.slot.active?.digest === hub.ref('2').digest ||
        after.now()?.phase === 'rolled-back',
      `an end after a kill at ${at}`,
    );
    if (after.slot.onTrial) {
      after.slot.end({ kind: 'passed' });
      await until(() => after.slot.active?.version === '2', `committed after a kill at ${at}`);
    }
    outcomes.add(after.now()?.error?.code ?? after.now()?.phase ?? 'none');
    await after.updater.stop();
    await rm(folder, { recursive: true, force: true });
  }
  assert.deepEqual([...outcomes].sort(), ['UPDATE_INTERRUPTED', 'committed']);
});

test('a self-test that takes the agent down is begun twice, not for ever', async (t) => {
  const { hub, place, updater, slot } = await setUp(t);
  slot.verdict = () => new Promise(() => undefined);
  updater.want([hub.ref('2')]);
  await until(() => slot.calls.includes('prepare 2'), 'a self-test');
  const killed = join(hub.folder, 'killed');
  for (const expected of ['prepare 2', undefined]) {
    await cp(place.folder, killed, { recursive: true, force: true });
    const after = await open(hub, { ...place, folder: killed });
    after.slot.verdict = () => new Promise(() => undefined);
    after.updater.want([hub.ref('2')]);
    await until(
      () => after.slot.calls.length > 0 || after.now()?.phase === 'rolled-back',
      'a self-test or the end of it',
    );
    assert.equal(after.slot.calls[0], expected);
    if (expected === undefined) assert.equal(after.now()?.error?.code, 'UPDATE_INTERRUPTED');
    await rm(place.folder, { recursive: true });
    await cp(killed, place.folder, { recursive: true });
  }
});
