/** Cameras as a user has them: `outrider agent` with a real ffmpeg, and GStreamer’s RTSP server in the camera’s place. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { temporaryFolder } from '../support/fixed.ts';
import { freePort } from '../support/ports.ts';
import { outrider } from '../support/programs.ts';
import { startRtspCamera } from '../support/rtsp-camera.ts';

const MODELS = fileURLToPath(new URL('../../models', import.meta.url));
const PASSWORD = 's3cr3t';
const PATIENCE_MS = 90_000;

interface Feed {
  readonly state: string;
  readonly reason: { readonly code: string; readonly message: string } | null;
  readonly inputs: number;
}

async function feeds(port: number): Promise<Record<string, Feed>> {
  const answer = await fetch(`http://127.0.0.1:${port}/v1/pipelines`);
  const { pipelines } = (await answer.json()) as { pipelines: { name: string; feed: Feed }[] };
  return Object.fromEntries(pipelines.map(({ name, feed }) => [name, feed]));
}

async function until<T>(
  what: string,
  look: () => Promise<T | undefined | false> | T | undefined | false,
): Promise<T> {
  const giveUpMonoMs = performance.now() + PATIENCE_MS;
  for (;;) {
    const seen = await look();
    if (seen) return seen;
    if (performance.now() > giveUpMonoMs) assert.fail(`never: ${what}`);
    await delay(100);
  }
}

/** Every ffmpeg that reads for an agent, by its process id and command line. */
const decoders = (): { pid: string; line: string }[] =>
  readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      try {
        const line = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
        return line.includes('ffmpeg') ? [{ pid, line }] : [];
      } catch {
        return [];
      }
    });
const childrenOf = (pid: number | undefined): { pid: string; line: string }[] =>
  decoders().filter((one) => {
    try {
      return readFileSync(`/proc/${one.pid}/status`, 'utf8').includes(`\nPPid:\t${pid}\n`);
    } catch {
      return false;
    }
  });

test('a camera may be absent, locked, frozen, killed, changed: each is a state, and none needs a restart', {
  timeout: 400_000,
}, async (t) => {
  const folder = await temporaryFolder(t);
  const [port, agentPort] = [await freePort(), await freePort()];
  const at = `@127.0.0.1:${port}`;
  await writeFile(
    join(folder, 'outrider.yaml'),
    `
pipelines:
  - name: gate
    task: image-classification
    feed: { type: camera, url: "rtsp://\${CAM_USER}:\${CAM_PASSWORD}${at}/locked", fps: 5, stallAfter: 4s }
    edge: cifar10-cnn
    sinks: [{ type: file, path: gate.ndjson }]
  - name: same
    task: image-classification
    feed: { type: camera, url: "rtsp://\${CAM_USER}:\${CAM_PASSWORD}${at}/locked", fps: 1, size: 160x90, stallAfter: 4s }
    edge: cifar10-cnn
  - name: locked-out
    task: image-classification
    feed: { type: camera, url: "rtsp://admin:wr0ng${at}/locked" }
    edge: cifar10-cnn
`,
  );
  const agent = outrider(
    t,
    [
      'agent',
      '--config',
      join(folder, 'outrider.yaml'),
      '--data',
      join(folder, 'data'),
      '--models',
      MODELS,
      '--agent-port',
      String(agentPort),
    ],
    { env: { CAM_USER: 'admin', CAM_PASSWORD: PASSWORD } },
  );
  await agent.says('pipelines:');
  const state = (name: string, wanted: string, code?: string): Promise<Feed> =>
    until(`${name} is ${wanted}`, async () => {
      const feed = (await feeds(agentPort))[name];
      return feed?.state === wanted && (code === undefined || feed.reason?.code === code) ? feed : undefined;
    });

  await state('gate', 'failed', 'CAMERA_UNREACHABLE');
  let camera = await startRtspCamera(t, port);
  await state('gate', 'live');
  await state('same', 'live');
  await state('locked-out', 'failed', 'CAMERA_REFUSED');

  const running = await until('one decoder for both', () => {
    const found = childrenOf(agent.process.pid).filter(({ line }) => line.includes('pipe:4'));
    return found.length === 1 && found;
  });
  assert.equal(running.length, 1);
  for (const { line } of decoders())
    assert.doesNotMatch(line, new RegExp(`${PASSWORD}|wr0ng|${port}`), 'a command line is everybody’s');

  camera.kill('SIGSTOP');
  await state('gate', 'stalled', 'CAMERA_STALLED');
  camera.kill('SIGCONT');
  await state('gate', 'live');

  camera.kill('SIGKILL');
  await state('gate', 'failed', 'CAMERA_UNREACHABLE');
  camera = await startRtspCamera(t, port, '640x360');
  const { inputs } = await state('gate', 'live');
  await until('more answers', async () => ((await feeds(agentPort)).gate?.inputs ?? 0) > inputs + 3);

  const results = await readFile(join(folder, 'data', 'agent', 'gate.ndjson'), 'utf8');
  const first = JSON.parse(results.split('\n')[0] ?? '');
  assert.match(first.input, /^gate \d{4}-/);
  assert.equal(first.source, 'edge');
  const logs = readdirSync(join(folder, 'data', 'logs')).map((name) =>
    readFileSync(join(folder, 'data', 'logs', name), 'utf8'),
  );
  for (const text of [...logs, results, agent.output(), JSON.stringify(await feeds(agentPort))])
    assert.doesNotMatch(text, new RegExp(`${PASSWORD}|wr0ng`));

  const left = childrenOf(agent.process.pid).map(({ pid }) => pid);
  assert.ok(left.length > 0);
  agent.process.kill('SIGKILL');
  await until('no decoder is left behind', () => !decoders().some(({ pid }) => left.includes(pid)));
});
