/** `outrider releases ls|push|set|deploy|allow-back|rm`: releases of the agent itself, as devices are updated to them. */
import { open } from 'node:fs/promises';
import { basename } from 'node:path';
import {
  type AgentRelease,
  type AgentReleases,
  agentReleaseChange,
  agentReleaseList,
} from '../../shared/contract/agent-releases.ts';
import { BLOB_PIECE_BYTES } from '../../shared/contract/limits.ts';
import { AGENT_NAME, releaseFile, releaseVersion } from '../../shared/contract/releases.ts';
import { readArchiveManifest } from '../../shared/release/agent/archive-manifest.ts';
import type { AgentArchive } from '../../shared/release/release.ts';
import {
  agentRoleOf,
  archivesIn,
  delistingArchives,
  listingArchives,
} from '../../shared/release/tuf/agent-targets.ts';
import { AppError, isAppError, unreadable } from '../../shared/runtime/errors.ts';
import { fileSha256 } from '../../shared/runtime/file-digest.ts';
import { HubClient, type HubOptions } from '../hub-client.ts';
import { bytesText, print, table } from '../output.ts';
import { progressBar } from '../progress-bar.ts';
import { PLAN_FLAGS, type PlanFlags, planOf } from '../rollout/plan-flags.ts';
import { type SignerOptions, signersOf } from '../signing/signers.ts';
import { readDelegated, readMetadata } from '../signing/submit.ts';
import { signEdit } from './list-version.ts';

type Options = HubOptions & { readonly json?: boolean };
type Signing = Options & SignerOptions & { readonly out?: string };

const PATH = '/api/v1/agent-releases';

/** `outrider releases ls` */
export async function listReleases(options: Options): Promise<void> {
  const found = await (await HubClient.find(options)).get(PATH, agentReleaseList);
  print(options.json, found, () => releasesText(found));
}

function releasesText({ releases, deployed, policy }: AgentReleases): string {
  if (releases.length === 0)
    return 'There is none yet: outrider release makes an archive, outrider releases push ARCHIVE brings it here.';
  return [
    table(
      ['version', 'platforms', 'size', 'signed', 'deployed', 'devices'],
      releases.map((one) => [
        one.version,
        one.archives.map(({ platform }) => platform).join(', ') || 'its archives are gone',
        bytesText(Math.max(0, ...one.archives.map(({ bytes }) => bytes))),
        signedText(one),
        one.deployed ? 'yes' : '–',
        String(one.devices),
      ]),
    ),
    ...(deployed === null
      ? [
          '',
          'None is deployed: devices keep what they have. outrider releases deploy VERSION says what they run.',
        ]
      : []),
    ...(policy === 'staged' ? ['', POLICY_TEXT.staged] : []),
  ].join('\n');
}

function signedText({ archives, oneWay }: AgentRelease): string {
  const missing = archives.filter(({ signed }) => !signed);
  const way = oneWay ? ', no way back' : '';
  if (missing.length === 0) return `yes${way}`;
  if (missing.length === archives.length) return 'no';
  return `not for ${missing.map(({ platform }) => platform).join(', ')}${way}`;
}

