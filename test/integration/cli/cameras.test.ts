import assert from 'node:assert/strict';
import { chmod, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { temporaryFolder } from '../../support/fixed.ts';
import { onvifCamera } from '../../support/onvif-camera.ts';
import { outrider } from '../../support/programs.ts';

/** A folder for the PATH with an ffprobe that reads what it is told and knows two streams. */
async function ffprobeIn(t: TestContext): Promise<string> {
  const folder = await temporaryFolder(t);
  const path = join(folder, 'ffprobe');
  await writeFile(
    path,
    `#!/bin/sh
case "$*" in *-version*) echo ffprobe version 5.1; exit 0;; esac
case "$(cat)" in
  *wr0ng*) echo "method DESCRIBE failed: 401 Unauthorized" >&2; exit 1;;
  */main*) w=1920 h=1080;;
  *) w=640 h=352;;
esac
echo '{"streams":[{"codec_name":"h264","width":'$w',"height":'$h',"avg_frame_rate":"25/1"}]}'
`,
  );
  await chmod(path, 0o755);
  return `${folder}:${process.env.PATH}`;
}

async function run(t: TestContext, args: readonly string[], env: NodeJS.ProcessEnv) {
  const program = outrider(t, ['cameras', ...args], { env });
  const { code } = await program.exited;
  return { code, output: program.output() };
}

test('an ONVIF camera tells its streams; the smaller one is recommended, as lines without a secret', async (t) => {
  const PATH = await ffprobeIn(t);
  const host = await onvifCamera(t, 'admin', 's3cr3t');
  const { code, output } = await run(t, ['probe', host, '--user', 'admin', '--json'], {
    PATH,
    CAM_PASSWORD: 's3cr3t',
  });
  assert.equal(code, 0, output);
  const told = JSON.parse(output);
  assert.equal(told.maker, 'Acme Eye');
  assert.deepEqual(
    told.streams.map(
      (one: { name: string; widthPx: number; heightPx: number; fps: number; recommended: boolean }) => [
        ...[one.name, one.widthPx, one.heightPx, one.fps, one.recommended],
      ],
    ),
    [
      ['main', 1920, 1080, 25, false],
      ['sub', 640, 352, 25, true],
    ],
  );
  assert.match(
    told.configuration,
    /url: "rtsp:\/\/\$\{CAM_USER\}:\$\{CAM_PASSWORD\}@127\.0\.0\.1\/sub\?channel=1&token=\$\{CAM_PASSWORD\}"/,
  );
  assert.doesNotMatch(output, /s3cr3t|t0psecret|192\.168/);
});

test('a wrong password is told as such, and a camera that is not there, and what is no address', async (t) => {
  const PATH = await ffprobeIn(t);
  const host = await onvifCamera(t, 'admin', 's3cr3t');
  for (const [address, env, code, status] of [
    [host, { CAM_PASSWORD: 'wr0ng' }, 'CAMERA_REFUSED', 1],
    ['rtsp://admin:wr0ng@127.0.0.1/a', {}, 'CAMERA_REFUSED', 1],
    ['127.0.0.1:1', {}, 'CAMERA_UNREACHABLE', 1],
    ['rtsp://127.0.0.1/a', { PATH: '/nowhere' }, 'FFMPEG_MISSING', 1],
    ['ftp://127.0.0.1/a', {}, 'USAGE', 2],
  ] as const) {
    const told = await run(t, ['probe', address, ...(address === host ? ['--user', 'admin'] : [])], {
      PATH,
      ...env,
    });
    assert.deepEqual([told.code, told.output.includes(`(${code})`)], [status, true], told.output);
    assert.doesNotMatch(told.output, /wr0ng/);
  }
});

test('where no camera answers it is said what else to try', async (t) => {
  const { code, output } = await run(t, ['find', '--timeout', '0.2', '--json'], {});
  assert.equal(code, 0, output);
  assert.ok(Array.isArray(JSON.parse(output).cameras));
  assert.equal((await run(t, ['find', '--timeout', 'long'], {})).code, 2);
});
