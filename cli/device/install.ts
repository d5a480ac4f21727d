/**
 * `outrider agent install`, step by step: the user, the version in a folder of its own, the configuration where there is none, the
 * token, the unit, the switch, the start. Each step leaves alone what is right. A version that does not come up gives way to the one
 * before it.
 */
import { chmod, chown, rm, stat } from 'node:fs/promises';
import { basename, dirname, isAbsolute } from 'node:path';
import { machinePaths } from '../../shared/release/agent/handover.ts';
import { readAuthority } from '../../shared/runtime/certificate-files.ts';
import type { Clock } from '../../shared/runtime/clock.ts';
import { AppError } from '../../shared/runtime/errors.ts';
import { plainTextProblem } from '../../shared/runtime/loopback.ts';
import { makeFolder } from '../../shared/runtime/make-folder.ts';
import { type Account, leaveAccount, makeAccount } from './account.ts';
import { type Place, SERVICE, USER } from './place.ts';
import { openRelease, type Release } from './release-folder.ts';
import {
  enableUnit,
  hasSystemd,
  reloadUnits,
  restartUnit,
  unitState,
  watchForUpdates,
  writeUnit,
  writeUpdateUnits,
} from './service.ts';
import { type FirstSettings, hubInConfig, putToken, takeTokenBack, writeFirstConfig } from './settings.ts';
import type { Steps } from './steps.ts';
import { keepRoot } from './update/trust.ts';
import { placeRelease, pointLink, prune, switchTo, versionBehind, versionIn } from './versions.ts';

/** Release, place and settings of an installation. */
export interface InstallOptions extends FirstSettings {
  readonly place: Place;
  /** Archive or unpacked folder. */
  readonly source: string;
  readonly token: string | undefined;
  readonly mayStart: boolean;
  readonly mayUseSystemd: boolean;
  readonly steps: Steps;
}

/** What was installed, and whether it runs. */
export interface Installed {
  readonly version: string;
  /** That `outrider agent rollback` goes back to; null: none. */
  readonly previous: string | null;
  readonly folder: string;
  /** `not started`: nobody wanted that, or nothing here could. */
  readonly service: 'active' | 'not started';
}

/** Folders in which systemd looks for programs by default. systemd.exec(5), ExecSearchPath= */
const SERVICE_PATH = ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin'];

/**
 * Installs or upgrades.
 *
 * @throws INSTALL_IMPOSSIBLE, RELEASE_INVALID, USAGE, SERVICE_FAILED (the version before runs again, or none does, as its message says)
 */
export async function installAgent(options: InstallOptions): Promise<Installed> {
  const { place, steps } = options;
  // Everybody may read programs and configuration; what is private says so where it is made.
  process.umask(0o022);
  const isHere = place.root === '/';
  const hasService = isHere && options.mayUseSystemd && (await hasSystemd());
  await checkMachine(options, hasService);
  await refuseDuringTrial(place);
  const release = await openRelease(options.source, place.versions);
  try {
    checkPlatform(release, isHere);
    const account = await settleAccount(options, isHere);
    const { folder, isNew } = await placeRelease(place, release);
    steps.add(isNew ? 'made' : 'kept', `version ${release.version} in ${folder}`);
    const hasToken = await settleSettings(options, folder, account);
    return await bringUp(options, { folder, version: release.version, isNew, hasToken, hasService });
  } finally {
    await release.cleanUp();
  }
}

/** What an update has on trial is not changed under it. @throws INSTALL_IMPOSSIBLE */
export async function refuseDuringTrial({ updates }: Place): Promise<void> {
  const isOnTrial = await stat(machinePaths(updates).trial).then(
    () => true,
    () => false,
  );
  if (isOnTrial)
    throw new AppError(
      'INSTALL_IMPOSSIBLE',
      'an update from the hub is on trial here: wait a minute or two, until it stays or is taken back (outrider agent status)',
    );
}

