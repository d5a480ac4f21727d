/** Inputs that are too large for one message, through `outrider up` with real programs: whole, or at the size that the model needs. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { cpSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import sharp from 'sharp';
import { z } from 'zod';
import { linkUse } from '../../shared/contract/messages.ts';
import { answer } from '../../shared/contract/result.ts';
import { temporaryFolder } from '../support/fixed.ts';
import { eventually, outrider, upFlags } from '../support/programs.ts';

const FIXTURES = fileURLToPath(new URL('../fixtures/models/', import.meta.url));
const CONFIG = `pipelines:
  - { name: whole, task: image-classification, edge: colours, cloud: colours, original: true, route: { deadline: 60s } }
  - { name: small, task: image-classification, edge: colours, cloud: colours, route: { deadline: 60s } }
  - { name: capped, task: image-classification, edge: colours, cloud: colours, original: true, route: { deadline: 60s, budget: { bytesPerDay: 100KB } } }
`;
const status = z.object({
  link: z.object({
    online: z.boolean(),
    outbox: z.object({ entries: z.number() }),
    today: z.object({ use: z.array(linkUse) }),
  }),
});

test('a large picture goes whole in chunks, or small where that is enough, and not at all over the cap', async (t) => {
  const root = await temporaryFolder(t);
  const models = join(root, 'models');
  cpSync(join(FIXTURES, 'colours'), join(models, 'colours'), { recursive: true });
  const config = join(root, 'outrider.yaml');
  writeFileSync(config, CONFIG);
  const { flags, agent } = await upFlags(join(root, 'data'));
  const up = outrider(t, ['up', '--config', config, '--models', models, ...flags]);
  await up.says(/Outrider/);
  const look = async () => status.parse(await (await fetch(`${agent}/v1/pipelines`)).json()).link;
  await eventually(async () => (await look()).online, 'it is not online');

  const [width, height] = [1_000, 900];
  const noise = await sharp(randomBytes(width * height * 3), { raw: { width, height, channels: 3 } })
    .png()
    .toBuffer();
  assert.ok(noise.length > 2_500_000);
  const ask = async (pipeline: string) => {
    const response = await fetch(`${agent}/v1/infer/${pipeline}?route=cloud`, {
      method: 'POST',
      body: noise,
    });
    const result = answer.parse(await response.json());
    return [result.source, result.reason];
  };
  const sentBy = async (pipeline: string): Promise<number> => {
    const { use } = (await look()).today;
    return use
      .filter((one) => one.pipeline === pipeline && one.purpose === 'request')
      .reduce((sum, { upBytes }) => sum + upBytes, 0);
  };
  assert.deepEqual(await ask('whole'), ['cloud', 'forced-cloud']);
  assert.deepEqual(await ask('small'), ['cloud', 'forced-cloud']);
  assert.deepEqual(await ask('capped'), ['edge', 'over-budget']);
  const whole = await sentBy('whole');
  assert.ok(whole > noise.length && whole < noise.length * 1.05, `${whole} bytes for ${noise.length}`);
  const small = await sentBy('small');
  assert.ok(small > 0 && small < 20_000, `${small} bytes`);
  assert.equal(await sentBy('capped'), 0);
  await eventually(async () => (await look()).outbox.entries === 0, 'something is still owed');

  const listed = outrider(t, ['outbox', 'ls', '--agent', agent]);
  assert.equal((await listed.exited).code, 0);
  assert.equal(listed.output(), '0 open (0 B on disk), 0 given up\n');
});