/** `outrider releases push ARCHIVE…`: brings archives to the hub, and signs for them where the hub cannot. */
export async function pushReleases(
  files: readonly string[],
  options: Signing & { readonly oneWay?: boolean },
): Promise<void> {
  const signers = await signersOf(options);
  const hub = await HubClient.find(options);
  let now: AgentReleases | undefined;
  const pushed: string[] = [];
  for (const path of files) {
    const archive = await archiveAt(path, options.oneWay === true);
    await upload(hub, path, archive, options.json !== true);
    now = await hub.publish(
      PATH,
      { file: archive.file, sha256: archive.sha256, oneWay: archive.oneWay },
      agentReleaseList,
    );
    if (!isSigned(now, archive) && signers.length > 0) {
      const what = `list ${AGENT_NAME}@${archive.version} for ${archive.platform}`;
      await signEdit(hub, listingArchives([archive]), {
        ...{ signers, names: [AGENT_NAME], what, out: options.out },
      });
      now = await hub.get(PATH, agentReleaseList);
    }
    if (!isSigned(now, archive))
      throw new AppError(
        'UPDATE_NOT_LISTED',
        `${archive.file} is uploaded and waits for its signature: this hub does not sign for releases. Push it again with --signing-key FILE, where the key is`,
      );
    pushed.push(`${AGENT_NAME}@${archive.version} for ${archive.platform} is there and signed.`);
  }
  const found = now ?? (await hub.get(PATH, agentReleaseList));
  print(options.json, found, () =>
    [
      ...pushed,
      found.policy === 'staged' && found.deployed !== null
        ? `One that is newer than ${found.deployed}, which is deployed, is rolled out by itself: outrider rollout show ${AGENT_NAME}`
        : `Devices are not told yet: outrider rollout start ${AGENT_NAME}@VERSION, or outrider releases deploy VERSION for all at once.`,
    ].join('\n'),
  );
}

const isSigned = ({ releases }: AgentReleases, { sha256 }: AgentArchive): boolean =>
  releases.some(({ archives }) => archives.some((one) => one.sha256 === sha256 && one.signed));

/** @throws FILE_UNREADABLE, RELEASE_INVALID */
async function archiveAt(path: string, oneWay: boolean): Promise<AgentArchive> {
  const file = releaseFile.safeParse(basename(path));
  if (!file.success)
    throw new AppError('RELEASE_INVALID', `${path} is not called as outrider release calls its archives`);
  const sha256 = await fileSha256(path).catch((error: unknown) => {
    throw unreadable(path, error);
  });
  const {
    version,
    platform,
    bytes,
    dataFormat = 1,
    sha256: manifestSha256,
  } = await readArchiveManifest(path);
  const handle = await open(path, 'r');
  const { size } = await handle.stat();
  await handle.close();
  return {
    ...{ version, platform, file: file.data, sha256, bytes: size },
    ...{ unpackedBytes: bytes, manifestSha256, dataFormat, oneWay, wanted: false },
  };
}

/** Goes on where an earlier try has ended. */
async function upload(
  hub: HubClient,
  path: string,
  { sha256, bytes }: AgentArchive,
  isShown: boolean,
): Promise<void> {
  const state = await hub.blobState(sha256);
  if (state === 'whole') return;
  const bar = isShown ? progressBar('uploading', bytes, bytesText) : undefined;
  const file = await open(path, 'r');
  try {
    let offset = Math.min(state, bytes);
    bar?.increment(offset);
    do {
      const body = Buffer.alloc(Math.min(BLOB_PIECE_BYTES, bytes - offset));
      await file.read(body, 0, body.length, offset);
      await hub.uploadPiece(sha256, { offset, body, isLast: offset + body.length === bytes });
      offset += body.length;
      bar?.increment(body.length);
    } while (offset < bytes);
  } finally {
    await file.close();
    bar?.stop();
  }
}

const POLICY_TEXT: Readonly<Record<AgentReleases['policy'], string>> = {
  staged: 'New releases are rolled out by themselves, stage by stage (staged).',
  manual: 'New releases wait for somebody to deploy or roll them out (manual).',
};

/** `outrider releases set`: what becomes of a new release. */
export async function setReleases(
  options: Options & PlanFlags & { readonly policy?: string },
): Promise<void> {
  const { policy } = options;
  const hasPlan = PLAN_FLAGS.some((flag) => options[flag] !== undefined);
  if (policy === undefined && !hasPlan)
    throw new AppError('USAGE', 'say what to change: --policy staged|manual, --stages …');
  const checked = agentReleaseChange.safeParse({
    ...(policy !== undefined && { policy }),
    ...(hasPlan && { plan: planOf(options, AGENT_NAME) }),
  });
  if (!checked.success) throw new AppError('USAGE', '--policy is staged or manual');
  const hub = await HubClient.find(options);
  const { etag } = await hub.getTagged(PATH, agentReleaseList);
  const now = await hub.change('PATCH', PATH, { etag, body: checked.data, schema: agentReleaseList });
  print(options.json, now, () => releasesSet(now));
}

