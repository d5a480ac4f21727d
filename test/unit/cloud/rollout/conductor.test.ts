import assert from 'node:assert/strict';
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { Registry } from '../../../../cloud/registry/registry.ts';
import { RolloutArms } from '../../../../cloud/rollout/arms.ts';
import { RolloutConductor } from '../../../../cloud/rollout/conductor.ts';
import { RolloutOrders } from '../../../../cloud/rollout/orders.ts';
import { stagedModels } from '../../../../cloud/rollout/staged.ts';
import { NO_TOTALS, type VersionTotals } from '../../../../cloud/rollout/totals.ts';
import { agentRolloutPlan, rolloutPlan, rolloutRequest } from '../../../../shared/contract/rollouts.ts';
import { modelSpec } from '../../../../shared/release/folder/model-spec.ts';
import { newSecret, sha256Hex } from '../../../../shared/runtime/ids.ts';
import { silentLogger as logger } from '../../../../shared/runtime/logger.ts';
import { FakeClock } from '../../../support/fake-clock.ts';
import { quickFolder } from '../../../support/fixed.ts';

const MINUTE = 60_000;
const digestOf = (number: number): string => sha256Hex(`words ${number}`);

/** A hub's records on disk, and a fleet in memory that does what it is told at once. */
class Town {
  readonly clock = new FakeClock();
  readonly folder: string;
  /** What each device runs. */
  readonly runs = new Map<string, number>();
  /** Answers of each device with each version. */
  readonly counted = new Map<string, VersionTotals>();
  /** Rollouts that were told of, one after the other. */
  readonly shown: string[] = [];
  /** What a device counts in a minute with a version. */
  counts: (number: number) => VersionTotals = () => ({ ...NO_TOTALS, answers: 100 });
  registry!: Registry;
  conductor!: RolloutConductor;
  orders!: RolloutOrders;

  private constructor(folder: string) {
    this.folder = folder;
  }

  static async open(t: TestContext, devices: number): Promise<Town> {
    const town = new Town(await quickFolder(t));
    await town.start();
    for (const number of [1, 2, 3]) await town.publish(number);
    for (let index = 0; index < devices; index++) {
      const id = `d${index}`;
      const { token } = await town.registry.devices.createToken({});
      await town.registry.devices.enroll({ token, deviceId: id, secret: newSecret() });
      town.runs.set(id, 1);
    }
    town.tell();
    return town;
  }

  /**
   * Also after a kill: what was in memory is gone.
   *
   * @param isKept the broker has what devices have said, too
   */
  async start(isKept = true): Promise<void> {
    const { clock, folder } = this;
    this.registry = await Registry.open({ folder, clock, logger });
    // Folders are found again at each start.
    for (const number of [1, 2, 3])
      if (this.registry.models.find('words', digestOf(number))) await this.takeIn(number);
    const book = this.registry.rollouts;
    this.conductor = new RolloutConductor({
      book,
      devices: () => this.registry.devices.list(),
      isPinned: () => false,
      staged: () => [...stagedModels(this.registry.models.list()), ...this.registry.agentReleases.staged()],
      arms: await RolloutArms.open(folder, (id, digest) => this.counted.get(`${id} ${digest}`), logger),
      onLook: (ids) => void this.shown.push(...ids),
      ...{ clock, logger },
    });
    this.orders = new RolloutOrders({ book, conductor: this.conductor, clock, logger });
    if (isKept) this.tell();
  }

  takeIn(number: number) {
    const files = { 'onnx/model.onnx': digestOf(number) };
    const spec = modelSpec.parse({
      ...{ schema: 1, name: 'words', task: 'text-classification', model: 'onnx/model.onnx' },
      ...{ precision: 'float32', files },
    });
    return this.registry.models.takeIn({ path: '/words', spec, digest: digestOf(number), bytes: 10 });
  }

  async publish(number: number): Promise<void> {
    await this.registry.models.published(await this.takeIn(number));
  }

  /** Each device takes what it is told, answers for a minute, and says so. */
  async minute(): Promise<void> {
    for (const [id, number] of this.runs) {
      const key = `${id} ${digestOf(number)}`;
      const before = this.counted.get(key) ?? NO_TOTALS;
      const more = this.counts(number);
      const { answers, failures } = before;
      const [sum, all] = [before.judged, more.judged];
      this.counted.set(key, {
        ...before,
        answers: answers + more.answers,
        failures: failures + more.failures,
        judged: {
          ...sum,
          requests: sum.requests + all.requests,
          loss: sum.loss + all.loss,
          squares: sum.squares + all.squares,
          weights: sum.weights + all.weights,
        },
      });
    }
    await this.clock.advance(MINUTE);
    for (const id of this.runs.keys()) {
      const wanted = this.registry.desired.of(id)?.models.find(({ name }) => name === 'words')?.version;
      if (wanted) this.runs.set(id, Number(wanted));
    }
    this.tell();
    await this.conductor.look();
  }

