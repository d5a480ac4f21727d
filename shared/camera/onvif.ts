/** The streams of an ONVIF camera, asked in its own protocol (npm `onvif`), and a wrong name or password told as such. */
import { Agent as HttpAgent } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';
import onvif from 'onvif/promises/index.js';
import { z } from 'zod';
import { systemClock } from '../runtime/clock.ts';
import { AppError, systemCode } from '../runtime/errors.ts';
import { within } from '../runtime/within.ts';
import { addressProblem, type CameraAddress, readAddress } from './address.ts';

/** One stream that a camera has. */
interface OnvifStream {
  readonly name: string;
  /** `H264`, `H265`, `JPEG`, as the camera says it. */
  readonly codec: string;
  readonly widthPx: number;
  readonly heightPx: number;
  /** null: it does not say. */
  readonly fps: number | null;
  readonly address: CameraAddress;
}

/** What an ONVIF camera says of itself, its largest stream first. */
interface OnvifCamera {
  readonly maker: string;
  readonly model: string;
  readonly streams: readonly OnvifStream[];
}

const ANSWER_WITHIN_MS = 8_000;
const ALL_WITHIN_MS = 20_000;
const MAX_STREAMS = 16;
/** Below it little is seen of anything. */
const LEAST_WIDTH_PX = 320;

/** What is used of its answers, which come as whatever a camera sends. */
const profile = z.object({
  name: z.coerce.string().catch(''),
  $: z.object({ token: z.coerce.string() }),
  videoEncoderConfiguration: z
    .object({
      encoding: z.coerce.string().catch(''),
      resolution: z.object({ width: z.coerce.number(), height: z.coerce.number() }),
      rateControl: z.object({ frameRateLimit: z.coerce.number().positive() }).optional().catch(undefined),
    })
    .optional()
    .catch(undefined),
});
const information = z.object({
  manufacturer: z.coerce.string().catch(''),
  model: z.coerce.string().catch(''),
});

/**
 * @param address of the camera: `onvif://name:password@host:port`
 * @throws CAMERA_UNREACHABLE, CAMERA_REFUSED, CAMERA_NO_STREAM
 */
export async function askOnvif(address: CameraAddress, useTls = false): Promise<OnvifCamera> {
  const { hostname, port, pathname } = new URL(address.secretUrl);
  const agent = useTls ? new HttpsAgent() : new HttpAgent();
  const camera = new onvif.Cam({
    hostname: hostname.replace(/^\[|\]$/g, ''),
    ...(port !== '' && { port: Number(port) }),
    ...(pathname.length > 1 && { path: pathname }),
    ...(address.credentials ?? {}),
    ...{ timeout: ANSWER_WITHIN_MS, useSecure: useTls, autoconnect: false, preserveAddress: true, agent },
  });
  // It warns by an event, and an error without a listener would end the program.
  for (const event of ['error', 'warning']) camera.on(event, () => undefined);
  try {
    const answer = await within(
      systemClock,
      ALL_WITHIN_MS,
      streamsOf(camera as unknown as AskedCamera, address),
    );
    if (answer) return answer;
    throw new AppError(
      'CAMERA_UNREACHABLE',
      `the camera ${address.shown}: it does not answer to ONVIF in time`,
    );
  } catch (error) {
    throw toCameraError(error, address.shown);
  } finally {
    agent.destroy();
  }
}

/** The stream that a camera is to be read by. @throws as askOnvif */
export async function streamOfOnvif(address: CameraAddress, which: 'main' | 'sub'): Promise<CameraAddress> {
  const { streams } = await askOnvif(address);
  const chosen = chooseStream(streams, which);
  if (chosen) return chosen.address;
  throw new AppError('CAMERA_NO_STREAM', `the camera ${address.shown}: it names no stream`);
}

/** @param streams the largest first */
export function chooseStream<T extends { readonly widthPx: number }>(
  streams: readonly T[],
  which: 'main' | 'sub',
): T | undefined {
  return which === 'main'
    ? streams[0]
    : (streams.filter(({ widthPx }) => widthPx >= LEAST_WIDTH_PX).at(-1) ?? streams[0]);
}

/** What its types leave out. */
interface AskedCamera extends Omit<InstanceType<typeof onvif.Cam>, 'getStreamUri'> {
  readonly profiles?: unknown;
  getStreamUri(options: { readonly protocol: string; readonly profileToken: string }): Promise<unknown>;
}

async function streamsOf(camera: AskedCamera, address: CameraAddress): Promise<OnvifCamera> {
  await camera.connect();
  const said = information.safeParse(await camera.getDeviceInformation());
  const { manufacturer: maker = '', model = '' } = said.data ?? {};
  const streams: OnvifStream[] = [];
  for (const one of (Array.isArray(camera.profiles) ? camera.profiles : []).slice(0, MAX_STREAMS)) {
    const parsed = profile.safeParse(one);
    const encoder = parsed.data?.videoEncoderConfiguration;
    if (!parsed.data || !encoder) continue;
    const uri = z
      .object({ uri: z.string() })
      .safeParse(await camera.getStreamUri({ protocol: 'RTSP', profileToken: parsed.data.$.token }));
    const found = uri.data && addressOf(uri.data.uri, address);
    if (!found) continue;
    const { resolution, encoding, rateControl } = encoder;
    streams.push({
      name: parsed.data.name,
      codec: encoding,
      ...{ widthPx: resolution.width, heightPx: resolution.height },
      fps: rateControl?.frameRateLimit ?? null,
      address: found,
    });
  }
  return {
    maker,
    model,
    streams: streams.sort((one, other) => other.widthPx * other.heightPx - one.widthPx * one.heightPx),
  };
}

/** Of the camera that was asked, whatever it calls itself: nobody else gets its password. */
function addressOf(uri: string, { secretUrl }: CameraAddress): CameraAddress | undefined {
  if (addressProblem(uri) !== undefined || !/^rtsps?:/i.test(uri)) return undefined;
  const [url, asked] = [new URL(uri), new URL(secretUrl)];
  url.hostname = asked.hostname;
  url.username = asked.username;
  url.password = asked.password;
  return readAddress(url.href, '/');
}

function toCameraError(error: unknown, shown: string): AppError {
  if (error instanceof AppError) return error;
  const text = error instanceof Error ? error.message : String(error);
  if (/not ?authori[sz]ed|unauthori[sz]ed|authentication failed|\b401\b|sender not/i.test(text))
    return new AppError('CAMERA_REFUSED', `the camera ${shown}: it refuses the name or the password`, {
      cause: error,
    });
  const code = systemCode(error);
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN')
    return new AppError('CAMERA_UNREACHABLE', `the camera ${shown}: its name cannot be resolved`, {
      cause: error,
    });
  return code !== undefined || /timeout|ECONN|hang up/i.test(text)
    ? new AppError(
        'CAMERA_UNREACHABLE',
        `the camera ${shown}: it does not answer to ONVIF (${code ?? 'no answer'})`,
        { cause: error },
      )
    : new AppError('CAMERA_NO_STREAM', `the camera ${shown}: what answers there speaks no ONVIF`, {
        cause: error,
      });
}