async function checkMachine(
  { place, mayUseSystemd, ca, hub, insecurePlainText }: InstallOptions,
  hasService: boolean,
): Promise<void> {
  if (place.root === '/' && process.platform !== 'linux')
    throw new AppError(
      'INSTALL_IMPOSSIBLE',
      'agents are installed on Linux alone; elsewhere start outrider agent by hand',
    );
  for (const path of Object.values(place.inside))
    if (!isAbsolute(path) || /[\s%"'\\]/.test(path))
      throw new AppError('USAGE', `${path}: an absolute path without spaces, quotes and %`);
  const problem = insecurePlainText || hub === undefined ? undefined : plainTextProblem(hub);
  if (problem !== undefined) throw new AppError('USAGE', problem);
  if (place.root === '/' && process.getuid?.() !== 0)
    throw new AppError(
      'INSTALL_IMPOSSIBLE',
      'this makes a user and a service, which only root may: run it with sudo',
    );
  if (place.root === '/' && mayUseSystemd && !hasService)
    throw new AppError(
      'INSTALL_IMPOSSIBLE',
      'systemd does not run this machine: --no-systemd installs all but the service, and says how to start the agent by hand',
    );
  if (ca !== undefined) await readAuthority(ca);
}

function checkPlatform({ platform, node, folder }: Release, isHere: boolean): void {
  const here = `${process.platform}-${process.arch}`;
  if (!isHere) return;
  if (platform !== here)
    throw new AppError('RELEASE_INVALID', `${folder} is for ${platform}, and this machine is ${here}`);
  const reached = SERVICE_PATH.includes(dirname(process.execPath));
  if (node === null && !reached)
    throw new AppError(
      'INSTALL_IMPOSSIBLE',
      `this release has no Node in it, and ${process.execPath} is where no service finds it: install Node for all users, or make the release with --with-node`,
    );
}

async function settleAccount(
  { place, steps }: InstallOptions,
  isHere: boolean,
): Promise<Account | undefined> {
  if (!isHere) {
    steps.add((await leaveAccount(place)) ? 'made' : 'kept', `user ${USER}, at the next start of the image`);
    return undefined;
  }
  const account = await makeAccount(place);
  steps.add(account.isNew ? 'made' : 'kept', `user ${USER}`);
  return account;
}

/** @returns whether the agent has a new token to enrol by */
async function settleSettings(
  options: InstallOptions,
  release: string,
  account: Account | undefined,
): Promise<boolean> {
  const { place, steps, hub, token } = options;
  if (await writeFirstConfig(place, release, options)) steps.add('made', `configuration ${place.config}`);
  else {
    steps.add('kept', `configuration ${place.config}, as it is`);
    const named = await hubInConfig(place);
    if (hub !== undefined && named !== hub)
      steps.add('skipped', `hub ${hub}: the configuration names ${named ?? 'none'}, and is yours to change`);
  }
  await makeFolder(place.data, { mode: 0o700 });
  await chmod(place.data, 0o700);
  if (account) await chown(place.data, account.uid, account.gid);
  if (token === undefined) return false;
  const isNew = await putToken(place, token, account);
  steps.add(
    isNew ? 'made' : 'kept',
    isNew ? 'the token, where the agent takes it from once' : 'the device is enrolled by this token',
  );
  return isNew;
}

interface Placed {
  readonly folder: string;
  readonly version: string;
  readonly isNew: boolean;
  /** The agent has a new token to enrol by. */
  readonly hasToken: boolean;
  /** systemd runs here, and may be used. */
  readonly hasService: boolean;
}

async function bringUp(options: InstallOptions, placed: Placed): Promise<Installed> {
  const { folder, version, isNew, hasToken, hasService } = placed;
  const { place, steps, mayStart, mayUseSystemd } = options;
  const [before, beforeThat] = [
    await versionBehind(place, 'current'),
    await versionBehind(place, 'previous'),
  ];
  const isOther = await switchTo(place, folder);
  steps.add(isOther ? 'changed' : 'kept', `${place.current} leads to it`);
  const hasNewUnit = mayUseSystemd && (await settleUnit(options, folder));
  steps.add(
    (await pointLink(place.command, '/opt/outrider/current/bin/outrider')) ? 'made' : 'kept',
    `command ${place.command}`,
  );
  // Until this version has come up, the one before puts updates into place.
  if (before === undefined || !hasService) await pointLink(place.updater, basename(folder));
  if (hasService) await reloadUnits();
  if (!hasService || !mayStart) {
    await pruned(options);
    steps.add('skipped', howToStart(options, hasService));
    return { version, previous: await previousVersion(place), folder, service: 'not started' };
  }
  const isUp = (await unitState()).active === 'active';
  if (isUp && !isOther && !isNew && !hasNewUnit && !hasToken) steps.add('kept', `service ${SERVICE} runs`);
  else {
    steps.add('started', `service ${SERVICE}; waiting until it is ready`);
    const why = await restartUnit();
    if (why !== undefined)
      await giveWay(options, {
        ...{ ...placed, before: isOther ? before : undefined, beforeThat, why },
      });
    steps.add('kept', 'it is ready, and has stayed up');
  }
  await pointLink(place.updater, basename(folder));
  if (mayUseSystemd) await takeUpdates(options, hasToken);
  await pruned(options);
  return { version, previous: await previousVersion(place), folder, service: 'active' };
}

/** @returns whether something of it is new */
async function settleUnit({ place, steps }: InstallOptions, folder: string): Promise<boolean> {
  const isWritten = await writeUnit(place, folder);
  steps.add(isWritten ? 'made' : 'kept', `service ${place.unit}`);
  steps.add((await enableUnit(place)) ? 'made' : 'kept', 'it starts with the machine');
  const isNew = await writeUpdateUnits(place, folder);
  if (isNew !== undefined) steps.add(isNew ? 'made' : 'kept', 'what puts updates from the hub into place');
  return isWritten;
}

/** An enrolment takes a moment: the agent does it by itself as soon as it reaches the hub. */
const ENROLS_WITHIN_MS = 20_000;

/** From now on the hub may update the agent, by the keys that this enrolment has brought. */
async function takeUpdates({ place, steps, hub }: InstallOptions, hasToken: boolean): Promise<void> {
  const hasHub = hub !== undefined || (await hubInConfig(place)) !== undefined;
  const waitMs = hasToken && hasHub ? ENROLS_WITHIN_MS : 0;
  const trust = await keepRoot(place, { isNew: hasToken, waitMs });
  await watchForUpdates();
  if (trust === 'not enrolled')
    steps.add(
      'skipped',
      'updates from the hub: the device is not enrolled yet; run this once more when it is, if you want them',
    );
  else steps.add(trust, 'the keys by which updates from the hub are checked');
}

interface Fallen extends Placed {
  /** Version that ran until now; undefined: none, or the same. */
  readonly before: string | undefined;
  /** Where `previous` led until now. */
  readonly beforeThat: string | undefined;
  /** What systemd and the log have said. */
  readonly why: string;
}

/** The version does not come up: back to the one before it, with nothing left of the new one. @throws SERVICE_FAILED */
async function giveWay({ place, steps }: InstallOptions, fallen: Fallen): Promise<never> {
  const { version, folder, before, beforeThat, hasToken, why } = fallen;
  if (before === undefined) {
    const isUpWithout = hasToken && (await runsWithoutToken(place));
    const end = isUpWithout
      ? '\nWithout the token it runs; make a new one with outrider devices enroll.'
      : '';
    throw new AppError('SERVICE_FAILED', `Outrider ${version} does not come up: ${why}${end}`);
  }
  // What it has not used would not let the version before come up either.
  await takeTokenBack(place);
  const known = await versionIn(before);
  const failure = await startVersion(place, before);
  if (beforeThat === undefined) await rm(place.previous, { force: true });
  else await pointLink(place.previous, basename(beforeThat));
  await rm(folder, { recursive: true, force: true });
  steps.add('changed', `${place.current} leads to ${known} again; version ${version} is removed`);
  throw new AppError(
    'SERVICE_FAILED',
    failure === undefined
      ? `Outrider ${version} did not come up, and ${known} runs again. What it said: ${why}`
      : `neither Outrider ${version} nor ${known}, which was there before, comes up. What the first said: ${why}\nWhat the second said: ${failure}`,
  );
}

/** A token that is used or too old is no reason for a device to stand still. */
async function runsWithoutToken(place: Place): Promise<boolean> {
  await takeTokenBack(place);
  return (await restartUnit()) === undefined;
}

/** Points to a version, with its own unit, and starts it. @returns why it does not come up; undefined when it does */
export async function startVersion(place: Place, folder: string, clock?: Clock): Promise<string | undefined> {
  await switchTo(place, folder);
  await writeUnit(place, folder);
  await reloadUnits();
  return restartUnit(clock);
}

async function pruned({ place, steps }: InstallOptions): Promise<void> {
  for (const name of await prune(place)) steps.add('removed', `version ${name}`);
}

async function previousVersion(place: Place): Promise<string | null> {
  const folder = await versionBehind(place, 'previous');
  return folder === undefined ? null : versionIn(folder);
}

function howToStart({ place, mayUseSystemd }: InstallOptions, hasService: boolean): string {
  const { config, data } = place.inside;
  if (hasService) return `the start: sudo systemctl start ${SERVICE}`;
  if (place.root !== '/' && mayUseSystemd) return 'the start: the image does it';
  const flags = `--config ${config} --data ${data} --models /opt/outrider/current/models`;
  return `the start: as user ${USER}, /opt/outrider/current/bin/outrider agent ${flags}`;
}
