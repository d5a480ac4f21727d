/** What a stream is, told by ffprobe: size, pictures a second, codec. */
import { spawn } from 'node:child_process';
import { z } from 'zod';
import { AppError } from '../runtime/errors.ts';
import { type CameraAddress, scrubbed } from './address.ts';
import { ffmpegInput } from './ffmpeg-input.ts';
import { ffmpegEnv, findFfmpeg } from './ffmpeg-program.ts';
import { failureOf } from './ffmpeg-words.ts';

/** A stream as it is. */
export interface ProbedStream {
  /** `h264`, `hevc`, `mjpeg` */
  readonly codec: string;
  readonly widthPx: number;
  readonly heightPx: number;
  /** null: it does not say. */
  readonly fps: number | null;
}

const PROBE_WITHIN_MS = 20_000;
const MAX_OUTPUT_CHARS = 64 * 1024;

const answer = z.object({
  streams: z.array(
    z.object({
      codec_name: z.string().default('unknown'),
      width: z.number(),
      height: z.number(),
      avg_frame_rate: z.string().optional(),
      r_frame_rate: z.string().optional(),
    }),
  ),
});

/** @throws FFMPEG_MISSING, CAMERA_UNREACHABLE, CAMERA_REFUSED, CAMERA_NO_STREAM, CAMERA_CODEC, CAMERA_STALLED */
export async function probeStream(address: CameraAddress): Promise<ProbedStream> {
  const { path } = await findFfmpeg('ffprobe');
  const input = ffmpegInput(address, { transport: 'tcp', repeat: false, paced: false });
  const args = [
    ...['-hide_banner', '-loglevel', 'error', '-select_streams', 'v:0', '-of', 'json'],
    ...['-show_entries', 'stream=codec_name,width,height,avg_frame_rate,r_frame_rate', ...input.args],
  ];
  const { code, output, words } = await run(path, args, input.script);
  if (code === null)
    throw new AppError(
      'CAMERA_STALLED',
      `the camera ${address.shown}: nothing came within ${PROBE_WITHIN_MS / 1000} s`,
    );
  const parsed = answer.safeParse(toJson(output));
  const [stream] = parsed.data?.streams ?? [];
  if (code !== 0) throw failureOf(address.shown, scrubbed(words, address));
  if (!stream)
    throw new AppError('CAMERA_NO_STREAM', `the camera ${address.shown}: what is there is no video`);
  return {
    codec: stream.codec_name,
    ...{ widthPx: stream.width, heightPx: stream.height },
    fps: rateOf(stream.avg_frame_rate) ?? rateOf(stream.r_frame_rate),
  };
}

function run(
  path: string,
  args: readonly string[],
  script: string | undefined,
): Promise<{ readonly code: number | null; readonly output: string; readonly words: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(path, args, {
      stdio: ['pipe', 'pipe', 'pipe'],
      env: ffmpegEnv(),
      timeout: PROBE_WITHIN_MS,
      killSignal: 'SIGKILL',
    });
    let [output, words] = ['', ''];
    child.stdout.on('data', (chunk: Buffer) => {
      output = (output + chunk.toString()).slice(0, MAX_OUTPUT_CHARS);
    });
    child.stderr.on('data', (chunk: Buffer) => {
      words = (words + chunk.toString()).slice(-MAX_OUTPUT_CHARS);
    });
    child.stdin.on('error', () => undefined);
    child.stdin.end(script ?? '');
    child.once('error', reject);
    child.once('close', (code) => resolve({ code, output, words }));
  });
}

function toJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** `25/1`, `0/0` */
function rateOf(text: string | undefined): number | null {
  const [over = 0, under = 0] = (text ?? '').split('/').map(Number);
  return over > 0 && under > 0 && over / under <= 240 ? Math.round((over / under) * 100) / 100 : null;
}
