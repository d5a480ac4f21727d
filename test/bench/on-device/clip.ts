/** The film that the camera of the bench shows: real photographs, moved and with a sensor’s grain, at a camera’s rate. */
import { execFile } from 'node:child_process';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { inTree } from '../harness.ts';

/** As the film is. */
export const FILM = { widthPx: 1920, heightPx: 1080, fps: 15, kbits: 4_000 };
/** Each photograph is seen for so long. */
const SECONDS = 4;
/** The film goes through as often: encoding it is what takes time here. */
const TIMES = 12;

/** @returns H.264 in MP4, some five minutes */
export async function makeFilm(folder: string): Promise<string> {
  const pictures = inTree('models/efficientnet-lite0/golden');
  const names = (await readdir(pictures)).filter((name) => name.endsWith('.jpg')).sort();
  const { widthPx, heightPx, fps, kbits } = FILM;
  const large = `${Math.ceil(widthPx * 1.25)}:${Math.ceil(heightPx * 1.25)}`;
  const moved = names.map(
    (_, index) =>
      `[${index}]scale=${large}:force_original_aspect_ratio=increase,crop=${large},` +
      `crop=${widthPx}:${heightPx}:x='t*60':y='t*30',setsar=1[p${index}]`,
  );
  const joined = `${names.map((_, index) => `[p${index}]`).join('')}concat=n=${names.length},noise=alls=8:allf=t`;
  const [once, film] = [join(folder, 'once.mp4'), join(folder, 'film.mp4')];
  await run([
    ...names.flatMap((name) => [
      ...['-loop', '1', '-framerate', String(fps), '-t', String(SECONDS)],
      ...['-i', join(pictures, name)],
    ]),
    ...['-filter_complex', [...moved, joined].join(';')],
    ...['-c:v', 'libx264', '-profile:v', 'high', '-preset', 'veryfast', '-bf', '0', '-g', String(2 * fps)],
    ...['-b:v', `${kbits}k`, '-maxrate', `${kbits}k`, '-bufsize', `${2 * kbits}k`, '-pix_fmt', 'yuv420p'],
    once,
  ]);
  await run(['-stream_loop', String(TIMES - 1), '-i', once, '-c', 'copy', film]);
  return film;
}

const run = (args: readonly string[]): Promise<unknown> =>
  promisify(execFile)('ffmpeg', ['-v', 'error', '-y', ...args]);
