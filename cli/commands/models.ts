/** `outrider models ls|push|deploy|set`: the hub's models, and how a new version gets to the fleet. */
import { mkdtemp, open, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  deployPolicy,
  type ModelChange,
  type ModelRecord,
  modelChange,
  modelList,
  modelRecord,
  type PublishedVersion,
  publishedVersion,
  type VersionFile,
  type VersionRequest,
} from '../../shared/contract/admin.ts';
import { BLOB_PIECE_BYTES } from '../../shared/contract/limits.ts';
import { modelName, modelVersion } from '../../shared/contract/names.ts';
import {
  digestOf,
  openModelFolder,
  SPEC_FILE,
  versionFilesOf,
} from '../../shared/release/folder/model-folder.ts';
import type { ModelSpec } from '../../shared/release/folder/model-spec.ts';
import { AppError } from '../../shared/runtime/errors.ts';
import { sha256Hex } from '../../shared/runtime/ids.ts';
import { HubClient, type HubOptions, modelPath } from '../hub-client.ts';
import { cardText } from '../import/model-card.ts';
import { DESCRIBING_FLAGS, type DescribeOptions, stageModel } from '../import/stage-model.ts';
import { bytesText, note, print, table } from '../output.ts';
import { progressBar } from '../progress-bar.ts';
import { PLAN_FLAGS, type PlanFlags, planOf } from '../rollout/plan-flags.ts';
import { type SignerOptions, signersOf } from '../signing/signers.ts';
import { versionText } from '../update-text.ts';
import { followUpdate } from './follow-update.ts';
import { listDeltas } from './list-deltas.ts';
import { listVersion } from './list-version.ts';

type Options = HubOptions & { readonly json?: boolean };

/** `outrider models ls`: every model of the hub, with the version that devices are told to run. */
export async function listModels(options: Options): Promise<void> {
  const found = await (await HubClient.find(options)).getAll('/api/v1/models', modelList, 'models');
  print(options.json, { models: found }, () =>
    table(
      [
        'name',
        'task',
        'version',
        'test',
        'deployed',
        'policy',
        'size',
        'on disk',
        'loaded',
        'memory',
        'waiting',
        'engine',
        'digest',
      ],
      found.map((one) => [
        one.name,
        one.task,
        one.version,
        one.versions.find(({ version }) => version === one.version)?.test ?? 'none',
        one.deployed ?? '–',
        one.policy,
        bytesText(one.bytes),
        bytesText(one.storedBytes),
        loadText(one),
        one.memoryBytes === null ? '–' : bytesText(one.memoryBytes),
        String(one.waiting),
        engineText(one),
        one.digest.slice(0, 12),
      ]),
      { spare: ['digest', 'policy', 'waiting', 'memory', 'loaded'] },
    ),
  );
}

/** A processor is what everybody expects; anything else is named. */
const loadText = ({ loaded, provider, keepLoaded }: ModelRecord): string =>
  [
    loaded ? 'yes' : 'no',
    ...(loaded && provider !== 'cpu' ? [provider] : []),
    ...(keepLoaded ? ['kept'] : []),
  ].join(', ');

/** Where it runs, and how that is, if not in the hub itself. */
function engineText({ engine }: ModelRecord): string {
  if (!engine) return 'here';
  const { kind, url, status } = engine;
  if (!status || (status.breaker === 'closed' && !status.failure)) return `${kind} ${url}`;
  const { breaker, failure, wellAtMs } = status;
  const isWell = breaker === 'closed' && (wellAtMs ?? 0) > (failure?.atMs ?? 0);
  return `${kind} ${url}${isWell ? '' : `, ${breaker === 'closed' ? 'failing' : breaker}: ${failure?.code ?? ''}`}`;
}

/** A file of the version that goes up, from disk or made here. */
interface Part extends VersionFile {
  readonly from: string | Uint8Array;
}

interface PushOptions extends Options, DescribeOptions, SignerOptions {
  readonly force?: boolean;
  readonly wait: string | false;
  readonly out?: string;
}

