/** What a camera's pictures come from: ffmpeg at its address, or our own requests, with ffmpeg behind them where pixels are to be changed. */
import type { Writable } from 'node:stream';
import { type CameraAddress, scrubbed } from '../../shared/camera/address.ts';
import type { CameraTrust } from '../../shared/camera/camera-tls.ts';
import { type FfmpegInput, ffmpegInput } from '../../shared/camera/ffmpeg-input.ts';
import { findFfmpeg } from '../../shared/camera/ffmpeg-program.ts';
import { PPM_TYPE } from '../../shared/inference/runner/ppm.ts';
import type { Clock } from '../../shared/runtime/clock.ts';
import { AppError } from '../../shared/runtime/errors.ts';
import type { RunSource } from './camera.ts';
import { runFfmpeg } from './ffmpeg.ts';
import { ffmpegArguments, type Output } from './ffmpeg-arguments.ts';
import { type FrameReader, JpegReader, PpmReader } from './frames.ts';
import { readHttpCamera } from './http-camera.ts';

/** A camera and what is wanted of it. */
export interface SourceOptions {
  /** Asked for at each start: an ONVIF camera may have moved its stream. @throws CAMERA_* */
  readonly address: () => Promise<CameraAddress>;
  /** Of `https`; asked for at each start. @throws FILE_UNREADABLE, CONFIG_INVALID */
  readonly trust: () => Promise<CameraTrust>;
  readonly transport: 'tcp' | 'udp';
  readonly repeat: boolean;
  readonly hwaccel: string;
  readonly keyframes: boolean;
  /** By the names under which they are given; asked at each picture, and another map begins them anew. */
  readonly outputs: () => ReadonlyMap<string, WantedOutput>;
  readonly clock: Clock;
}

/** Pictures as a pipeline wants them. */
export interface WantedOutput extends Output {
  /** Nothing is to be changed: a JPEG of the camera goes as it came. */
  readonly isAsItComes: boolean;
}

type Named = readonly (readonly [name: string, output: Output])[];
type Give = Parameters<RunSource>[0]['give'];

const JPEG_TYPE = 'image/jpeg';
/** Between our requests and the decoder: each part says its length, so that no picture waits for the next one. RFC 2046 5.1 */
const JPEG_INPUT: FfmpegInput = {
  args: [
    ...[
      '-fflags',
      'nobuffer',
      '-probesize',
      '32',
      '-analyzeduration',
      '0',
      '-use_wallclock_as_timestamps',
      '1',
    ],
    ...['-f', 'mpjpeg', '-i', 'pipe:0'],
  ],
  script: undefined,
};

/** Makes the source of a camera. */
export function createSource(options: SourceOptions): RunSource {
  return async ({ give, refuse }, signal) => {
    while (!signal.aborted) {
      const outputs = options.outputs();
      const changing = new AbortController();
      const onFrame: Give = (name, frame) => {
        give(name, frame);
        if (options.outputs() !== outputs) changing.abort();
      };
      const ending = AbortSignal.any([signal, changing.signal]);
      await look(options, outputs, { give: onFrame, refuse }, ending);
      if (!changing.signal.aborted) return;
    }
  };
}

/** One look with the outputs as they are. */
async function look(
  options: SourceOptions,
  outputs: ReadonlyMap<string, WantedOutput>,
  { give, refuse }: Parameters<RunSource>[0],
  signal: AbortSignal,
): Promise<void> {
  const address = await options.address();
  const named: Named = [...outputs];
  if (address.kind !== 'http') return decode(options, address, named, give, signal);
  const found = await readPictures(options, address, outputs, { give, refuse }, signal);
  if (found === 'video' && !signal.aborted) return decode(options, address, named, give, signal);
  // A camera's stream has no end; a file's has.
  if (!signal.aborted) throw new AppError('CAMERA_ENDED', `the camera ${address.shown}: its stream ended`);
}

