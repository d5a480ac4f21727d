import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { Database } from '../../../../cloud/registry/database.ts';
import type { HubData } from '../../../../cloud/registry/records.ts';
import { Registry } from '../../../../cloud/registry/registry.ts';
import type { OpenStore, Store } from '../../../../cloud/registry/store.ts';
import { systemClock } from '../../../../shared/runtime/clock.ts';
import { AppError } from '../../../../shared/runtime/errors.ts';
import { silentLogger as logger } from '../../../../shared/runtime/logger.ts';
import { MemoryStore } from '../../../support/memory-store.ts';

const FIRST: HubData = {
  schema: 1,
  hubId: 'hub-1',
  desiredVersion: 1,
  devices: {},
  tokens: {},
  keys: {},
  models: {},
  deployments: {},
  serving: {},
  versionsSeen: {},
  removed: {},
  engines: {},
  rollouts: {},
  agentReleases: {},
};
const deploy =
  (name: string) =>
  (data: HubData): HubData => ({
    ...data,
    desiredVersion: data.desiredVersion + 1,
    deployments: { ...data.deployments, [name]: { policy: 'auto', deployed: null, plan: null } },
  });

let root: string;
before(async () => {
  root = await mkdtemp(join(tmpdir(), 'outrider-store-'));
});
after(() => rm(root, { recursive: true, force: true }));

/** A new one for each call, with the records of `FIRST`. */
const STORES: Readonly<Record<string, (at: string) => OpenStore>> = {
  'one JSON file': (at) => (options) => Database.open({ ...options, folder: join(root, at), logger }),
  memory: () => (options) => MemoryStore.open(options),
};

for (const [what, openAt] of Object.entries(STORES))
  describe(`a store in ${what}`, () => {
    let count = 0;
    let followed: HubData[];
    let follow: (data: HubData) => Promise<void>;
    const open = (): Promise<Store> => {
      followed = [];
      follow = async (data) => void followed.push(data);
      return openAt(String(++count))({
        createFirst: async () => FIRST,
        afterChange: (data) => follow(data),
      });
    };

    it('begins with the first records, which have been followed once', async () => {
      const store = await open();
      assert.deepEqual(store.data, FIRST);
      assert.deepEqual(followed, [FIRST]);
    });

    it('makes each change of what the one before has left, in their order', async () => {
      const store = await open();
      await Promise.all(['a', 'b', 'c'].map((name) => store.change(deploy(name))));
      assert.deepEqual(Object.keys(store.data.deployments), ['a', 'b', 'c']);
      assert.equal(store.data.desiredVersion, 4);
    });

    it('leaves a snapshot that somebody reads as it was', async () => {
      const store = await open();
      const snapshot = store.data;
      await store.change(deploy('a'));
      assert.deepEqual(snapshot, FIRST);
      assert.notEqual(store.data, snapshot);
    });

    it('shows a change when it has happened, and has been followed when its call returns', async () => {
      const store = await open();
      let letGo = (): void => undefined;
      const held = new Promise<void>((resolve) => {
        letGo = resolve;
      });
      follow = async (data) => {
        await held;
        followed.push(data);
      };
      const changed = store.change(deploy('a'));
      assert.deepEqual(store.data, FIRST);
      let isDone = false;
      const done = changed.then(() => {
        isDone = true;
      });
      await new Promise((resolve) => setTimeout(resolve, 20));
      assert.equal(isDone, false);
      letGo();
      await done;
      assert.equal(followed.at(-1), store.data);
    });

    it('changes nothing where a change fails, and takes the next', async () => {
      const store = await open();
      const failing = store.change(() => {
        throw new AppError('CONFLICT');
      });
      const following = store.change(deploy('a'));
      await assert.rejects(failing, { code: 'CONFLICT' });
      await following;
      assert.deepEqual(Object.keys(store.data.deployments), ['a']);
      assert.equal(followed.length, 2);
    });
  });

describe('the registries on another store', () => {
  for (const isContested of [false, true])
    it(`keep devices, keys and pins ${isContested ? 'where another process is always faster' : 'in memory'}`, async () => {
      const registry = await Registry.open({
        folder: join(root, `registry-${isContested}`),
        openStore: (options) => MemoryStore.open(options, { isContested }),
        clock: systemClock,
        logger,
      });
      const { token } = await registry.devices.createToken({});
      const secret = 's'.repeat(43);
      await registry.devices.enroll({ token, deviceId: 'gate-01', secret });
      assert.equal(await registry.devices.authenticate(secret), 'gate-01');
      assert.deepEqual(
        registry.devices.list().map(({ id }) => id),
        ['gate-01'],
      );
      const { key, id } = await registry.keys.create({ name: 'app', scopes: ['infer'] });
      assert.equal(registry.keys.identify(key)?.id, id);
      await registry.pins.pin('gate-01', {}, () => true);
      assert.deepEqual(registry.pins.pinsOf('gate-01'), {});
      await registry.keys.revoke(id);
      assert.equal(registry.keys.identify(key), undefined);
      await registry.devices.revoke('gate-01');
      assert.equal(await registry.devices.authenticate(secret), undefined);
      await registry.stop();
    });
});
