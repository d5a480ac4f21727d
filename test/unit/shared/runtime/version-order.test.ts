import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { compareVersions } from '../../../../shared/runtime/version-order.ts';

const ASCENDING = [
  '0.2.0',
  '0.3.0-1',
  '0.3.0-2',
  '0.3.0-alpha',
  '0.3.0-alpha.1',
  '0.3.0-alpha.beta',
  '0.3.0-beta',
  '0.3.0-rc.2',
  '0.3.0-rc.10',
  '0.3.0',
  '0.3.1-rc.1',
  '0.3.1',
  '0.10.0',
  '1.0.0-rc-1',
  '1.0.0',
  '10.0.0',
];

test('versions are in the order of Semantic Versioning, pre-releases before what they become', () => {
  for (const [index, one] of ASCENDING.entries())
    for (const [place, other] of ASCENDING.entries())
      assert.equal(
        Math.sign(compareVersions(one, other) ?? Number.NaN),
        Math.sign(index - place),
        `${one} and ${other}`,
      );
});

test('builds of a version are one, a v before it means nothing, and what is left out is 0', () => {
  for (const [one, other] of [
    ['0.3.0+linux', '0.3.0+win'],
    ['v0.3.0', '0.3.0'],
    ['0.3', '0.3.0'],
    ['1', '1.0.0'],
    ['0.3.0-rc.1+5', '0.3.0-rc.1'],
  ] as const)
    assert.equal(compareVersions(one, other), 0, `${one} and ${other}`);
});

test('what is no version has no order, whatever it is', () => {
  for (const no of ['', 'latest', '1.2.3.4', '-1.0.0', '1.x', '0.3.0-', ' 0.3.0', '0.3.0 '])
    assert.equal(compareVersions(no, '0.3.0'), undefined, no);
  fc.assert(
    fc.property(fc.string(), (text) => {
      const order = compareVersions(text, '1.2.3');
      assert.ok(order === undefined || Number.isFinite(order));
    }),
  );
});
