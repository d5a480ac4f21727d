/** Which hardware decoders of ffmpeg’s can be opened on this machine: it lists those that it was built with. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { ffmpegEnv } from './ffmpeg-program.ts';

const WITHIN_MS = 5_000;
const MAX_KINDS = 16;

/** @param path of ffmpeg @returns names for `hwaccel`; empty where all is done by software */
export async function openHardware(path: string): Promise<string[]> {
  const run = async (args: readonly string[]): Promise<string | undefined> => {
    const options = { timeout: WITHIN_MS, env: ffmpegEnv() };
    const said = await promisify(execFile)(path, ['-hide_banner', ...args], options).catch(() => undefined);
    return said?.stdout;
  };
  const [, ...kinds] = ((await run(['-hwaccels'])) ?? '').split('\n').map((line) => line.trim());
  const named = kinds.filter((kind) => /^[a-z0-9_]+$/.test(kind)).slice(0, MAX_KINDS);
  const tried = ['-f', 'lavfi', '-i', 'color=size=16x16', '-frames:v', '1', '-f', 'null', '-'];
  const opened = await Promise.all(
    named.map(async (kind) => (await run(['-init_hw_device', kind, ...tried])) !== undefined),
  );
  return named.filter((_, index) => opened[index]);
}
