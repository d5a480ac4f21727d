/**
 * Verifies, as root, what the agent offers: signed metadata against this machine's own copy of the root and its own floor, then what they
 * say of the version. Nothing that the agent says counts but the number of the version that it asks for.
 */
import { statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { isOlderRelease } from '../../../shared/contract/releases.ts';
import {
  MAX_ARCHIVE_BYTES,
  MAX_HANDOVER_BYTES,
  machinePaths,
  machineRoot,
  type Offer,
  offer,
  offerPaths,
} from '../../../shared/release/agent/handover.ts';
import type { AgentArchive } from '../../../shared/release/release.ts';
import { UpdateVerifier } from '../../../shared/release/tuf/verifier.ts';
import { readJson } from '../../../shared/runtime/atomic-file.ts';
import type { Clock } from '../../../shared/runtime/clock.ts';
import { AppError } from '../../../shared/runtime/errors.ts';
import type { Logger } from '../../../shared/runtime/logger.ts';
import { BUILT_AT_MS } from '../../../shared/runtime/version.ts';
import type { Place } from '../place.ts';
import { readOwned, readOwnedJson } from './owned-file.ts';

/** Where, and what runs here now. */
export interface CheckOptions {
  readonly place: Place;
  /** User of the agent. */
  readonly uid: number;
  readonly platform: string;
  /** Version that runs, the highest that was ever committed here, and the form of data that the running one writes. */
  readonly running: { readonly version: string; readonly highest: string; readonly dataFormat: number };
  readonly clock: Clock;
  readonly logger: Logger;
}

/** The offer; undefined where there is none. @throws RELEASE_INVALID */
export const readOffer = ({ place, uid }: Pick<CheckOptions, 'place' | 'uid'>): Promise<Offer | undefined> =>
  readOwnedJson(offerPaths(join(place.data, 'agent')).ready, offer, { uid, maxBytes: MAX_HANDOVER_BYTES });

/** Left free beside an archive and what is in it. */
const ROOM_BYTES = 50 * 1024 * 1024;
const METADATA = /^(?:\d{1,16}\.)?[a-z][a-z0-9-]{0,62}\.json$/;

/**
 * The archive of an offered version, if it may be installed.
 *
 * @throws UPDATE_UNTRUSTED, UPDATE_EXPIRED, UPDATE_OLDER, UPDATE_NOT_LISTED, UPDATE_NOT_WANTED, UPDATE_ONE_WAY, RELEASE_INVALID, DISK_FULL
 */
export async function checkOffer({ version }: Offer, options: CheckOptions): Promise<AgentArchive> {
  const { place, platform, running } = options;
  const archive = await signedArchive(version, options);
  if (!archive)
    throw new AppError(
      'UPDATE_NOT_LISTED',
      `the signed metadata list no release ${version} of the agent for ${platform}`,
    );
  const isOlder = isOlderRelease(version, running.highest) || isOlderRelease(version, running.version);
  if (isOlder && !archive.wanted)
    throw new AppError(
      'UPDATE_NOT_WANTED',
      `${version} is older than ${running.highest}, which has run here, and nobody has signed that devices may go back to it`,
    );
  if (archive.dataFormat > running.dataFormat && !archive.oneWay)
    throw new AppError(
      'UPDATE_ONE_WAY',
      `${version} writes data of form ${archive.dataFormat}, and ${running.version} reads form ${running.dataFormat} at most`,
    );
  if (archive.bytes > MAX_ARCHIVE_BYTES || archive.unpackedBytes > 4 * MAX_ARCHIVE_BYTES)
    throw new AppError('RELEASE_INVALID', `the archive of ${version} is too large`);
  const { bavail, bsize } = await statfs(place.versions);
  const needed = archive.bytes + archive.unpackedBytes + ROOM_BYTES;
  if (needed > bavail * bsize)
    throw new AppError(
      'DISK_FULL',
      `${place.versions} has ${bavail * bsize} bytes free, and ${needed} are needed beside the version that runs`,
    );
  return archive;
}

async function signedArchive(
  version: string,
  { place, uid, platform, clock, logger }: CheckOptions,
): Promise<AgentArchive | undefined> {
  const paths = machinePaths(place.updates);
  const known = await readJson(paths.root, machineRoot);
  if (!known)
    throw new AppError(
      'UPDATE_UNTRUSTED',
      'this machine keeps no root of its own: sudo outrider agent install, once the device is enrolled',
    );
  const { metadata } = offerPaths(join(place.data, 'agent'));
  const verifier = new UpdateVerifier({
    folder: join(paths.own, 'tuf'),
    trustedRoot: known.root,
    fetch: (name, maxBytes) =>
      METADATA.test(name) ? readOwned(join(metadata, name), { uid, maxBytes }) : Promise.resolve(undefined),
    ...{ clock, logger, buildAtMs: BUILT_AT_MS },
  });
  await verifier.refresh();
  return verifier.archive(version, platform);
}
