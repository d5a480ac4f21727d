import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import { labelDevice } from '../../../cli/commands/labels.ts';
import {
  changeRollout,
  listRollouts,
  orderRollout,
  showRollout,
  startRollout,
} from '../../../cli/commands/rollouts.ts';
import { planOf } from '../../../cli/rollout/plan-flags.ts';
import { AGENT_NAME } from '../../../shared/contract/releases.ts';
import { modelSpec } from '../../../shared/release/folder/model-spec.ts';
import { isAppError } from '../../../shared/runtime/errors.ts';
import { sha256Hex } from '../../../shared/runtime/ids.ts';
import { enrolDevice } from '../../support/hub-api.ts';
import { printed, serveHub } from '../../support/served-hub.ts';

async function setUp(t: TestContext) {
  const served = await serveHub(t);
  const { registry } = served.hub;
  const digestOf = (number: number): string => sha256Hex(`words ${number}`);
  for (const number of [1, 2]) {
    const files = { 'onnx/model.onnx': digestOf(number) };
    const spec = modelSpec.parse({
      ...{ schema: 1, name: 'words', task: 'text-classification', model: 'onnx/model.onnx' },
      ...{ precision: 'float32', files },
    });
    const folder = { path: '/models/words', spec, digest: digestOf(number), bytes: 10 };
    await registry.models.published(await registry.models.takeIn(folder));
  }
  await enrolDevice(served.hub, 'gate-1');
  const says = (number: number): void => {
    registry.devices.seen('gate-1', { online: true, sinceAtMs: 1 });
    const edge = { name: 'words', version: String(number), digest: digestOf(number) };
    registry.devices.reported('gate-1', {
      agentVersion: '0.1.0',
      pipelines: [{ name: 'texts', task: 'text-classification', edge, edgeModel: 'words', cloud: null }],
    });
  };
  says(1);
  return { ...served, says };
}

describe('outrider rollout', () => {
  it('begins one, lists, shows, changes, pauses and resumes it, by model or by the beginning of its id', async (t) => {
    const { asking } = await setUp(t);
    const began = await printed(t, () => startRollout('words@2', { ...asking, note: 'retrained' }));
    assert.match(began, /^Rollout [\w-]+: words@2 is running, stage 1 of 4, 1 of 1 devices: /);
    const [, id = ''] = /^Rollout ([\w-]+)/.exec(began) ?? [];
    assert.match(await printed(t, () => listRollouts(asking)), /words@2 +running +1 of 4 +1 of 1/);
    const shown = await printed(t, () => showRollout(id.slice(0, 13), asking));
    assert.match(shown, /stages 1, 10 %, 50 %, 100 %\nnote: retrained/);
    assert.match(shown, /gate-1 +1 +told +1/);
    assert.match(await printed(t, () => orderRollout('pause')('words', asking)), /words@2 is paused/);
    const change = { ...asking, gate: ['memory=off', 'agreement=0.05'], onFailure: 'hold' };
    await printed(t, () => changeRollout('words', change));
    const json = await printed(t, () => showRollout('words@2', { ...asking, json: true }));
    const { gates, onFailure } = JSON.parse(json) as { gates: Record<string, unknown>; onFailure: string };
    assert.deepEqual([gates.memory, gates.agreement, onFailure], [null, { maxDrop: 0.05 }, 'hold']);
    assert.deepEqual(gates.errors, { maxRise: 0.02 }, 'what was not named stays');
    assert.match(await printed(t, () => orderRollout('resume')(id, asking)), /words@2 is running/);
  });

  it('follows one, and fails where it does not reach its end', async (t) => {
    const { asking, hub } = await setUp(t);
    const followed = printed(t, () => startRollout('words@2', { ...asking, json: true, wait: '60' }));
    const rejected = assert.rejects(followed, (error) => {
      assert.ok(isAppError(error, 'ROLLOUT_FAILED'), String(error));
      assert.match(error.message, /words@2 is aborted: version 1 was deployed by hand/);
      return true;
    });
    while (Object.keys(hub.registry.rollouts.all).length === 0)
      await new Promise((resolve) => setImmediate(resolve));
    await hub.registry.models.change('words', { deployed: '1' }, () => true);
    await rejected;
  });

  it('follows one to its end', async (t) => {
    const { asking, hub, says } = await setUp(t);
    const flags = { stages: '100%', minTime: '0s', minAnswers: '0' };
    const followed = printed(t, () => startRollout('words@2', { ...asking, ...flags, wait: '60' }));
    while (Object.keys(hub.registry.rollouts.all).length === 0)
      await new Promise((resolve) => setImmediate(resolve));
    says(2);
    await hub.look();
    assert.match(await followed, /Rollout /);
    assert.equal(hub.registry.models.list().find(({ name }) => name === 'words')?.deployed, '2');
  });

  it('labels a device, takes labels away, and shows them', async (t) => {
    const { asking } = await setUp(t);
    assert.match(
      await printed(t, () => labelDevice('gate-1', ['site=north', 'line=3'], asking)),
      /line=3, site=north/,
    );
    assert.match(await printed(t, () => labelDevice('gate-1', ['line-'], asking)), /^gate-1: site=north$/m);
    assert.match(await printed(t, () => labelDevice('gate-1', [], asking)), /^gate-1: site=north$/m);
    for (const wrong of ['site', '=x', 'device=gate', 'a b=c', 'x=ü'])
      await assert.rejects(labelDevice('gate-1', [wrong], asking), (error) => isAppError(error, 'USAGE'));
  });

  for (const which of ['nothing', 'ab', ''])
    it(`knows no rollout “${which}”`, async (t) => {
      const { asking } = await setUp(t);
      await assert.rejects(showRollout(which, asking), (error) => isAppError(error, 'NOT_FOUND'));
    });
});

