/**
 * How ffmpeg and ffprobe are told what to read. An address with a password must not stand on a command line, which every user of the
 * machine can read: it comes as an ffconcat script through standard input (docs/decisions/0030). Pure.
 */
import type { CameraAddress } from './address.ts';

/** How a source is to be opened. */
export interface FfmpegInput {
  /** Before the outputs; nothing secret. */
  readonly args: readonly string[];
  /** Written to standard input; undefined: nothing is. */
  readonly script: string | undefined;
}

/** Settings of a source. */
export interface InputOptions {
  readonly transport: 'tcp' | 'udp';
  /** A file goes through again and again. */
  readonly repeat: boolean;
  /** At its own pace, as a camera would. */
  readonly paced: boolean;
}

/** Longer than whoever watches for pictures waits: ours is the word on a camera that says nothing. */
const SOCKET_TIMEOUT_MS = 30_000;
/** No script or playlist of a camera can have a file of this machine read. */
const PROTOCOLS = 'pipe,rtp,rtsp,rtsps,srtp,tcp,udp,tls,http,https,httpproxy,crypto,rtmp,rtmps,rtmpt,srt';

/** @throws nothing: what cannot be opened, ffmpeg says */
export function ffmpegInput(
  { kind, secretUrl }: CameraAddress,
  { transport, repeat, paced }: InputOptions,
): FfmpegInput {
  if (kind === 'device') return { args: ['-f', 'v4l2', '-i', secretUrl], script: undefined };
  if (kind === 'file') {
    const loop = repeat ? ['-stream_loop', '-1'] : [];
    const pace = paced ? ['-re'] : [];
    return {
      args: [...pace, ...loop, '-protocol_whitelist', 'file', '-i', `file:${secretUrl}`],
      script: undefined,
    };
  }
  const options = optionsFor(new URL(secretUrl).protocol, transport);
  const script = [
    'ffconcat version 1.0',
    `file ${quoted(secretUrl)}`,
    ...Object.entries(options).map(([key, value]) => `option ${key} ${value}`),
    '',
  ].join('\n');
  return { args: ['-f', 'concat', '-safe', '0', '-protocol_whitelist', PROTOCOLS, '-i', 'pipe:0'], script };
}

function optionsFor(protocol: string, transport: 'tcp' | 'udp'): Record<string, string> {
  const timeout = {
    [protocol.startsWith('rtsp') ? 'timeout' : 'rw_timeout']: String(SOCKET_TIMEOUT_MS * 1_000),
  };
  const common = { fflags: 'nobuffer+discardcorrupt', ...timeout };
  return protocol.startsWith('rtsp')
    ? { rtsp_transport: transport, allowed_media_types: 'video', ...common }
    : common;
}

/** ffmpeg-utils(1), Quoting and escaping: within quotes nothing but a quote is special. */
const quoted = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`;
