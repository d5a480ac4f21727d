/** Hub, broker and device on addresses of IPv6, by the commands that one types: what is printed can be typed again. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { temporaryFolder } from '../support/fixed.ts';
import { startHubProgram } from '../support/hub-program.ts';
import { freePort } from '../support/ports.ts';
import { eventually, outrider } from '../support/programs.ts';

const CONFIG = 'pipelines:\n  - { name: far, task: text-classification, cloud: words }\n';

test('enrols a device on ::1 and answers it, with each address in brackets', async (t) => {
  const hub = await startHubProgram(t, { host: '::1' });
  assert.match(hub.output(), /^hub \S+: http:\/\/\[::1\]:\d+, broker mqtt:\/\/\[::1\]:\d+, /m);
  const run = async (...args: string[]) => {
    const command = outrider(t, [...args, '--data', join(hub.folder, '..'), '--hub', hub.url]);
    await command.exited;
    return command.output();
  };
  const printed = await run('devices', 'enroll', 'gate-01');
  assert.ok(printed.includes(hub.url), printed);
  const token = /OUTRIDER_ENROLL_TOKEN=(\S+)/.exec(printed)?.[1] ?? '';

  const root = await temporaryFolder(t);
  writeFileSync(join(root, 'outrider.yaml'), CONFIG);
  const port = await freePort();
  const agent = outrider(
    t,
    [
      ...[
        'agent',
        '--config',
        join(root, 'outrider.yaml'),
        '--device',
        'gate-01',
        '--data',
        join(root, 'data'),
      ],
      ...['--hub', hub.url, '--agent-port', String(port), '--agent-host', '[::1]'],
    ],
    { env: { ...process.env, OUTRIDER_ENROLL_TOKEN: token } },
  );
  await agent.says(`agent gate-01: http://[::1]:${port}`);
  await eventually(async () => {
    const response = await fetch(`http://[::1]:${port}/v1/infer/far`, { method: 'POST', body: 'a word' });
    return response.ok;
  }, 'the device was never answered');
  assert.match(await run('devices', 'ls'), /gate-01/);
});
