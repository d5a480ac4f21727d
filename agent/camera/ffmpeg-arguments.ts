/**
 * What ffmpeg is told: one input, and for each different wish of the pipelines that read the camera one output on a pipe of its own.
 * Masks are drawn here, before a picture leaves the decoder. Pure.
 */
import type { FfmpegInput } from '../../shared/camera/ffmpeg-input.ts';
import { type Box, boxesOf, type Point, within } from './mask-boxes.ts';

/** Pictures as a pipeline wants them. */
export interface Output {
  readonly fps: number;
  /** They keep their shape, and are never enlarged: they fit `inside`, or `cover` it, no larger than that takes. */
  readonly box: { readonly widthPx: number; readonly heightPx: number; readonly fit: 'inside' | 'cover' };
  readonly region: Box | undefined;
  readonly masks: readonly { readonly polygon: readonly Point[]; readonly fill: 'black' | 'blur' }[];
  /** Raw for a runner, encoded where there is none. */
  readonly codec: 'ppm' | 'mjpeg';
}

/** How the input is decoded. */
export interface Decoding {
  readonly hwaccel: string;
  readonly keyframes: boolean;
  /** ffmpeg’s; undefined: of no release. */
  readonly release: readonly [number, number] | undefined;
  /** At which the input comes already; undefined: at its own. */
  readonly inputFps?: number | undefined;
}

/** The first pipe after standard input, output and error. */
export const FIRST_PIPE = 3;
/** A frame of 100 megapixels is refused before memory is taken for it. */
const MAX_PIXELS = 64_000_000;
/** Of one block: whatever length a camera claims. */
const MAX_BLOCK_BYTES = 512 * 1024 * 1024;
/** Of mjpeg, 2 (best) to 31: large enough in the cloud, small enough on the link. */
const JPEG_QUALITY = 4;
/** A blur must not be undone: over such a share of the longer side. */
const BLUR_SHARE = 1 / 24;

/** Arguments without the program, in ffmpeg’s order. */
export function ffmpegArguments(
  input: FfmpegInput,
  outputs: readonly Output[],
  decoding: Decoding,
): string[] {
  return [
    ...['-hide_banner', '-nostdin', '-nostats', '-loglevel', 'error', '-max_alloc', String(MAX_BLOCK_BYTES)],
    ...decoderOptions(decoding),
    ...input.args,
    ...outputs.flatMap((output, index) => outputArguments(output, FIRST_PIPE + index, decoding)),
  ];
}

/** One thread decodes a camera's stream in time, and saves 20 MB. measured: docs/decisions/0030 */
function decoderOptions({ hwaccel, keyframes }: Decoding): string[] {
  const hardware =
    hwaccel === 'none' ? [] : hwaccel === 'v4l2m2m' ? ['-c:v', 'h264_v4l2m2m'] : ['-hwaccel', hwaccel];
  return [
    ...hardware,
    ...(keyframes ? ['-skip_frame', 'nokey'] : []),
    ...['-flags', 'low_delay', '-threads', '1', '-max_pixels', String(MAX_PIXELS)],
  ];
}

function outputArguments(output: Output, pipe: number, { release, inputFps }: Decoding): string[] {
  // -vsync is gone from later releases, -fps_mode is not there before 5.1.
  const isOld = release !== undefined && (release[0] < 5 || (release[0] === 5 && release[1] < 1));
  // Of ten bits a colour, as H.265 may have, it would make pictures of sixteen.
  const codec =
    output.codec === 'ppm'
      ? ['-c:v', 'ppm', '-pix_fmt', 'rgb24']
      : ['-c:v', 'mjpeg', '-q:v', String(JPEG_QUALITY), '-pix_fmt', 'yuvj420p'];
  return [
    ...[
      '-map',
      '0:v:0',
      '-an',
      '-sn',
      '-dn',
      '-vf',
      filtersOf(output, inputFps !== undefined && output.fps >= inputFps),
    ],
    ...(isOld ? ['-vsync', 'passthrough'] : ['-fps_mode', 'passthrough']),
    ...codec,
    ...['-flush_packets', '1', '-f', 'image2pipe', `pipe:${pipe}`],
  ];
}

/** The filter graph of an output: pace, part, size, masks. */
export function filtersOf({ fps, box, region, masks }: Output, isPaced = false): string {
  const { widthPx, heightPx, fit } = box;
  const how = fit === 'inside' ? 'decrease' : 'increase';
  const seen = masks.map(({ polygon, fill }) => ({
    fill,
    polygon: region ? within(polygon, region) : polygon,
  }));
  const ofKind = (kind: 'black' | 'blur'): Box[] =>
    boxesOf(seen.filter(({ fill }) => fill === kind).map(({ polygon }) => polygon));
  const [black, blurred] = [ofKind('black'), ofKind('blur')];
  const graph = [
    // One picture of each span, without making up any: a clock that jumps must not cause a flood.
    ...(isPaced
      ? []
      : [`select='isnan(prev_selected_t)+not(eq(floor(t*${fps}),floor(prev_selected_t*${fps})))'`]),
    ...(region ? [cropOf(region)] : []),
    `scale=w='min(iw,${widthPx})':h='min(ih,${heightPx})':force_original_aspect_ratio=${how}`,
    // Colours at half the size, as video has them, would bleed out of a mask.
    ...(masks.length > 0 ? ['format=gbrp'] : []),
    ...black.map((one) => boxFilter(one, 'black')),
  ].join(',');
  return blurred.length === 0 ? graph : `${graph},${blurOf(blurred, Math.max(widthPx, heightPx))}`;
}

const cropOf = ([left, top, right, bottom]: Box): string =>
  `crop=w='max(1,floor(iw*${number(right - left)}))':h='max(1,floor(ih*${number(bottom - top)}))':x='floor(iw*${number(left)})':y='floor(ih*${number(top)})':exact=1`;

/** Whole pixels, and every one that it touches. */
const boxFilter = ([left, top, right, bottom]: Box, color: string): string =>
  `drawbox=x='floor(iw*${number(left)})':y='floor(ih*${number(top)})':w='max(1,ceil(iw*${number(right)})-x)':h='max(1,ceil(ih*${number(bottom)})-y)':color=${color}:t=fill`;

/** The whole picture blurred, and of it what the boxes show: three copies of one frame cannot come apart. */
function blurOf(boxes: readonly Box[], longerPx: number): string {
  const radiusPx = Math.max(4, Math.min(1_024, Math.round(longerPx * BLUR_SHARE)));
  const blur = `avgblur=sizeX=${radiusPx}`;
  const show = boxes.map((one) => boxFilter(one, 'white')).join(',');
  return [
    'split=3[sharp][copy][plain]',
    `[copy]${blur},${blur}[blurred]`,
    `[plain]drawbox=color=black:t=fill,${show}[shown]`,
    '[sharp][blurred][shown]maskedmerge',
  ].join(';');
}

const number = (share: number): string => share.toFixed(6);
