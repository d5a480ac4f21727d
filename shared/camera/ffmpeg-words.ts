/** What ffmpeg's last words mean, in codes of ours. Pure; the words come scrubbed. */
import { AppError, type ErrorCode } from '../runtime/errors.ts';

/** In this order: a refusal is also "could not open". */
const MEANINGS: readonly (readonly [RegExp, ErrorCode, string])[] = [
  [/\b401\b|unauthori[sz]ed|authorization failed/i, 'CAMERA_REFUSED', 'it refuses the name or the password'],
  [/\b403\b|forbidden/i, 'CAMERA_REFUSED', 'it forbids this user its picture'],
  [
    /exceeds specified max pixel count|picture size \d+x\d+ is invalid|max_pixels/i,
    'IMAGE_TOO_LARGE',
    'its pictures have too many pixels',
  ],
  [
    /resolve hostname|name or service not known|nodename nor servname|temporary failure in name/i,
    'CAMERA_UNREACHABLE',
    'its name cannot be resolved',
  ],
  [/connection refused/i, 'CAMERA_UNREACHABLE', 'nobody listens there'],
  [
    /no route to host|network is unreachable|host is down|host is unreachable/i,
    'CAMERA_UNREACHABLE',
    'the network does not reach it',
  ],
  [/connection timed out|operation timed out|etimedout/i, 'CAMERA_UNREACHABLE', 'it does not answer'],
  [
    /error in the pull function|tls|handshake|certificate/i,
    'CAMERA_UNREACHABLE',
    'no secure connection could be made',
  ],
  [
    /decoder \(codec [^)]*\) not found|could not find codec parameters|decoding requested, but no decoder|unknown decoder|decoder not found|no decoder could be found/i,
    'CAMERA_CODEC',
    'ffmpeg cannot decode it',
  ],
  [
    /no device available for decoder|device setup failed|unrecognized hwaccel|could not find a valid device|can't configure decoder/i,
    'CAMERA_CODEC',
    'the decoder that hwaccel names does not work',
  ],
  [
    /\b(400|404|405|410|454|461|5\d\d)\b|not found|bad request/i,
    'CAMERA_NO_STREAM',
    'there is no stream at this address',
  ],
  [/cannot open video device.*no such file/i, 'CAMERA_UNREACHABLE', 'the device is not there'],
  [/no such file/i, 'CAMERA_NO_STREAM', 'there is no such file'],
  [/is a directory/i, 'CAMERA_NO_STREAM', 'this is a folder'],
  [
    /matches no streams|invalid data found|does not contain any stream|protocol not found|inappropriate ioctl|could not write header|invalid argument|protocol .* not on whitelist/i,
    'CAMERA_NO_STREAM',
    'what is there is no video',
  ],
  [/permission denied|operation not permitted/i, 'CAMERA_NO_STREAM', 'the agent may not open it'],
  [
    /no such device|device or resource busy/i,
    'CAMERA_UNREACHABLE',
    'the device is away, or another program has it',
  ],
  [
    /connection reset|broken pipe|input\/output error|end of file/i,
    'CAMERA_UNREACHABLE',
    'the connection broke off',
  ],
];
/** Lines that say nothing of a failure; `hwaccel: auto` tries what is not there, and goes on by software. */
const NOISE =
  /device creation failed|cannot load \S+\.so|could not dynamically load|cannot open the x11 display|deprecated pixel format|unused options|last message repeated|co located pocs|rtp: |max delay reached|non-monotonous|concealing|missed \d+ packets|unset timestamps|video_delay|guessed channel/i;
const MAX_WORDS_CHARS = 200;

/**
 * @param shown the camera, for people
 * @param lastWords of ffmpeg's standard error, without secrets
 * @returns CAMERA_REFUSED, CAMERA_UNREACHABLE, CAMERA_CODEC, CAMERA_NO_STREAM, IMAGE_TOO_LARGE; CAMERA_ENDED where it said nothing
 */
export function failureOf(shown: string, lastWords: string): AppError {
  const lines = lastWords
    .split(/[\r\n]+/)
    .map((line) =>
      line
        .replace(/^(\[[^\]]*\]\s*)+/, '')
        .replace(/^pipe:\d+: /, '')
        .replace(/\?timeout=-?\d+/, '')
        .trim(),
    )
    .filter((line) => line !== '' && !NOISE.test(line));
  const text = lines.join('\n');
  for (const [pattern, code, meaning] of MEANINGS)
    if (pattern.test(text))
      return new AppError(
        code,
        `the camera ${shown}: ${meaning}${wordsOf(lines.find((line) => pattern.test(line)))}`,
      );
  const last = lines.at(-1);
  return new AppError('CAMERA_ENDED', `the camera ${shown}: its stream ended${wordsOf(last)}`);
}

const wordsOf = (line: string | undefined): string =>
  line === undefined ? '' : ` (${line.slice(0, MAX_WORDS_CHARS)})`;
