/** Rollouts of the agent itself: who is meant, what a device is told, which gates are asked, and what the link says. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { wantedAgent } from '../../../../cloud/registry/agent-releases.ts';
import type { HubData } from '../../../../cloud/registry/records.ts';
import { begin } from '../../../../cloud/rollout/actions.ts';
import { fleetOf } from '../../../../cloud/rollout/fleet.ts';
import type { Arms } from '../../../../cloud/rollout/gates/arms.ts';
import { judge } from '../../../../cloud/rollout/gates/gates.ts';
import { parseSelector } from '../../../../cloud/rollout/selector.ts';
import { NO_TOTALS } from '../../../../cloud/rollout/totals.ts';
import type { DeviceRecord } from '../../../../shared/contract/admin.ts';
import type { ToldAgent } from '../../../../shared/contract/messages.ts';
import { AGENT_NAME, agentDigest, isOlderRelease } from '../../../../shared/contract/releases.ts';
import { plannedRollout, rolloutGates } from '../../../../shared/contract/rollouts.ts';
import { isAppError } from '../../../../shared/runtime/errors.ts';
import { aRollout } from '../../../support/rollout-parts.ts';

const NEXT = agentDigest('0.2.0');

const device = (id: string, agent: ToldAgent | undefined, agentVersion = '0.1.0'): DeviceRecord => ({
  ...{ id, online: true, lastSeenAtMs: 0, enrolledAtMs: 0, labels: {}, expiresAtMs: null },
  ...{ contestedAtMs: null, telemetry: null },
  reported: { agentVersion, pipelines: [], ...(agent && { agent }) },
});

const managed = (update: ToldAgent['update'] = null): ToldAgent => ({ managed: true, why: null, update });
const at = (phase: NonNullable<ToldAgent['update']>['phase'], version = '0.2.0'): ToldAgent =>
  managed({ version, phase, error: null, downloadedBytes: 0, totalBytes: 0, atMs: 0 });

describe('a rollout of the agent', () => {
  it('is for devices that the hub can update, whatever their pipelines are', () => {
    const devices = [
      device('a', managed()),
      device('b', { managed: false, why: 'a container', update: null }),
      device('c', undefined),
      device('d', managed()),
      device('e', at('trial')),
      device('f', at('committed'), '0.2.0'),
      device('g', at('rolled-back')),
      device('h', at('installing')),
      device('i', at('rolled-back', '0.3.0')),
    ];
    const target = { model: AGENT_NAME, digest: NEXT, selector: parseSelector('agent>=0.1.0') };
    const fleet = fleetOf(devices, target, (id) => id === 'd');
    assert.deepEqual(
      [...fleet].map(([id, { progress }]) => `${id} ${progress?.state ?? 'nothing'}`),
      ['a nothing', 'e trial', 'f running', 'g rolled-back', 'h updating', 'i nothing'],
    );
    assert.deepEqual(fleet.get('f')?.now, { version: '0.2.0', digest: NEXT });
  });

  const request = plannedRollout({ model: AGENT_NAME, version: '0.2.0' });
  const how = { id: 'one', nowAtMs: 0 };
  const models = (deployed: string | null) => ({
    versionOf: () => ({ digest: NEXT }),
    deployedOf: () => deployed,
  });

  it('waits for no answers where nothing is said of them, as the command line does', () => {
    const answers = (wish: Parameters<typeof plannedRollout>[0]) =>
      plannedRollout(wish).stages.map(({ minAnswers }) => minAnswers);
    const of = (model: string, version: string) => ({ model, version });
    assert.deepEqual(answers(of(AGENT_NAME, '0.2.0')), [0, 0, 0, 0]);
    assert.deepEqual(answers(of('words', '2')), [200, 200, 200, 200]);
    const stages = [{ devices: 1 }, { share: 1, minAnswers: 30 }];
    assert.deepEqual(answers({ ...of(AGENT_NAME, '0.2.0'), stages }), [0, 30]);
    assert.deepEqual(answers({ ...of('words', '2'), stages }), [200, 30]);
  });

  it('wants a version to go back to, and asks what makes sense of an agent alone', () => {
    assert.throws(
      () => begin({}, models(null), request, how),
      (error) => isAppError(error, 'CONFLICT') && /releases deploy VERSION/.test(error.message),
    );
    const gates = begin({}, models('0.1.0'), request, how).rollouts.one?.gates;
    assert.deepEqual([gates?.agreement, gates?.escalation, gates?.latencyP95], [null, null, null]);
    assert.ok(gates?.link && gates.crashes && gates.memory && gates.errors);
    const ofModel = begin({}, models('1'), { ...request, model: 'words', version: '2' }, how);
    assert.equal(ofModel.rollouts.one?.gates.link, null);
  });

  const gates = { ...rolloutGates.parse({}), agreement: null, escalation: null, latencyP95: null };
  const armsOf = (version: readonly string[], rest: readonly string[]): Arms => ({
    version: ['a', 'b'].map((id) => ({ id, totals: NO_TOTALS })),
    ...{ before: [], rest: [] },
    link: { version: { told: 2, away: version }, rest: { told: 10, away: rest } },
  });
  const state = (arms: Arms, gate: string): string | undefined =>
    judge(gates, arms).find((one) => one.gate === gate)?.state;

  it('fails where devices stay away that were told, unless the others do, too', () => {
    assert.equal(state(armsOf([], []), 'link'), 'passed');
    assert.equal(state(armsOf(['a'], []), 'link'), 'failed');
    assert.equal(state(armsOf(['a'], ['1', '2', '3', '4', '5']), 'link'), 'passed');
  });

  it('waits for no input where there was none before', () => {
    const arms = armsOf([], []);
    assert.deepEqual([state(arms, 'crashes'), state(arms, 'errors')], ['passed', 'unmeasured']);
  });
});

describe('the version of the agent that a device should run', () => {
  const data = (change: Partial<HubData> = {}): HubData =>
    ({
      ...{ devices: { a: { pins: {} }, b: { pins: { [AGENT_NAME]: '0.3.0' } } }, rollouts: {} },
      deployments: { [AGENT_NAME]: { policy: 'manual', plan: null, deployed: '0.1.0' } },
      agentReleases: { '0.1.0': ['linux-x64'], '0.2.0': ['linux-x64'], '0.3.0': ['linux-arm64'] },
      ...change,
    }) as unknown as HubData;
  const inside = { a: { stage: 0, state: 'told' as const, atMs: 0, before: null, error: null } };
  const rollout = aRollout({ model: AGENT_NAME, version: '0.2.0', window: '* 1 * * *', devices: inside });

  it('is its pin, else its rollout’s, else what is deployed; never one that is not signed', () => {
    assert.deepEqual(wantedAgent(data(), 'a'), { version: '0.1.0' });
    assert.deepEqual(wantedAgent(data(), 'b'), { version: '0.3.0' });
    const rolled = data({ rollouts: { one: rollout } });
    assert.deepEqual(wantedAgent(rolled, 'a'), { version: '0.2.0', window: '* 1 * * *' });
    assert.deepEqual(wantedAgent(rolled, 'b'), { version: '0.3.0' });
    assert.equal(wantedAgent(data({ agentReleases: {} }), 'a'), undefined);
    assert.equal(wantedAgent(data({ deployments: {} }), 'a'), undefined);
  });

  it('comes after another one by its numbers, and before what has no suffix', () => {
    const inOrder = ['0.9.0', '0.10.0-rc.2', '0.10.0-rc.10', '0.10.0', '1.0.0'];
    for (const [index, one] of inOrder.entries())
      for (const other of inOrder.slice(index + 1)) {
        assert.ok(isOlderRelease(one, other), `${one} ${other}`);
        assert.ok(!isOlderRelease(other, one), `${other} ${one}`);
      }
    assert.ok(!isOlderRelease('1.0.0+a', '1.0.0+b'));
  });
});
