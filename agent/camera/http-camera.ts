/**
 * A camera behind HTTP, asked by us: MJPEG, or single pictures again and again over one connection. Whatever comes instead is told
 * apart, and read no further than its bounds.
 */
import { Agent as HttpAgent, request as httpRequest, type IncomingMessage } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import { type CameraAddress, withoutCredentials } from '../../shared/camera/address.ts';
import { type CameraTrust, cameraTls } from '../../shared/camera/camera-tls.ts';
import { authorization } from '../../shared/camera/http-auth.ts';
import type { Clock } from '../../shared/runtime/clock.ts';
import { AppError, systemCode } from '../../shared/runtime/errors.ts';
import { isUntrusted } from '../../shared/runtime/trust.ts';
import { type JpegFrame, JpegReader } from './frames.ts';

/** Without a byte; one that sends some, and no picture, stalls. */
const SOCKET_TIMEOUT_MS = 5_000;
const MAX_HEADER_BYTES = 16 * 1024;
const MAX_REDIRECTS = 3;
/** Of one JPEG. */
const MAX_JPEG_BYTES = 32 * 1024 * 1024;
/** As the runner has it: one that is larger is passed over. */
const MAX_JPEG_PX = 64_000_000;

/** A camera that is asked, and what becomes of its pictures. */
export interface HttpCameraOptions {
  readonly address: CameraAddress;
  /** Whom `https` believes. */
  readonly trust: CameraTrust;
  /** Pictures a second, at most. */
  readonly fps: number;
  readonly clock: Clock;
  readonly give: (jpeg: Buffer) => void;
  /** A picture that nobody can use, by its code. */
  readonly onRefused: (error: AppError) => void;
}

/** Pictures were found, and the stream has ended; or it is video, which a decoder must read. */
type HttpEnd = 'ended' | 'video';

/**
 * Gives pictures until the signal aborts.
 *
 * @throws CAMERA_UNREACHABLE, CAMERA_UNTRUSTED, CAMERA_REFUSED, CAMERA_NO_STREAM
 */
export async function readHttpCamera(options: HttpCameraOptions, signal: AbortSignal): Promise<HttpEnd> {
  const { address, clock, fps, trust } = options;
  const isTls = new URL(address.secretUrl).protocol === 'https:';
  const agent = isTls
    ? new HttpsAgent({ ...cameraTls(trust), keepAlive: true, maxSockets: 1 })
    : new HttpAgent({ keepAlive: true, maxSockets: 1 });
  try {
    while (!signal.aborted) {
      const startMonoMs = clock.nowMonoMs();
      const response = await ask(options, agent, signal);
      const kind = kindOf(response, address.shown);
      if (kind === 'video') {
        response.destroy();
        return 'video';
      }
      await readPictures(response, options, kind === 'snapshot');
      if (kind === 'stream') return 'ended';
      await clock
        .sleep(Math.max(0, 1_000 / fps - (clock.nowMonoMs() - startMonoMs)), signal, true)
        .catch(() => undefined);
    }
    return 'ended';
  } catch (error) {
    if (signal.aborted) return 'ended';
    throw toCameraError(error, address.shown);
  } finally {
    agent.destroy();
  }
}

/** Asks, proves who we are where that is wanted, and follows to other addresses of the same camera. */
async function ask(
  { address }: HttpCameraOptions,
  agent: HttpAgent,
  signal: AbortSignal,
): Promise<IncomingMessage> {
  const { shown, credentials } = address;
  let url = new URL(withoutCredentials(address.secretUrl));
  let header: string | undefined;
  for (let turn = 0; turn <= MAX_REDIRECTS + 1; turn++) {
    const response = await get(url, agent, header, signal);
    const { statusCode: status = 0, headers } = response;
    if (status === 401 && credentials && header === undefined) {
      response.resume();
      header = authorization(headers['www-authenticate'] ?? '', {
        method: 'GET',
        uri: `${url.pathname}${url.search}`,
        credentials,
      });
      if (header !== undefined) continue;
    }
    const next =
      status >= 300 && status < 400 && headers.location !== undefined
        ? new URL(headers.location, url)
        : undefined;
    if (next?.host === url.host && next.protocol === url.protocol) {
      response.resume();
      url = next;
      header = undefined;
      continue;
    }
    if (status === 200) return response;
    response.destroy();
    if (status === 401 || status === 403)
      throw new AppError(
        'CAMERA_REFUSED',
        `the camera ${shown}: it refuses the name or the password (HTTP ${status})`,
      );
    const what = next
      ? `it sends us to another host, ${next.host}`
      : `there is no stream at this address (HTTP ${status})`;
    throw new AppError(
      status >= 500 ? 'CAMERA_UNREACHABLE' : 'CAMERA_NO_STREAM',
      `the camera ${shown}: ${what}`,
    );
  }
  throw new AppError('CAMERA_NO_STREAM', `the camera ${shown}: it sends us in a circle`);
}