  tell(): void {
    for (const [id, number] of this.runs) {
      const edge = { name: 'words', version: String(number), digest: digestOf(number) };
      this.registry.devices.seen(id, { online: true, sinceAtMs: 1 });
      this.registry.devices.reported(id, {
        agentVersion: '1.0.0',
        pipelines: [{ name: 'texts', task: 'text-classification', edge, edgeModel: 'words', cloud: 'x' }],
      });
    }
  }

  with(number: number): number {
    return [...this.runs.values()].filter((one) => one === number).length;
  }
}

const request = (version: string, change: object = {}) =>
  rolloutRequest.parse({ model: 'words', version, ...change });

describe('the conductor of rollouts', () => {
  it('has nobody new come into a stage when it is killed before what devices said was saved', async (t) => {
    const town = await Town.open(t, 5);
    const { id } = await town.orders.start(request('2'), null);
    const first = town.orders.devicesOf(id);
    assert.equal(first.length, 1);
    await town.start(false);
    await town.conductor.look();
    assert.deepEqual(town.orders.devicesOf(id), first, 'nobody has been heard');
    // The others speak first.
    const canary = first[0]?.id ?? '';
    const runs = town.runs.get(canary) ?? assert.fail();
    town.runs.delete(canary);
    town.tell();
    await town.conductor.look();
    assert.deepEqual(town.orders.devicesOf(id), first, 'the canary has not been heard');
    town.runs.set(canary, runs);
    town.tell();
    await town.conductor.look();
    assert.deepEqual(town.orders.devicesOf(id), first);
  });

  it('brings a version to all, one stage after the other, and deploys it', async (t) => {
    const town = await Town.open(t, 20);
    const { id } = await town.orders.start(request('2'), null);
    const sizes = new Set<number>();
    for (let minute = 0; minute < 90 && town.orders.get(id).state === 'running'; minute++) {
      await town.minute();
      sizes.add(town.with(2));
    }
    assert.equal(town.orders.get(id).state, 'done');
    assert.deepEqual(
      [...sizes].sort((a, b) => a - b).filter((size) => size > 0),
      [1, 2, 10, 20],
    );
    assert.equal(town.registry.models.choiceOf('words', 'd0').deployment.deployed, '2');
  });

  it('stops one that fails more, at its canary, and every device goes back', async (t) => {
    const town = await Town.open(t, 20);
    for (let minute = 0; minute < 10; minute++) await town.minute();
    town.counts = (number) => ({
      ...NO_TOTALS,
      answers: number === 2 ? 70 : 100,
      failures: number === 2 ? 30 : 0,
    });
    const { id } = await town.orders.start(request('2'), null);
    let most = 0;
    for (let minute = 0; minute < 60 && town.orders.get(id).state === 'running'; minute++) {
      await town.minute();
      most = Math.max(most, town.with(2));
    }
    const ended = town.orders.get(id);
    assert.deepEqual([ended.state, most], ['rolled-back', 1], ended.reason);
    assert.match(ended.reason, /errors: /);
    await town.minute();
    assert.equal(town.with(1), 20);
    assert.equal(town.registry.models.choiceOf('words', 'd0').deployment.deployed, '1');
  });

  it('goes on after a kill at every step, to the same end, and tells nobody else meanwhile', async (t) => {
    const town = await Town.open(t, 10);
    const plan = { stages: [{ devices: 1 }, { share: 0.5 }, { share: 1 }] };
    const { id } = await town.orders.start(request('2', plan), null);
    for (let minute = 0; minute < 90 && town.orders.get(id).state === 'running'; minute++) {
      const before = town.with(2);
      await town.start();
      await town.minute();
      const { stage } = town.orders.get(id);
      assert.ok(town.with(2) <= ([1, 5, 10][stage] ?? 0), `${town.with(2)} devices in stage ${stage}`);
      assert.ok(town.with(2) >= before, 'nobody goes back');
    }
    await town.start();
    assert.equal(town.orders.get(id).state, 'done');
    assert.equal(town.registry.models.choiceOf('words', 'd0').deployment.deployed, '2');
  });

  for (const action of ['pause', 'abort', 'roll-back'] as const)
    it(`${action} is what it was after a kill`, async (t) => {
      const town = await Town.open(t, 10);
      const { id } = await town.orders.start(request('2'), null);
      await town.minute();
      await town.orders.act(id, action, () => true, 'somebody');
      await town.start();
      const state = { pause: 'paused', abort: 'aborted', 'roll-back': 'rolled-back' }[action];
      for (let minute = 0; minute < 30; minute++) await town.minute();
      assert.equal(town.orders.get(id).state, state);
      assert.equal(town.with(2), action === 'roll-back' ? 0 : 1);
    });

  it('rolls out by itself what is published under the policy “staged”, once, and again after no kill', async (t) => {
    const town = await Town.open(t, 10);
    const plan = rolloutPlan.parse({ stages: [{ devices: 2 }, { share: 1 }], onFailure: 'hold' });
    await town.registry.models.change('words', { policy: 'staged', plan, deployed: '2' }, () => true);
    await town.minute();
    const [began, ...others] = town.orders.list();
    assert.deepEqual([began?.version, began?.state, others.length], ['3', 'running', 0]);
    assert.deepEqual([began?.onFailure, began?.stages.length], ['hold', 2]);
    await town.orders.act(began?.id ?? '', 'roll-back', () => true, null);
    await town.start();
    for (let minute = 0; minute < 5; minute++) await town.minute();
    assert.equal(town.orders.list().length, 1, 'what was taken back is not begun again');
    assert.equal(town.with(3), 0);
  });

  it('rolls out by itself a release of the agent that is newer than the one deployed, where its policy is “staged”', async (t) => {
    const town = await Town.open(t, 3);
    const begun = () => town.orders.list().map(({ model, version }) => `${model}@${version}`);
    const publish = (...versions: string[]) =>
      town.registry.agentReleases.publish(Object.fromEntries(versions.map((one) => [one, ['linux-x64']])));
    await publish('0.1.0', '0.2.0');
    const change = (of: Parameters<Town['registry']['agentReleases']['change']>[0]) =>
      town.registry.agentReleases.change(of, () => true, null);
    await change({ policy: 'staged' });
    await town.minute();
    assert.deepEqual(begun(), [], 'there is nothing to go back to');
    const plan = agentRolloutPlan.parse({ stages: [{ devices: 1 }, { share: 1 }], onFailure: 'hold' });
    await change({ deployed: '0.1.0', plan });
    await town.minute();
    assert.deepEqual(begun(), ['outrider-agent@0.2.0']);
    const [first] = town.orders.list();
    assert.deepEqual(
      [first?.onFailure, first?.stages.map(({ minAnswers }) => minAnswers), first?.from],
      ['hold', [0, 0], '0.1.0'],
    );
    await town.orders.act(first?.id ?? '', 'roll-back', () => true, null);
    await town.start();
    await town.minute();
    assert.equal(begun().length, 1, 'what was taken back is not begun again');
    await publish('0.1.0', '0.2.0', '0.10.0', '0.3.0');
    await town.minute();
    assert.deepEqual(begun().sort(), ['outrider-agent@0.10.0', 'outrider-agent@0.2.0']);
    await change({ policy: 'manual' });
    await publish('0.1.0', '0.2.0', '0.10.0', '0.11.0');
    await town.minute();
    assert.equal(begun().length, 2);
  });

  it('takes no device twice, and none of another rollout’s', async (t) => {
    const town = await Town.open(t, 10);
    const first = await town.orders.start(request('2'), null);
    await town.minute();
    await town.orders.start(request('3', { ifBusy: 'replace' }), null);
    await town.minute();
    assert.equal(town.with(2), 0, 'who had the one before it goes on to this, or back');
    assert.equal(town.with(3), 1);
    assert.equal(town.orders.get(first.id).state, 'aborted');
  });

  it('tells of a rollout when something has changed, and writes nothing when nothing has', async (t) => {
    const town = await Town.open(t, 5);
    const { id } = await town.orders.start(request('2', { stages: [{ devices: 1, minMinutes: 0 }] }), null);
    await town.minute();
    await town.orders.act(id, 'pause', () => true, null);
    await town.conductor.look();
    const records = () => readFile(join(town.folder, 'hub.json'), 'utf8');
    const [told, written] = [town.shown.length, await stat(join(town.folder, 'hub.json'))];
    const before = await records();
    for (let look = 0; look < 5; look++) await town.conductor.look();
    assert.equal(town.shown.length, told);
    assert.equal(await records(), before);
    assert.equal((await stat(join(town.folder, 'hub.json'))).ino, written.ino, 'it was written anew');
    await town.orders.act(id, 'resume', () => true, null);
    assert.ok(town.shown.length > told);
  });

  it('says before it begins which gates will have nothing to say', async (t) => {
    const town = await Town.open(t, 5);
    const { unmeasurable = [] } = await town.orders.start(request('2'), null);
    assert.deepEqual(
      unmeasurable.map(({ gate }) => gate),
      ['escalation'],
    );
    assert.match(unmeasurable[0]?.why ?? '', /--min-answers/);
  });
});
