import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parseSelector, type SelectableDevice } from '../../../../cloud/rollout/selector.ts';
import { isAppError } from '../../../../shared/runtime/errors.ts';

const gate: SelectableDevice = {
  id: 'gate-01',
  labels: { site: 'north', line: '3', beta: 'yes' },
  pipelines: [
    { name: 'gate', task: 'image-classification' },
    { name: 'texts', task: 'text-classification' },
  ],
  agentVersion: '0.10.1',
  hardware: { platform: 'linux-arm64', cores: 4, memoryBytes: 1e9 },
};
const bare: SelectableDevice = {
  ...gate,
  id: 'bare',
  labels: {},
  pipelines: [],
  agentVersion: '0.2.0',
  hardware: undefined,
};

describe('a selector', () => {
  for (const [selector, ofGate, ofBare] of [
    ['', true, true],
    ['  ', true, true],
    ['site=north', true, false],
    ['site==north', true, false],
    ['site = north', true, false],
    ['site!=north', false, true],
    ['site=north,line=3', true, false],
    ['site=north,line=4', false, false],
    ['line in (1,2,3)', true, false],
    ['line in ( 1 , 3 )', true, false],
    ['line notin (3)', false, true],
    ['site in (north),line notin (1,2)', true, false],
    ['beta', true, false],
    ['!beta', false, true],
    ['device=gate-01', true, false],
    ['device in (bare,other)', false, true],
    ['pipeline=texts', true, false],
    ['pipeline!=texts', false, true],
    ['task=image-classification', true, false],
    ['agent>=0.2.0', true, true],
    ['agent>0.9.9', true, false],
    ['agent<0.10.1', false, true],
    ['agent>=0.10.1-rc.1', true, false],
    ['agent>=0.2.0-rc.1', true, true],
    ['agent<0.10.2-alpha', true, true],
    ['platform=linux-arm64', true, false],
    ['cores>=4', true, false],
    ['cores>4', false, false],
    ['memory>=1GB', true, false],
    ['memory<512MB', false, false],
    ['line>=3', true, false],
    ['line>2,line<4', true, false],
    ['site>3', false, false],
  ] as const)
    it(`“${selector}” ${ofGate ? 'is' : 'is not'} gate-01, and ${ofBare ? 'is' : 'is not'} a bare device`, () => {
      const isMeant = parseSelector(selector);
      assert.equal(isMeant(gate), ofGate);
      assert.equal(isMeant(bare), ofBare);
    });

  for (const selector of [
    ',',
    'site=',
    '=north',
    'site=north,',
    'site in ()',
    'site in north',
    'site in (north',
    'a b',
    'site=north south',
    'memory>=much',
    'cores>=x',
    'agent>=latest',
    '!',
    'site<>3',
    'söte=nord',
  ])
    it(`“${selector}” is refused with what stands in its place`, () => {
      assert.throws(
        () => parseSelector(selector),
        (error) => {
          assert.ok(isAppError(error, 'PARAMETERS_INVALID'));
          assert.match(error.message, /selector/);
          return true;
        },
      );
    });

  it('knows that a pre-release is before what it becomes', () => {
    const early = { ...gate, agentVersion: '0.3.0-rc.9' };
    const holds = (selector: string) => parseSelector(selector)(early);
    assert.deepEqual(
      ['agent>=0.3.0', 'agent<0.3.0', 'agent>=0.3.0-rc.10', 'agent>0.3.0-rc.2', 'agent>=0.2.9'].map(holds),
      [false, true, false, true, true],
    );
    assert.equal(parseSelector('agent<9')({ ...gate, agentVersion: 'of my own' }), false);
  });
});