function get(
  url: URL,
  agent: HttpAgent,
  authorizationHeader: string | undefined,
  signal: AbortSignal,
): Promise<IncomingMessage> {
  const send = url.protocol === 'https:' ? httpsRequest : httpRequest;
  return new Promise((resolve, reject) => {
    const asked = send(url, {
      ...{ agent, maxHeaderSize: MAX_HEADER_BYTES, timeout: SOCKET_TIMEOUT_MS },
      headers: {
        accept: 'image/jpeg, multipart/x-mixed-replace, */*',
        ...(authorizationHeader !== undefined && { authorization: authorizationHeader }),
      },
    });
    const end = (why: string, code: string): void =>
      void asked.destroy(Object.assign(new Error(why), { code }));
    // Without an error: after the last byte the connection is nobody's who would hear it.
    const onAbort = (): void => void asked.destroy();
    // Headers that come a line at a time never end, and no pause is long enough for the other time-out.
    const late = setTimeout(() => end('no answer', 'ETIMEDOUT'), 2 * SOCKET_TIMEOUT_MS);
    asked.on('timeout', () => end('no answer', 'ETIMEDOUT'));
    // It may come after the answer, too, when nobody waits for this any more.
    asked.on('error', (error) => {
      clearTimeout(late);
      reject(error);
    });
    asked.once('response', (response) => {
      clearTimeout(late);
      // Whoever reads it hears of it first; after the last byte nobody does.
      response.on('error', () => undefined);
      resolve(response);
    });
    asked.once('close', () => signal.removeEventListener('abort', onAbort));
    signal.addEventListener('abort', onAbort, { once: true });
    if (signal.aborted) onAbort();
    asked.end();
  });
}

/** @throws CAMERA_NO_STREAM */
function kindOf({ headers }: IncomingMessage, shown: string): 'snapshot' | 'stream' | 'video' {
  const type = headers['content-type']?.split(';')[0]?.trim().toLowerCase() ?? '';
  if (type === 'image/jpeg' || type === 'image/jpg') return 'snapshot';
  if (type === '' || type.startsWith('multipart/') || type === 'video/x-motion-jpeg') return 'stream';
  if (/^(video|audio)\/|mpegurl|octet-stream|dash\+xml/.test(type)) return 'video';
  throw new AppError(
    'CAMERA_NO_STREAM',
    `the camera ${shown}: it sends ${type.slice(0, 60)}, which is no picture`,
  );
}

/** @throws CAMERA_NO_STREAM, CAMERA_UNREACHABLE */
async function readPictures(
  response: IncomingMessage,
  { address: { shown }, fps, give, onRefused, clock }: HttpCameraOptions,
  isSnapshot: boolean,
): Promise<void> {
  let count = 0;
  let span = Number.NEGATIVE_INFINITY;
  const reader = new JpegReader(
    (jpeg) => {
      count++;
      const now = Math.floor((clock.nowMonoMs() / 1_000) * fps);
      // Of a stream no more than is wanted: the rest is not passed over, it is not asked for.
      if (!isSnapshot && now === span) return;
      span = now;
      if (isTooLarge(jpeg)) onRefused(tooLarge(shown, jpeg));
      else give(jpeg.body);
    },
    { maxBytes: MAX_JPEG_BYTES },
  );
  response.setTimeout(2 * SOCKET_TIMEOUT_MS, () =>
    response.destroy(Object.assign(new Error('no bytes'), { code: 'ETIMEDOUT' })),
  );
  try {
    for await (const chunk of response as AsyncIterable<Buffer>) reader.push(chunk);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new AppError(
      'CAMERA_NO_STREAM',
      `the camera ${shown}: what it sends is no JPEG (${error.message})`,
      { cause: error },
    );
  }
  if (count === 0)
    throw new AppError('CAMERA_NO_STREAM', `the camera ${shown}: what it sends is no whole JPEG`);
}

const isTooLarge = ({ widthPx, heightPx }: JpegFrame): boolean => widthPx * heightPx > MAX_JPEG_PX;
const tooLarge = (shown: string, { widthPx, heightPx }: JpegFrame): AppError =>
  new AppError('IMAGE_TOO_LARGE', `the camera ${shown}: its pictures have ${widthPx}x${heightPx} pixels`);

const WORDS: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'nobody listens there',
  ENOTFOUND: 'its name cannot be resolved',
  EAI_AGAIN: 'its name cannot be resolved, no DNS server answers',
  ETIMEDOUT: 'it does not answer',
  EHOSTUNREACH: 'the network does not reach it',
  ENETUNREACH: 'the network does not reach it',
};

/** In words without the address as it was asked, in which a camera may want its password. */
function toCameraError(error: unknown, shown: string): AppError {
  if (error instanceof AppError) return error;
  const code = systemCode(error) ?? '';
  if (code.startsWith('HPE_'))
    return new AppError('CAMERA_NO_STREAM', `the camera ${shown}: what it sends is no HTTP (${code})`, {
      cause: error,
    });
  if (isUntrusted(error))
    return new AppError(
      'CAMERA_UNTRUSTED',
      `the camera ${shown}: its certificate is not vouched for (${code})`,
      { cause: error },
    );
  const isTls = /CERT|TLS|SSL|EPROTO/.test(code);
  const what =
    WORDS[code] ?? (isTls ? `no secure connection (${code})` : `the connection broke off (${code})`);
  return new AppError('CAMERA_UNREACHABLE', `the camera ${shown}: ${what}`, { cause: error });
}