const releasesSet = ({ policy, deployed }: AgentReleases): string =>
  [
    POLICY_TEXT[policy],
    ...(policy === 'staged' && deployed === null
      ? [
          'None is deployed, so there is nothing to go back to: outrider releases deploy VERSION says first what devices run now.',
        ]
      : []),
  ].join('\n');

/** `outrider releases deploy VERSION|none`: what devices run unless a pin or a rollout says otherwise. */
export async function deployRelease(version: string, options: Options): Promise<void> {
  if (version !== 'none') requireVersion(version);
  const hub = await HubClient.find(options);
  const { etag } = await hub.getTagged(PATH, agentReleaseList);
  const body = { deployed: version === 'none' ? null : version };
  const now = await hub.change('PATCH', PATH, { etag, body, schema: agentReleaseList });
  print(options.json, now, () =>
    version === 'none'
      ? 'None is deployed: devices keep what they have.'
      : `${AGENT_NAME}@${version} is deployed: every device that takes updates runs it, unless it is pinned.`,
  );
}

/** `outrider releases allow-back VERSION`: signs that devices may go back to an older version, where the hub cannot say so itself. */
export async function allowBack(version: string, options: Signing): Promise<void> {
  requireVersion(version);
  const signers = await signersOf(options);
  if (signers.length === 0)
    throw new AppError('USAGE', 'name the key that lists releases with --signing-key FILE');
  const hub = await HubClient.find(options);
  const listed = await listedOf(hub, version);
  if (listed.length === 0)
    throw new AppError('UPDATE_NOT_LISTED', `no release ${version} of the agent is signed`);
  const what = `devices may go back to ${AGENT_NAME}@${version}`;
  await signEdit(hub, listingArchives(listed.map((one) => ({ ...one, wanted: true }))), {
    ...{ signers, names: [AGENT_NAME], what, out: options.out },
  });
  print(options.json, { version, allowed: true }, () => `Devices may go back to ${AGENT_NAME}@${version}.`);
}

/** `outrider releases rm VERSION` */
export async function removeRelease(version: string, options: Signing): Promise<void> {
  requireVersion(version);
  const signers = await signersOf(options);
  const hub = await HubClient.find(options);
  const path = `${PATH}/${version}`;
  const now = await hub.remove(path, agentReleaseList).catch(async (error: unknown) => {
    if (!isAppError(error, 'UPDATE_UNTRUSTED') || signers.length === 0) throw error;
    const what = `list ${AGENT_NAME}@${version} no more`;
    await signEdit(hub, delistingArchives([version]), {
      ...{ signers, names: [AGENT_NAME], what, out: options.out },
    });
    return hub.remove(path, agentReleaseList);
  });
  print(options.json, now, () => `${AGENT_NAME}@${version} is removed. Devices that run it keep it.`);
}

/** What is signed of a version, by the targets or by a delegation. */
async function listedOf(hub: HubClient, version: string): Promise<AgentArchive[]> {
  const { targets } = await readMetadata(hub);
  const role = agentRoleOf(targets);
  const own = role === undefined ? undefined : await readDelegated(hub, role);
  return [targets, ...(own ? [own.metadata] : [])]
    .flatMap(({ signed }) => archivesIn(signed))
    .filter((one) => one.version === version);
}

function requireVersion(version: string): void {
  if (!releaseVersion.safeParse(version).success)
    throw new AppError('USAGE', `“${version}” is no version, such as 0.2.0`);
}
