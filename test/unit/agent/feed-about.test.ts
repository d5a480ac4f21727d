import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { loadConfig } from '../../../agent/config.ts';
import { aboutFeed } from '../../../agent/wiring/feed-about.ts';
import { temporaryFolder } from '../../support/fixed.ts';

test('what a feed reads is told without folders of the disk and without credentials', async (t) => {
  const path = join(await temporaryFolder(t), 'outrider.yaml');
  const channels = (...topics: string[]) =>
    `[${topics.map((topic) => `{ topic: ${topic}, path: v }`).join(', ')}]`;
  for (const [feed, told] of [
    ['{ type: folder, path: /srv/private/pictures }', 'pictures'],
    ['{ type: text-lines, path: /srv/private/words.txt }', 'words.txt'],
    ['{ type: lines, command: [/opt/private/read, --key, secret] }', 'command read'],
    ['{ type: lines, path: /srv/private/log.csv }', 'log.csv'],
    [
      `{ type: mqtt, url: "mqtt://me:secret@broker.local:1884", channels: ${channels('a/b')} }`,
      'broker.local:1884: a/b',
    ],
  ] as const) {
    const task = feed.includes('folder') ? 'image-classification' : 'text-classification';
    await writeFile(path, `pipelines: [{ name: gate, task: ${task}, edge: small, feed: ${feed} }]\n`);
    const config = await loadConfig(['--config', path], {});
    const one = config !== 'help' ? config.pipelines[0]?.feed : undefined;
    assert.ok(one);
    assert.equal(aboutFeed(one), told);
  }
});
