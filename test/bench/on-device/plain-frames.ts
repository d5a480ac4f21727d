/** ffmpeg as scripts call it, and frames out of its pipe: what both scripts of the bench have in common. */
import { spawn } from 'node:child_process';
import { appendFile } from 'node:fs/promises';
import type { Readable } from 'node:stream';

/** Reads a camera at a rate; ends this process when the camera does. @returns its standard output */
export function readCamera(url: string, output: readonly string[]): Readable {
  const args = ['-v', 'error', '-rtsp_transport', 'tcp', '-fflags', 'nobuffer', '-flags', 'low_delay'];
  const ffmpeg = spawn('ffmpeg', [...args, '-i', url, '-an', ...output, 'pipe:1'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  ffmpeg.once('close', () => process.exit(1));
  process.once('SIGTERM', () => {
    ffmpeg.kill('SIGKILL');
    process.exit(0);
  });
  return ffmpeg.stdout;
}

/** Answers the newest picture, one at a time, each a line in the file. */
export function answerEach(
  file: string,
  labelOf: (frame: Buffer) => Promise<string>,
): (frame: Buffer) => void {
  let newest: { frame: Buffer; at: string } | undefined;
  let isBusy = false;
  const work = async (): Promise<void> => {
    isBusy = true;
    while (newest) {
      const { frame, at } = newest;
      newest = undefined;
      const label = await labelOf(frame);
      await appendFile(file, `${JSON.stringify({ input: `script ${at}`, label })}\n`);
    }
    isBusy = false;
  };
  return (frame) => {
    newest = { frame, at: new Date().toISOString() };
    if (!isBusy) void work();
  };
}