async function decode(
  { transport, repeat, hwaccel, keyframes, clock }: SourceOptions,
  address: CameraAddress,
  outputs: Named,
  give: Give,
  signal: AbortSignal,
): Promise<void> {
  const { path, release } = await findFfmpeg();
  const input = ffmpegInput(address, { transport, repeat, paced: true });
  await runFfmpeg(
    {
      program: path,
      args: ffmpegArguments(
        input,
        outputs.map(([, output]) => output),
        { hwaccel, keyframes, release },
      ),
      script: input.script,
      readers: readersOf(outputs, give),
      shown: address.shown,
      scrub: (words) => scrubbed(words, address),
      clock,
    },
    signal,
  );
  if (address.kind !== 'file' && !signal.aborted)
    throw new AppError('CAMERA_ENDED', `the camera ${address.shown}: its stream ended`);
}

/** Our own requests; what is to be changed goes on to a decoder, which runs as long as they do. */
async function readPictures(
  { clock, trust }: SourceOptions,
  address: CameraAddress,
  outputs: ReadonlyMap<string, WantedOutput>,
  { give, refuse }: Parameters<RunSource>[0],
  signal: AbortSignal,
): Promise<'ended' | 'video'> {
  const all = [...outputs];
  const fps = Math.max(...all.map(([, output]) => output.fps));
  const direct = all.filter(([, output]) => output.isAsItComes);
  const changed: Named = all.filter(([, output]) => !output.isAsItComes);
  const trusted = await trust();
  const program = changed.length > 0 ? await findFfmpeg() : undefined;
  const ending = new AbortController();
  const stop = (): void => ending.abort();
  signal.addEventListener('abort', stop, { once: true });
  let decoder: Promise<void> | undefined;
  let broken: unknown;
  let to: Writable | undefined;
  const begin = (first: Buffer): void => {
    decoder ??= runFfmpeg(
      {
        program: program?.path ?? '',
        args: ffmpegArguments(
          JPEG_INPUT,
          changed.map(([, output]) => output),
          {
            ...{ hwaccel: 'none', keyframes: false, release: program?.release, inputFps: fps },
          },
        ),
        feed: (writable) => {
          to = writable;
          // The decoder looks at one picture to see what it is, and gives none for it.
          writePart(to, first);
        },
        readers: readersOf(changed, give),
        shown: address.shown,
        scrub: (words) => scrubbed(words, address),
        clock,
      },
      ending.signal,
    ).catch((error: unknown) => {
      broken = error;
      ending.abort();
    });
  };
  const last = new Map<string, number>();
  try {
    const found = await readHttpCamera(
      {
        ...{ address, fps, clock, trust: trusted, onRefused: refuse },
        give: (jpeg) => {
          for (const [name, output] of direct) {
            const span = Math.floor((clock.nowMonoMs() / 1_000) * output.fps);
            if (output.fps < fps && last.get(name) === span) continue;
            last.set(name, span);
            give(name, { body: jpeg, contentType: JPEG_TYPE });
          }
          if (changed.length === 0) return;
          begin(jpeg);
          // What the decoder has not taken yet must not pile up.
          if (to && to.writableLength === 0) writePart(to, jpeg);
          else if (to?.writableNeedDrain === false) writePart(to, jpeg);
        },
      },
      ending.signal,
    );
    if (broken !== undefined) throw broken;
    return found;
  } finally {
    signal.removeEventListener('abort', stop);
    ending.abort();
    await decoder;
  }
}

function writePart(to: Writable, jpeg: Buffer): void {
  to.write(`--frame\r\nContent-Type: ${JPEG_TYPE}\r\nContent-Length: ${jpeg.length}\r\n\r\n`);
  to.write(jpeg);
  to.write('\r\n');
}

const readersOf = (outputs: Named, give: Give): FrameReader[] =>
  outputs.map(([name, { codec }]) =>
    codec === 'ppm'
      ? new PpmReader((body) => give(name, { body, contentType: PPM_TYPE }))
      : new JpegReader(({ body }) => give(name, { body, contentType: JPEG_TYPE })),
  );
