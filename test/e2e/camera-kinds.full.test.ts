/** Cameras of every kind that can be had here, and those that are none: `outrider agent` with a real ffmpeg and GStreamer’s RTSP server. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { createServer } from 'node:https';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Authority } from '../../shared/runtime/authority.ts';
import { systemClock } from '../../shared/runtime/clock.ts';
import { silentLogger } from '../../shared/runtime/logger.ts';
import { temporaryFolder } from '../support/fixed.ts';
import { freePort } from '../support/ports.ts';
import { eventually, outrider } from '../support/programs.ts';
import { startRtspCamera } from '../support/rtsp-camera.ts';

const MODELS = fileURLToPath(new URL('../../models', import.meta.url));
const PATIENCE_MS = 120_000;
const SIGNED_IN = 'admin:s3cr3t@127.0.0.1';

interface Feed {
  readonly state: string;
  readonly reason: { readonly code: string; readonly message: string } | null;
  readonly about: string;
  readonly inputs: number;
}

/** An agent with a pipeline for each feed. @returns asks what they are doing */
async function startAgent(t: TestContext, folder: string, feeds: Readonly<Record<string, object>>) {
  const port = await freePort();
  const pipelines = Object.entries(feeds).map(([name, feed]) => ({
    ...{ name, task: 'image-classification', edge: 'cifar10-cnn' },
    feed: { type: 'camera', fps: 2, ...feed },
  }));
  await writeFile(join(folder, 'outrider.yaml'), JSON.stringify({ pipelines }));
  const agent = outrider(t, [
    ...['agent', '--config', join(folder, 'outrider.yaml'), '--data', join(folder, 'data')],
    ...['--models', MODELS, '--agent-port', String(port)],
  ]);
  await agent.says('pipelines:');
  const of = async (name: string): Promise<Feed> => {
    const answer = await fetch(`http://127.0.0.1:${port}/v1/pipelines`);
    const said = (await answer.json()) as { pipelines: { name: string; feed: Feed }[] };
    return said.pipelines.find((one) => one.name === name)?.feed ?? assert.fail(name);
  };
  return { of };
}

async function authority(t: TestContext): Promise<Authority> {
  const folder = await temporaryFolder(t);
  return Authority.open({ folder, names: [], clock: systemClock, logger: silentLogger });
}

test('rtsps with Digest, UDP, H.265 and hwaccel: auto give answers; a password or hardware that is none is told', {
  timeout: 400_000,
}, async (t) => {
  const folder = await temporaryFolder(t);
  const { certFile, keyFile } = await authority(t);
  const both = join(folder, 'camera.pem');
  await writeFile(both, readFileSync(certFile, 'utf8') + readFileSync(keyFile, 'utf8'));
  const [secure, hevc, plain] = [await freePort(), await freePort(), await freePort()];
  await startRtspCamera(t, secure, '--tls', both, '--digest');
  await startRtspCamera(t, hevc, '--codec', 'h265');
  await startRtspCamera(t, plain, '--digest');
  const url = `rtsp://${SIGNED_IN}:${plain}/locked`;
  const { of } = await startAgent(t, folder, {
    rtsps: { url: `rtsps://${SIGNED_IN}:${secure}/locked` },
    wrong: { url: `rtsps://admin:wr0ng@127.0.0.1:${secure}/locked` },
    h265: { url: `rtsp://${SIGNED_IN}:${hevc}/locked` },
    udp: { url, transport: 'udp' },
    auto: { url, hwaccel: 'auto' },
    none: { url, hwaccel: 'nosuchthing' },
  });
  for (const name of ['rtsps', 'h265', 'udp', 'auto'])
    await eventually(async () => (await of(name)).inputs > 1, `${name} gives no answers`, PATIENCE_MS);
  for (const [name, code] of [
    ['wrong', 'CAMERA_REFUSED'],
    ['none', 'CAMERA_CODEC'],
  ] as const)
    await eventually(async () => (await of(name)).reason?.code === code, `${name}: ${code}`, PATIENCE_MS);
});

test('https by its certificate, and what is no camera: no device, no video device, a folder, another file', {
  timeout: 400_000,
}, async (t) => {
  const folder = await temporaryFolder(t);
  const { certFile, keyFile, pem } = await authority(t);
  const picture = readFileSync(join(MODELS, 'efficientnet-lite0', 'golden', '1.jpg'));
  const server = createServer({ cert: readFileSync(certFile), key: readFileSync(keyFile) }, (_, response) => {
    response.setHeader('content-type', 'image/jpeg').end(picture);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as { port: number };
  await writeFile(join(folder, 'camera.pem'), pem);
  const snapshot = `https://127.0.0.1:${port}/snap.jpg`;
  const { of } = await startAgent(t, folder, {
    believed: { url: snapshot, ca: 'camera.pem', size: '320x240' },
    unknown: { url: snapshot },
    anybody: { url: snapshot, insecure: true },
    device: { url: '/dev/video77' },
    zero: { url: '/dev/zero' },
    folder: { url: '.' },
    text: { url: 'outrider.yaml' },
  });
  for (const name of ['believed', 'anybody'])
    await eventually(async () => (await of(name)).inputs > 1, `${name} gives no answers`, PATIENCE_MS);
  assert.match((await of('anybody')).about, /its certificate is not checked/);
  for (const [name, code, words] of [
    ['unknown', 'CAMERA_UNTRUSTED', /certificate/],
    ['device', 'CAMERA_UNREACHABLE', /the device is not there/],
    ['zero', 'CAMERA_NO_STREAM', /what is there is no video/],
    ['folder', 'CAMERA_NO_STREAM', /this is a folder/],
    ['text', 'CAMERA_NO_STREAM', /what is there is no video/],
  ] as const) {
    await eventually(async () => (await of(name)).reason?.code === code, `${name}: ${code}`, PATIENCE_MS);
    assert.match((await of(name)).reason?.message ?? '', words);
  }
});