/** A folder of somebody else's is described and tried first, in a copy: the folder itself stays as it is. */
export async function pushModel(path: string, options: PushOptions): Promise<void> {
  if (options.name !== undefined && !modelName.safeParse(options.name).success)
    throw new AppError('USAGE', `“${options.name}” is no model name`);
  if (await stat(join(path, SPEC_FILE)).catch(() => undefined)) {
    const flag = DESCRIBING_FLAGS.find((one) => one !== 'name' && options[one] !== undefined);
    if (flag !== undefined)
      throw new AppError('USAGE', `${path} has an ${SPEC_FILE}, which says it all: leave --${flag} out`);
    return pushFolder(path, options);
  }
  const stage = await mkdtemp(join(tmpdir(), 'outrider-push-'));
  try {
    const { imported, card } = await stageModel(path, stage, { ...options, isShown: options.json !== true });
    if (!options.json) note(`${cardText({ ...card, folder: path })}\n${imported.notes.join('\n')}\n`);
    await pushFolder(stage, options);
  } finally {
    await rm(stage, { recursive: true, force: true });
  }
}

/** Uploads what the hub does not have, publishes the version, signs for it where the hub can't, and shows how devices take it. */
async function pushFolder(path: string, options: PushOptions): Promise<void> {
  const waitMs = waitOf(options.wait);
  const signers = await signersOf(options);
  const hub = await HubClient.find(options);
  const { spec, parts } = await partsOf(path, options.name);
  const { name, task } = spec;
  const files = parts.map(({ path: file, sha256, bytes }) => ({ path: file, sha256, bytes }));
  const request: VersionRequest = { files, ...(options.force && { force: true }) };
  await upload(hub, parts, options.json !== true);
  let made = await hub.publish(`/api/v1/models/${modelPath(name)}/versions`, request, publishedVersion);
  const wasPublished = made.published && !made.created;
  if (!made.published) {
    if (signers.length === 0) throw waitsForSignature(made);
    const ref = { name, version: made.version, digest: digestOf(files, spec) };
    // Before devices hear of the version: else they would fetch whole files.
    await listDeltas(hub, files, signers);
    made = await listVersion(hub, made, { release: { ref, task, files }, signers, out: options.out });
  }
  print(options.json, made, () => publishedText(made, wasPublished));
  if (made.deployed && waitMs > 0 && !options.json) await followUpdate(hub, made, waitMs);
}

const waitsForSignature = (made: PublishedVersion): AppError =>
  new AppError(
    'UPDATE_NOT_LISTED',
    `${versionText(made)} is uploaded and waits for its signature: this hub does not hold the key of targets. Push it again with --signing-key FILE, where the key is`,
  );

function waitOf(wait: string | false): number {
  if (wait === false) return 0;
  const seconds = Number(wait);
  if (!Number.isFinite(seconds) || seconds < 0) throw new AppError('USAGE', '--wait is a number of seconds');
  return seconds * 1_000;
}

function publishedText({ name, version, deployed, test }: PublishedVersion, wasPublished: boolean): string {
  const was = wasPublished ? 'was published before' : 'is published';
  const tested = {
    golden: ', its golden inputs answered as recorded',
    smoke: ', not tested: it has no golden inputs',
    untested: ', not tested: it loads, and took no input that could be made up',
    forced: ', although the hub’s own test of it failed',
  };
  const next = deployed ? '' : `\nDevices are not told yet: outrider models deploy ${name} ${version}`;
  return `${name}@${version} ${was}${test === null ? '' : tested[test]}.${next}`;
}

/** What goes up; under another name its spec says that name. @throws MODEL_INVALID, MODEL_DIGEST_MISMATCH */
async function partsOf(path: string, name?: string): Promise<{ spec: ModelSpec; parts: Part[] }> {
  const folder = await openModelFolder(path);
  const files = await versionFilesOf(folder);
  const parts = files.map((file): Part => ({ ...file, from: join(path, file.path) }));
  if (name === undefined || name === folder.spec.name) return { spec: folder.spec, parts };
  const spec = { ...folder.spec, name };
  const from = Buffer.from(`${JSON.stringify(spec, null, 2)}\n`);
  const renamed = { path: SPEC_FILE, sha256: sha256Hex(from), bytes: from.length, from };
  return { spec, parts: parts.map((part) => (part.path === SPEC_FILE ? renamed : part)) };
}

async function upload(hub: HubClient, parts: readonly Part[], isShown: boolean): Promise<void> {
  const total = parts.reduce((sum, { bytes }) => sum + bytes, 0);
  const bar = isShown ? progressBar('uploading', total, bytesText) : undefined;
  try {
    for (const part of parts) await uploadOne(hub, part, (bytes) => bar?.increment(bytes));
  } finally {
    bar?.stop();
  }
}

