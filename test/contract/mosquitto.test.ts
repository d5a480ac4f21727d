/** What we hand out for Mosquitto says what the topics' contract says. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { deviceRights, HUB_FILTER } from '../../shared/contract/topics.ts';

const acl = readFileSync('deploy/mosquitto/acl', 'utf8').trim();

test('the access list for Mosquitto grants exactly the topics of the contract', () => {
  const { writes, reads } = deviceRights('%u', ['hub']);
  assert.deepEqual(acl.split('\n').filter(Boolean), [
    'user hub',
    `topic readwrite ${HUB_FILTER}`,
    ...writes.map((topic) => `pattern write ${topic}`),
    ...reads.map((filter) => `pattern read ${filter}`),
  ]);
});

test('the operator’s page shows the same access list', () => {
  assert.ok(readFileSync('docs/install.md', 'utf8').includes(acl));
});

test('both configurations for Mosquitto close what is open by default', () => {
  for (const name of ['mosquitto.conf', 'dynsec.conf']) {
    const lines = readFileSync(`deploy/mosquitto/${name}`, 'utf8').split('\n');
    for (const wanted of ['set_tcp_nodelay true', 'allow_anonymous false', 'max_packet_size 1048576'])
      assert.ok(lines.includes(wanted), `${name}: ${wanted}`);
  }
});