describe('a plan as it is typed', () => {
  it('has stages of devices and shares, each with its least time and answers', () => {
    const { stages } = planOf({ stages: '2, 12.5%,100%', minTime: '2h', minAnswers: '1000' }, 'words');
    assert.deepEqual(stages, [
      { devices: 2, minMinutes: 120, minAnswers: 1_000 },
      { share: 0.125, minMinutes: 120, minAnswers: 1_000 },
      { share: 1, minMinutes: 120, minAnswers: 1_000 },
    ]);
  });

  it('is the standard one where nothing is said', () => {
    const { stages, gates, selector, window, onFailure } = planOf({}, 'words');
    assert.deepEqual(
      stages.map(({ devices, share }) => devices ?? share),
      [1, 0.1, 0.5, 1],
    );
    assert.deepEqual(
      [selector, window, onFailure, gates.agreement],
      ['', null, 'roll-back', { maxDrop: 0.02 }],
    );
  });

  it('waits for answers of a model, and for none of the agent unless somebody says so', () => {
    const answers = (subject: string, flags = {}) =>
      planOf(flags, subject).stages.map(({ minAnswers }) => minAnswers);
    assert.deepEqual(answers('words'), [200, 200, 200, 200]);
    assert.deepEqual(answers(AGENT_NAME), [0, 0, 0, 0]);
    assert.deepEqual(answers(AGENT_NAME, { stages: '1,100%' }), [0, 0]);
    assert.deepEqual(answers(AGENT_NAME, { stages: '1,100%', minAnswers: '50' }), [50, 50]);
  });

  for (const flags of [
    { stages: '' },
    { stages: '1,,2' },
    { stages: 'all' },
    { stages: '0' },
    { stages: '101%' },
    { stages: '-1' },
    { minTime: '10' },
    { minAnswers: 'many' },
    { minAnswers: '-1' },
    { gate: ['speed=1'] },
    { gate: ['agreement'] },
    { gate: ['agreement=much'] },
    { gate: ['agreement=0'] },
    { gate: ['latencyP95=0.5'] },
    { confidence: '2' },
    { window: 'at night' },
    { onFailure: 'panic' },
  ])
    it(`refuses ${JSON.stringify(flags)} and says which`, () => {
      assert.throws(
        () => planOf(flags, 'words'),
        (error) => {
          assert.ok(isAppError(error, 'USAGE'), String(error));
          return true;
        },
      );
    });
  for (const [flags, message] of [
    [{ confidence: 'high' }, '--confidence: “high” is no number'],
    [{ confidence: '' }, '--confidence: “” is no number'],
    [{ minAnswers: ' ' }, '--min-answers: “ ” is no number'],
    [{ gate: ['errors=few'] }, '--gate errors: “few” is no number'],
  ] as const)
    it(`names the flag of ${JSON.stringify(flags)}`, () => {
      assert.throws(() => planOf(flags, 'words'), { code: 'USAGE', message });
    });
});