/** Goes on where an earlier try has ended. */
async function uploadOne(hub: HubClient, part: Part, onBytes: (bytes: number) => void): Promise<void> {
  const { sha256, bytes, from } = part;
  const state = await hub.blobState(sha256);
  if (state === 'whole') return onBytes(bytes);
  let offset = Math.min(state, bytes);
  onBytes(offset);
  const file = typeof from === 'string' ? await open(from, 'r') : undefined;
  try {
    do {
      const length = Math.min(BLOB_PIECE_BYTES, bytes - offset);
      const body = Buffer.alloc(length);
      if (file) await file.read(body, 0, length, offset);
      else body.set((from as Uint8Array).subarray(offset, offset + length));
      await hub.uploadPiece(sha256, { offset, body, isLast: offset + length === bytes });
      offset += length;
      onBytes(length);
    } while (offset < bytes);
  } finally {
    await file?.close();
  }
}

/** Tells devices to run a published version, also an older one. */
export async function deployModel(
  name: string,
  version: string,
  options: Options & { readonly wait: string | false },
): Promise<void> {
  if (!modelName.safeParse(name).success) throw new AppError('MODEL_UNKNOWN', `“${name}” is no model name`);
  if (!modelVersion.safeParse(version).success) throw new AppError('USAGE', `“${version}” is no version`);
  const waitMs = waitOf(options.wait);
  const hub = await HubClient.find(options);
  const path = `/api/v1/models/${modelPath(name)}`;
  const { etag } = await hub.getTagged(path, modelRecord);
  const now = await hub.change('PATCH', path, { etag, body: { deployed: version }, schema: modelRecord });
  print(options.json, now, () => `${name}@${version} is deployed.`);
  const digest = now.versions.find((one) => one.version === version)?.digest;
  if (digest !== undefined && waitMs > 0 && !options.json)
    await followUpdate(hub, { name, version, digest }, waitMs);
}

interface SetOptions extends Options, PlanFlags {
  readonly keepLoaded?: string;
  readonly maxQueue?: string;
  readonly policy?: string;
}

/** `outrider models set`: what a hub keeps of how it serves a model, and brings new versions of it to devices. */
export async function setModel(name: string, options: SetOptions): Promise<void> {
  if (!modelName.safeParse(name).success) throw new AppError('MODEL_UNKNOWN', `“${name}” is no model name`);
  const body = changeOf(name, options);
  const hub = await HubClient.find(options);
  const path = `/api/v1/models/${modelPath(name)}`;
  const { etag } = await hub.getTagged(path, modelRecord);
  const now = await hub.change('PATCH', path, { etag, body, schema: modelRecord });
  const queue = now.maxQueue === null ? 'as many requests as for any model' : `${now.maxQueue} requests`;
  print(options.json, now, () =>
    [
      `${name}: ${now.keepLoaded ? 'kept loaded' : 'makes room for others'}; ${queue} may wait for it.`,
      `New versions: ${POLICY_TEXT[now.policy]}.`,
    ].join('\n'),
  );
}

const POLICY_TEXT: Readonly<Record<ModelRecord['policy'], string>> = {
  auto: 'deployed at once (auto)',
  staged: 'rolled out by the model’s plan, stage by stage (staged)',
  manual: 'wait for somebody to deploy or roll them out (manual)',
};

/** @throws USAGE */
function changeOf(name: string, { keepLoaded, maxQueue, policy, ...flags }: SetOptions): ModelChange {
  const hasPlan = PLAN_FLAGS.some((flag) => flags[flag] !== undefined);
  if (keepLoaded === undefined && maxQueue === undefined && policy === undefined && !hasPlan)
    throw new AppError(
      'USAGE',
      'say what to change: --keep-loaded on|off, --max-queue N|default, --policy auto|staged|manual, --stages …',
    );
  if (keepLoaded !== undefined && keepLoaded !== 'on' && keepLoaded !== 'off')
    throw new AppError('USAGE', '--keep-loaded is on or off');
  const checked = policy === undefined ? undefined : deployPolicy.safeParse(policy);
  if (checked && !checked.success) throw new AppError('USAGE', '--policy is auto, staged or manual');
  const of = {
    ...(checked && { policy: checked.data }),
    ...(hasPlan && { plan: planOf(flags, name) }),
  };
  const change = modelChange.safeParse({
    ...of,
    ...(keepLoaded !== undefined && { keepLoaded: keepLoaded === 'on' }),
    ...(maxQueue !== undefined && { maxQueue: maxQueue === 'default' ? null : Number(maxQueue) }),
  });
  if (!change.success)
    throw new AppError('USAGE', '--max-queue is a whole number from 1 to 100000, or default');
  return change.data;
}
