/** That ports of tests which run side by side do not meet. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { type TestContext, test } from 'node:test';
import { promisify } from 'node:util';
import { tsxFlags } from '../../../support/from-source.ts';
import { freePort } from '../../../support/ports.ts';

async function listen(t: TestContext, port: number): Promise<number> {
  const server = createServer().listen(port, '127.0.0.1');
  t.after(() => server.close());
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

test('a port is given once, can be listened on, and is none that the kernel gives away', async (t) => {
  const ports = await Promise.all(Array.from({ length: 50 }, () => freePort()));
  assert.equal(new Set(ports).size, ports.length);
  for (const port of ports) assert.equal(await listen(t, port), port);
  const given = Math.min(...(await Promise.all(Array.from({ length: 50 }, () => listen(t, 0)))));
  // A kernel that gives (nearly) all of them away leaves us none to ourselves.
  if (given >= 11_000) assert.ok(Math.max(...ports) < given, `${ports} and ${given}`);
});

test('a process that holds a port keeps it from the others', async () => {
  const port = await freePort();
  const other = `
    const { freePort } = await import(${JSON.stringify(new URL('../../../support/ports.ts', import.meta.url).href)});
    console.log(await freePort((count) => ${port - 10_081} % count));
  `;
  const flags = [...tsxFlags(), '--input-type=module', '--eval', other];
  const { stdout } = await promisify(execFile)(process.execPath, flags);
  assert.ok(Number(stdout) > port, `it was given ${stdout}`);
});
