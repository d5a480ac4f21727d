/** `outrider cameras find` and `probe`: which cameras there are, which streams one has, what each costs, and the lines to paste. */

import {
  addressProblem,
  type CameraAddress,
  readAddress,
  withoutCredentials,
} from '../../shared/camera/address.ts';
import { findCameras } from '../../shared/camera/discovery.ts';
import { type ProbedStream, probeStream } from '../../shared/camera/ffprobe.ts';
import { askOnvif, chooseStream } from '../../shared/camera/onvif.ts';
import { AppError, toAppError, toErrorBody } from '../../shared/runtime/errors.ts';
import { print, table } from '../output.ts';

/** Of one core of a small machine at 25 pictures a second, for each million pixels of a picture. measured: docs/decisions/0030 */
const CORE_SHARE = { decoded: 0.063, keyframes: 0.012 };
const USUAL_FPS = 25;

interface Found extends ProbedStream {
  readonly name: string;
  /** Without credentials. */
  readonly url: string;
  readonly recommended: boolean;
  /** Shares of a core. */
  readonly cost: { readonly decoded: number; readonly keyframes: number };
}

/** `outrider cameras find` */
export async function findThem({
  timeout,
  json,
}: {
  readonly timeout: string;
  readonly json?: boolean;
}): Promise<void> {
  const seconds = Number(timeout);
  if (!(seconds > 0 && seconds <= 60))
    throw new AppError('USAGE', '--timeout is a number of seconds, 60 at most');
  const cameras = await findCameras(seconds * 1_000);
  print(json, { cameras }, () =>
    cameras.length === 0
      ? 'No camera has answered. ONVIF may be switched off in it, or it is in another network: outrider cameras probe HOST asks it directly.'
      : `${table(
          ['camera', 'address'],
          cameras.map(({ name, url }) => [name, url]),
        )}\n\nWhat one has: outrider cameras probe onvif://NAME:PASSWORD@HOST`,
  );
}

/** `outrider cameras probe` */
export async function probeCamera(
  given: string,
  { user, json }: { readonly user?: string; readonly json?: boolean },
): Promise<void> {
  const address = addressOf(given, user);
  const streams = address.kind === 'onvif' ? await onvifStreams(address) : [await direct(address)];
  const maker = streams[0]?.maker ?? '';
  const best = chooseStream(
    [...streams].sort((one, other) => other.widthPx - one.widthPx),
    'sub',
  );
  const found: Found[] = streams.map(({ name, address: of, codec, widthPx, heightPx, fps }) => ({
    ...{ name, url: of.shown, codec, widthPx, heightPx, fps },
    recommended: of === best?.address,
    cost: costOf(widthPx, heightPx, fps),
  }));
  const lines = configuration(best?.address ?? address);
  print(json, { camera: address.shown, maker, streams: found, configuration: lines }, () =>
    [
      ...(maker === '' ? [] : [maker, '']),
      table(
        ['stream', 'size', 'fps', 'codec', 'all decoded', 'key frames alone', ''],
        found.map(({ name, widthPx, heightPx, fps, codec, cost, recommended }) => [
          ...[name, `${widthPx}x${heightPx}`, fps === null ? '?' : String(fps), codec],
          ...[percent(cost.decoded), percent(cost.keyframes), recommended ? 'recommended' : ''],
        ]),
      ),
      '',
      'Shares are of one core of a small machine, about. For outrider.yaml (credentials come from the environment):',
      '',
      lines,
    ].join('\n'),
  );
}

interface Stream extends ProbedStream {
  readonly name: string;
  readonly address: CameraAddress;
  readonly maker: string;
}

async function direct(address: CameraAddress): Promise<Stream> {
  return { ...(await probeStream(address)), name: 'stream', address, maker: '' };
}

/** What it says of its streams, corrected by what they are where they can be read. */
async function onvifStreams(address: CameraAddress): Promise<Stream[]> {
  const { maker, model, streams } = await askOnvif(address);
  if (streams.length === 0)
    throw new AppError('CAMERA_NO_STREAM', `the camera ${address.shown}: it names no stream`);
  const probed: Stream[] = [];
  for (const { name, codec, widthPx, heightPx, fps, address: of } of streams) {
    const said = { codec, widthPx, heightPx, fps };
    const seen = await probeStream(of).catch((error: unknown) => {
      if (toAppError(error).code === 'CAMERA_REFUSED') throw error;
      process.stderr.write(`${toErrorBody(error).message}\n`);
      return said;
    });
    probed.push({ ...said, ...seen, name, address: of, maker: `${maker} ${model}`.trim() });
  }
  return probed;
}

/** @throws USAGE */
function addressOf(given: string, user: string | undefined): CameraAddress {
  const isHost =
    /^(\[[\da-f:.]+\]|[\w.-]+)(:\d+)?$/i.test(given) &&
    !/^\.{0,2}\//.test(given) &&
    !/\.(mp4|mkv|avi|mov|ts|webm)$/i.test(given);
  const text = isHost ? `onvif://${given}` : given;
  const problem = addressProblem(text);
  if (problem !== undefined) throw new AppError('USAGE', `the address of a camera: ${problem}`);
  if (user === undefined || !/^[a-z]+:\/\//i.test(text)) return readAddress(text, process.cwd());
  const url = new URL(text);
  url.username = encodeURIComponent(user);
  url.password = encodeURIComponent(process.env.CAM_PASSWORD ?? '');
  return readAddress(url.href, process.cwd());
}

function costOf(widthPx: number, heightPx: number, fps: number | null): Found['cost'] {
  const load = ((widthPx * heightPx) / 1e6) * ((fps ?? USUAL_FPS) / USUAL_FPS);
  return { decoded: load * CORE_SHARE.decoded, keyframes: load * CORE_SHARE.keyframes };
}

const percent = (share: number): string =>
  `${share < 0.095 ? (share * 100).toFixed(1) : Math.round(share * 100)} %`;

/** Names of a query that some cameras want their credentials in. */
const SECRET_NAMES = /pass|pwd|token|auth|secret|key/i;

function configuration({ kind, secretUrl, credentials }: CameraAddress): string {
  if (kind === 'device' || kind === 'file') return linesFor(secretUrl);
  // biome-ignore-start lint/suspicious/noTemplateCurlyInString: as it stands in a configuration file.
  const plain = withoutCredentials(secretUrl).replace(
    /([?&])([^=&]+)=([^&]*)/g,
    (whole, sign: string, name: string) =>
      SECRET_NAMES.test(name) ? `${sign}${name}=\${CAM_PASSWORD}` : whole,
  );
  return linesFor(credentials ? plain.replace('://', '://${CAM_USER}:${CAM_PASSWORD}@') : plain);
  // biome-ignore-end lint/suspicious/noTemplateCurlyInString: as it stands in a configuration file.
}

const linesFor = (url: string): string =>
  `    feed:\n      type: camera\n      url: ${JSON.stringify(url)}\n      fps: 2`;
