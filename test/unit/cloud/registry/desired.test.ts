import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { type ErrorCode, isAppError } from '../../../../shared/runtime/errors.ts';
import { PublishingHub } from '../../../support/publishing-hub.ts';

const withCode = (code: ErrorCode) => (error: unknown) => isAppError(error, code);
const always = () => true;

describe('what devices are told', () => {
  let hub: PublishingHub;
  beforeEach(async () => {
    hub = await PublishingHub.open();
    await hub.push('words', 'a');
    await hub.push('words', 'b');
    await hub.addDevice('gate-01', 'words');
    await hub.addDevice('gate-02', 'words');
  });
  afterEach(() => hub.close());

  const version = (id = 'gate-01') => hub.registry.desired.of(id)?.version ?? assert.fail();
  const models = () => hub.registry.models;
  const pins = () => hub.registry.pins;

  it('is nothing for a device that has not said what it has', async () => {
    assert.equal(hub.registry.desired.of('stranger'), undefined);
  });

  it('is the deployed version of each model that the device names, and of no other', async () => {
    await hub.push('ears', 'a');
    assert.deepEqual(hub.wanted('gate-01'), { words: '1' });
    hub.registry.devices.reported('gate-01', {
      agentVersion: '0.1.0',
      pipelines: [
        // An older agent names only what it runs.
        {
          name: 'a',
          task: 'text-classification',
          edge: { name: 'ears', version: '0', digest: 'e'.repeat(64) },
          cloud: null,
        },
        { name: 'b', task: 'text-classification', edge: null, edgeModel: 'words', cloud: null },
        { name: 'c', task: 'text-classification', edge: null, edgeModel: 'words', cloud: 'words' },
        { name: 'd', task: 'text-classification', edge: null, edgeModel: null, cloud: null },
        { name: 'e', task: 'text-classification', edge: null, edgeModel: 'unknown', cloud: null },
      ],
    });
    assert.deepEqual(hub.wanted('gate-01'), { ears: '1', words: '1' });
    const told = hub.registry.desired.of('gate-01');
    assert.deepEqual(
      told?.cloudModels.map(({ model }) => `${model.name} ${model.version}`),
      ['words 2'],
    );
  });

  it('changes for all by a deployment, counts up, and is told', async () => {
    const [before, told] = [version(), hub.told];
    await models().change('words', { deployed: '2' }, (now) => now.deployed === '1');
    assert.deepEqual([hub.wanted('gate-01'), hub.wanted('gate-02')], [{ words: '2' }, { words: '2' }]);
    assert.ok(version() > before);
    assert.equal(hub.told, told + 1);
    assert.equal(hub.changed.at(-1)?.deployed, '2');
    const after = version();
    await models().change('words', { deployed: '2' }, always);
    assert.deepEqual([version(), hub.told], [after, told + 1], 'the same once more is no change');
    await models().change('words', { deployed: '1' }, always);
    assert.deepEqual(hub.wanted('gate-01'), { words: '1' }, 'and back');
  });

  it('takes a change only of what is there', async () => {
    await assert.rejects(
      models().change('words', { deployed: '2' }, () => false),
      withCode('PRECONDITION_FAILED'),
    );
    await assert.rejects(models().change('words', { deployed: '3' }, always), withCode('UPDATE_NOT_LISTED'));
    for (const name of ['ears', '__proto__'])
      await assert.rejects(models().change(name, { policy: 'auto' }, always), withCode('MODEL_UNKNOWN'));
    assert.deepEqual(hub.wanted('gate-01'), { words: '1' });
  });

  it('lets one of two changes of the same state win', async () => {
    const expects = (now: { deployed: string | null; policy: string }) =>
      now.deployed === '1' && now.policy === 'manual';
    const results = await Promise.allSettled([
      models().change('words', { deployed: '2' }, expects),
      models().change('words', { policy: 'auto' }, expects),
    ]);
    assert.deepEqual(results.map(({ status }) => status).sort(), ['fulfilled', 'rejected']);
  });

  it('is another version for a device with a pin, and only for that', async () => {
    const before = version();
    await pins().pin('gate-01', { words: '2' }, (now) => Object.keys(now).length === 0);
    assert.deepEqual([hub.wanted('gate-01'), hub.wanted('gate-02')], [{ words: '2' }, { words: '1' }]);
    assert.deepEqual(pins().pinsOf('gate-01'), { words: '2' });
    assert.ok(version() > before);
    await hub.registry.stop();
    await hub.start();
    assert.deepEqual(pins().pinsOf('gate-01'), { words: '2' });
    assert.deepEqual(hub.wanted('gate-01'), { words: '2' }, 'after a restart too');
    await pins().pin('gate-01', {}, always);
    assert.deepEqual(hub.wanted('gate-01'), { words: '1' });
  });

  it('takes a pin only for what there is', async () => {
    assert.throws(() => pins().pinsOf('stranger'), withCode('DEVICE_UNKNOWN'));
    await assert.rejects(pins().pin('stranger', {}, always), withCode('DEVICE_UNKNOWN'));
    await assert.rejects(pins().pin('gate-01', { words: '9' }, always), withCode('UPDATE_NOT_LISTED'));
    await assert.rejects(pins().pin('gate-01', { ears: '1' }, always), withCode('MODEL_UNKNOWN'));
    await assert.rejects(
      pins().pin('gate-01', { words: '2' }, () => false),
      withCode('PRECONDITION_FAILED'),
    );
    assert.deepEqual(pins().pinsOf('gate-01'), {});
  });

  it('keeps a device’s pins when the operator enrols it again', async () => {
    await pins().pin('gate-01', { words: '2' }, always);
    const { token } = await hub.registry.devices.createToken({ deviceId: 'gate-01' });
    await hub.registry.devices.enroll({ token, deviceId: 'gate-01', secret: 's'.repeat(43) });
    assert.deepEqual(pins().pinsOf('gate-01'), { words: '2' });
  });
});
