/** What the agent reads on a device: its configuration, written once and never over somebody's own, and the token to enrol by. */
import { chown, copyFile, readdir, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { z } from 'zod';
import { ENROL_TOKEN_FILE } from '../../shared/contract/enrol-token.ts';
import { hostDeviceId } from '../../shared/contract/host-device.ts';
import { modelName } from '../../shared/contract/names.ts';
import { readJson, writeFileAtomic } from '../../shared/runtime/atomic-file.ts';
import { AppError } from '../../shared/runtime/errors.ts';
import { sha256Hex } from '../../shared/runtime/ids.ts';
import { makeFolder } from '../../shared/runtime/make-folder.ts';
import { readIfThere } from '../../shared/runtime/read-file.ts';
import { VERSION } from '../../shared/runtime/version.ts';
import { taskName } from '../../shared/tasks/tasks.ts';
import type { Account } from './account.ts';
import type { Place } from './place.ts';

/** What a fresh device is told of its hub. */
export interface FirstSettings {
  readonly device: string | undefined;
  readonly hub: string | undefined;
  /** PEM file of who vouches for it. */
  readonly ca: string | undefined;
  readonly insecurePlainText: boolean;
}

/** Beside the configuration. */
const CA_FILE = 'hub-ca.pem';
const PIPELINE_NAMES: Readonly<Record<string, string>> = {
  'image-classification': 'vision',
  'text-classification': 'text',
};

/**
 * Writes the configuration of a fresh device.
 *
 * @param release folder whose models get a pipeline each, so that the device has something to show
 * @returns false where there is one already
 */
export async function writeFirstConfig(
  place: Place,
  release: string,
  first: FirstSettings,
): Promise<boolean> {
  const there = await readIfThere(place.config);
  if (there !== undefined) return false;
  const { ca } = first;
  await makeFolder(dirname(place.config), { mode: 0o755 });
  if (ca !== undefined) await copyFile(ca, join(dirname(place.config), CA_FILE));
  await writeFileAtomic(place.config, await firstConfig(release, first), 0o644);
  return true;
}

/** @returns address of the hub that stands in a configuration, by its text alone; undefined where none does */
export async function hubInConfig({ config }: Place): Promise<string | undefined> {
  const text = (await readIfThere(config))?.toString('utf8') ?? '';
  return /^\s*(?:hub:\s*\{\s*)?url:\s*["']?(https?:\/\/[^\s"',}]+)/m.exec(text)?.[1];
}

/** Puts the token where the agent takes it from, once. @returns false where the device is enrolled by it @throws USAGE */
export async function putToken(place: Place, token: string, account: Account | undefined): Promise<boolean> {
  if (!/^[\x21-\x7e]{8,1000}$/.test(token))
    throw new AppError('USAGE', 'this is no token of outrider devices enroll');
  const folder = join(place.data, 'agent');
  const credential = await readJson(
    join(folder, 'credential.json'),
    z.object({ tokenSha256: z.string() }),
  ).catch(() => undefined);
  if (credential?.tokenSha256 === sha256Hex(token)) return false;
  await makeFolder(folder, { mode: 0o700 });
  const path = join(folder, ENROL_TOKEN_FILE);
  await writeFileAtomic(path, `${token}\n`, 0o600);
  if (account) for (const one of [place.data, folder, path]) await chown(one, account.uid, account.gid);
  return true;
}

/** A version that does not come up has not used it. */
export const takeTokenBack = (place: Place): Promise<void> =>
  rm(join(place.data, 'agent', ENROL_TOKEN_FILE), { force: true });

async function firstConfig(
  release: string,
  { device, hub, ca, insecurePlainText }: FirstSettings,
): Promise<string> {
  const hubLines = [
    `  url: ${hub}`,
    ...(ca === undefined ? [] : [`  ca: ${CA_FILE}`]),
    ...(insecurePlainText ? ['  insecurePlainText: true'] : []),
  ];
  return [
    `# What this device does. Written once by outrider agent install (Outrider ${VERSION}); yours from then on.`,
    '# Every key: docs/configuration.md. After a change: sudo systemctl restart outrider-agent, then outrider doctor.',
    `device: ${device ?? hostDeviceId()}`,
    ...(hub === undefined ? ['# hub:', '#   url: https://hub.example.com:8080'] : ['hub:', ...hubLines]),
    '',
    'pipelines:',
    ...(await pipelineLines(join(release, 'models'), hub !== undefined)),
    '',
    '  # A camera that Home Assistant shows (docs/device.md); passwords go into /etc/outrider/agent.env, for root alone:',
    '  # - name: gate',
    '  #   task: image-classification',
    `  #   feed: { type: camera, url: "rtsp://viewer:\${CAM_PASSWORD}@192.168.1.20/stream2", fps: 2 }`,
    '  #   edge: cifar10-cnn',
    '  #   sinks:',
    `  #     - { type: mqtt, url: "mqtt://192.168.1.10:1883", username: outrider, password: "\${MQTT_PASSWORD}", topic: home/gate, discovery: homeassistant }`,
    '',
  ].join('\n');
}

/** A pipeline for the first model of each task, asked over HTTP; the cloud model is the one that it was calibrated with. */
async function pipelineLines(models: string, hasHub: boolean): Promise<string[]> {
  const lines: string[] = [];
  const tasks = new Set<string>();
  for (const name of (await readdir(models).catch(() => [])).sort(byText)) {
    const spec = await readJson(join(models, name, 'outrider.json'), modelHead).catch(() => undefined);
    if (!spec || tasks.has(spec.task)) continue;
    tasks.add(spec.task);
    const cloud = spec.calibration?.cloud?.model;
    const known = PIPELINE_NAMES[spec.task] ?? spec.name;
    lines.push(
      `  # Asked over HTTP: http://127.0.0.1:8090/v1/infer/${known}`,
      `  - name: ${known}`,
      `    task: ${spec.task}`,
      `    edge: ${spec.name}`,
      ...(cloud === undefined || !hasHub ? [] : [`    cloud: ${cloud}`]),
    );
  }
  if (lines.length > 0) return lines;
  return [
    '  # A model that the hub has:',
    '  - { name: text, task: text-classification, cloud: sst2-minilm }',
  ];
}

const byText = (one: string, other: string): number => (one < other ? -1 : 1);

/** Of `outrider.json`, as much as a first configuration needs; others than ours have more or less. */
const modelHead = z.object({
  name: z.string(),
  task: taskName,
  calibration: z.object({ cloud: z.object({ model: modelName }).optional() }).optional(),
});
