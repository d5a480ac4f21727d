import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type ModelChoice, wantedVersions } from '../../../../cloud/registry/wanted-version.ts';

const words = (deployed: string | null, unpublished: readonly string[] = []): ModelChoice => ({
  name: 'words',
  deployment: { deployed },
  held: undefined,
  versions: ['1', '2', '3'].map((version) => ({
    version,
    digest: version.repeat(64),
    published: !unpublished.includes(version),
  })),
});

const device = (pins: Record<string, string> = {}, ...names: string[]) => ({
  id: 'gate-01',
  pins,
  reported: {
    pipelines: names.map((name) => ({
      ...{ name, task: 'text-classification' as const, edge: null, edgeModel: name, cloud: null },
    })),
  },
});

describe('the version that a device should run', () => {
  for (const [what, pins, model, expected] of [
    ['is what its model deploys', {}, words('2'), '2'],
    ['is its pin, whatever is deployed', { words: '1' }, words('2'), '1'],
    ['is its pin also where nothing is deployed', { words: '1' }, words(null), '1'],
    ['is not the pin of another model', { ears: '1' }, words('3'), '3'],
    ['is none where nothing is deployed', {}, words(null), undefined],
    ['is none that is not published', {}, words('2', ['2']), undefined],
    [
      'is no pin that is not published, and nothing in its place',
      { words: '1' },
      words('2', ['1']),
      undefined,
    ],
    ['is none that the hub has not', { words: '9' }, words('2'), undefined],
  ] as const)
    it(what, () => {
      const [wanted] = wantedVersions(device(pins, 'words'), () => model);
      assert.equal(wanted?.version, expected);
      if (expected !== undefined) assert.equal(wanted?.digest, expected.repeat(64));
    });

  it('is told of the models that its pipelines name, once each and by name', () => {
    const modelOf = (name: string): ModelChoice => ({ ...words('2'), name });
    assert.deepEqual(
      wantedVersions(device({}, 'b', 'a', 'b'), modelOf).map(({ name }) => name),
      ['a', 'b'],
    );
    assert.deepEqual(wantedVersions(device({ a: '1' }), modelOf), []);
  });
});
