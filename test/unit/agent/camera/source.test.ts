import assert from 'node:assert/strict';
import { chmod, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import type { Frame } from '../../../../agent/camera/camera.ts';
import { createSource, type WantedOutput } from '../../../../agent/camera/source.ts';
import { readAddress } from '../../../../shared/camera/address.ts';
import { systemClock } from '../../../../shared/runtime/clock.ts';
import { AppError } from '../../../../shared/runtime/errors.ts';
import { temporaryFolder } from '../../../support/fixed.ts';

const OUTPUT: WantedOutput = {
  ...{
    fps: 2,
    box: { widthPx: 64, heightPx: 64, fit: 'inside' },
    region: undefined,
    masks: [],
    codec: 'ppm',
  },
  isAsItComes: true,
};

/** A program in ffmpeg's place on the PATH, until the test ends. @param script of a shell; undefined: there is none */
async function ffmpegIs(t: TestContext, script: string | undefined): Promise<string> {
  const folder = await temporaryFolder(t);
  if (script !== undefined) {
    const path = join(folder, 'ffmpeg');
    await writeFile(
      path,
      `#!/bin/sh\nFOLDER='${folder}'\n[ "$2" = -version ] && { echo ffmpeg version 5.1; exit 0; }\n${script}\n`,
    );
    await chmod(path, 0o755);
  }
  const before = process.env.PATH;
  process.env.PATH = script === undefined ? folder : `${folder}:${before}`;
  t.after(() => {
    process.env.PATH = before;
  });
  return folder;
}

const ONE: ReadonlyMap<string, WantedOutput> = new Map([['o', OUTPUT]]);

async function look(url: string, outputs: () => ReadonlyMap<string, WantedOutput> = () => ONE) {
  const source = createSource({
    ...{ address: () => Promise.resolve(readAddress(url, '/')), transport: 'tcp', repeat: false },
    trust: () => Promise.resolve({ ca: undefined, insecure: false }),
    ...{ hwaccel: 'none', keyframes: false, outputs, clock: systemClock },
  });
  const frames: Frame[] = [];
  const stop = new AbortController();
  const end = await source(
    { give: (_output, frame) => frames.push(frame), refuse: () => undefined },
    stop.signal,
  ).catch((error: unknown) => error as AppError);
  return { frames, end };
}

const codeOf = (end: unknown): string => (end instanceof AppError ? end.code : String(end));

test('without ffmpeg it is said, with what installs it', async (t) => {
  await ffmpegIs(t, undefined);
  const { end } = await look('rtsp://admin:secret@127.0.0.1:1/a');
  assert.equal(codeOf(end), 'FFMPEG_MISSING');
  assert.match(String(end), /apt-get install ffmpeg/);
});

test('when its outputs are other ones the decoder begins anew with these', async (t) => {
  const folder = await ffmpegIs(
    t,
    `echo "$*" >> "$FOLDER/calls"; printf 'P6\\n1 1\\n255\\nabc' >&3; [ $(wc -l < "$FOLDER/calls") = 2 ] || exec sleep 60`,
  );
  const larger = new Map([['o', { ...OUTPUT, box: { widthPx: 128, heightPx: 128, fit: 'cover' as const } }]]);
  let asked = 0;
  const { frames, end } = await look('rtsp://127.0.0.1:1/a', () => (asked++ === 0 ? ONE : larger));
  assert.deepEqual([frames.length, codeOf(end)], [2, 'CAMERA_ENDED']);
  const calls = (await readFile(join(folder, 'calls'), 'utf8')).split('\n');
  assert.match(calls[0] ?? '', /min\(iw,64\)/);
  assert.match(calls[1] ?? '', /min\(iw,128\).*increase/);
});

test('frames come on its pipe; its end is a failure whatever its exit code says, a file’s is none', async (t) => {
  await ffmpegIs(t, "printf 'P6\\n1 1\\n255\\nabcP6\\n2 1\\n255\\nabcdef' >&3");
  const { frames, end } = await look('rtsp://127.0.0.1:1/a');
  assert.deepEqual(
    frames.map(({ body }) => body.toString()),
    ['P6\n1 1\n255\nabc', 'P6\n2 1\n255\nabcdef'],
  );
  assert.equal(codeOf(end), 'CAMERA_ENDED');
  assert.equal(codeOf((await look('/a.mp4')).end), 'undefined');
});

test('the address goes in by standard input, and nothing that ffmpeg repeats of it comes out', async (t) => {
  const folder = await ffmpegIs(
    t,
    'cat >"$(dirname "$0")/in"; echo "$@" >"$(dirname "$0")/args"; echo "rtsp://admin:p%40ss@cam: 401 Unauthorized p@ss" >&2; exit 1',
  );
  const { end } = await look('rtsp://admin:p%40ss@cam/a');
  assert.equal(codeOf(end), 'CAMERA_REFUSED');
  assert.doesNotMatch(String(end), /p@ss|p%40ss|admin/);
  const { readFile } = await import('node:fs/promises');
  assert.match(await readFile(join(folder, 'in'), 'utf8'), /p%40ss@cam/);
  assert.doesNotMatch(await readFile(join(folder, 'args'), 'utf8'), /p%40ss|cam/);
});

test('what it cannot decode has its code, and so has a decoder that gives something else', async (t) => {
  await ffmpegIs(t, 'echo "Decoding requested, but no decoder found for: hevc" >&2; exit 1');
  assert.equal(codeOf((await look('rtsp://cam/a')).end), 'CAMERA_CODEC');
  await ffmpegIs(t, "printf '<html>' >&3; sleep 20");
  assert.equal(codeOf((await look('rtsp://cam/a')).end), 'CAMERA_NO_STREAM');
});
