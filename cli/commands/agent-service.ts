/** `outrider agent install|uninstall|rollback|status|logs`: the agent as a service of this machine. */
import { spawn } from 'node:child_process';
import { resolve } from 'node:path';
import { systemClock } from '../../shared/runtime/clock.ts';
import { AppError } from '../../shared/runtime/errors.ts';
import { createLogger } from '../../shared/runtime/logger.ts';
import { AgentClient, type AgentOptions } from '../agent-client.ts';
import { installAgent } from '../device/install.ts';
import { findPlace, SERVICE } from '../device/place.ts';
import { OWN_RELEASE } from '../device/release-folder.ts';
import { goBack } from '../device/rollback.ts';
import { hasSystemd, type UnitState, unitState } from '../device/service.ts';
import { Steps } from '../device/steps.ts';
import { uninstallAgent } from '../device/uninstall.ts';
import { applyUpdate } from '../device/update/apply-update.ts';
import { systemdSupervisor } from '../device/update/systemd-supervisor.ts';
import { versionBehind, versionIn } from '../device/versions.ts';
import { lookAtAgent } from '../doctor/agent.ts';
import { bytesText, note, print, table } from '../output.ts';

/** Flags of `outrider agent install`. */
export interface InstallFlags {
  readonly hub?: string;
  readonly token?: string;
  readonly device?: string;
  readonly ca?: string;
  readonly insecurePlainText?: boolean;
  readonly config?: string;
  readonly data?: string;
  readonly root?: string;
  readonly start: boolean;
  readonly systemd: boolean;
  readonly json?: boolean;
}

/** A token is a line. */
const MAX_TOKEN_BYTES = 4_096;

/** @param release archive or folder; the release that this command is part of, when left out */
export async function installService(release: string | undefined, flags: InstallFlags): Promise<void> {
  const {
    hub,
    device,
    ca,
    insecurePlainText = false,
    config,
    data,
    root = '/',
    start,
    systemd,
    json,
  } = flags;
  if (hub !== undefined && !/^https?:\/\/[^\s"'#]+$/.test(hub))
    throw new AppError('USAGE', `--hub ${hub} is no address`);
  const steps = new Steps({ isQuiet: json ?? false });
  const installed = await installAgent({
    ...{
      place: await findPlace(resolve(root), { config, data }),
      steps,
    },
    ...{ source: release ?? OWN_RELEASE, token: await tokenOf(flags.token) },
    ...{ hub, device, ca, insecurePlainText, mayStart: start, mayUseSystemd: systemd },
  });
  const { version, previous, service } = installed;
  print(json, { ...installed, steps: steps.all }, () =>
    [
      `Outrider ${version} is installed${service === 'active' ? ' and runs' : ''}${previous === null ? '' : `; outrider agent rollback goes back to ${previous}`}.`,
      'See outrider agent status, outrider agent logs and outrider doctor.',
    ].join('\n'),
  );
}

/** `-`: from standard input, so that no list of processes shows it; else as given, or OUTRIDER_ENROLL_TOKEN. */
async function tokenOf(given: string | undefined): Promise<string | undefined> {
  if (given !== '-') return given ?? (process.env.OUTRIDER_ENROLL_TOKEN || undefined);
  let text = '';
  for await (const chunk of process.stdin) {
    text += String(chunk);
    if (text.length > MAX_TOKEN_BYTES)
      throw new AppError('USAGE', 'what comes in by standard input is no token');
  }
  return text.trim() || undefined;
}

/** `outrider agent uninstall`. */
export async function uninstallService(flags: {
  readonly purge?: boolean;
  readonly data?: string;
  readonly config?: string;
  readonly root?: string;
  readonly json?: boolean;
}): Promise<void> {
  const { purge: isPurge = false, data, config, root = '/', json } = flags;
  const steps = new Steps({ isQuiet: json ?? false });
  const stays = await uninstallAgent(await findPlace(resolve(root), { config, data }), { isPurge, steps });
  print(json, { stays, steps: steps.all }, () =>
    stays.length === 0
      ? 'Nothing of Outrider is left.'
      : `What stays: ${stays.join(', ')}. A later install goes on with it; outrider agent uninstall --purge takes it away.`,
  );
}

/** `outrider agent rollback`. */
export async function rollbackService({ json }: { readonly json?: boolean }): Promise<void> {
  const went = await goBack(await findPlace('/'));
  print(
    json,
    went,
    () => `Outrider ${went.version} runs; outrider agent rollback goes back to ${went.previous}.`,
  );
}

/** `outrider agent apply-update`: for the units of updates alone. */
export async function applyOffered({
  data,
  afterBoot = false,
  root = '/',
}: {
  readonly data?: string;
  readonly afterBoot?: boolean;
  readonly root?: string;
}): Promise<void> {
  // In an image nothing runs that could be tried.
  const isBoot = afterBoot || root !== '/';
  if (root === '/' && process.getuid?.() !== 0)
    throw new AppError('INSTALL_IMPOSSIBLE', 'this is started by outrider-update.service, as root');
  const place = await findPlace(resolve(root), { data });
  const done = await applyUpdate({
    ...{ place, isBoot, clock: systemClock, platform: `${process.platform}-${process.arch}` },
    supervisor: systemdSupervisor(place, { clock: systemClock, isBoot }),
    logger: createLogger({ program: 'update' }),
  });
  if (done)
    note(`${done.version}: ${done.phase}${done.error ? ` (${done.error.message}; ${done.error.code})` : ''}`);
}

/** `outrider agent status`: what systemd and the agent itself say. Exit code 1 where the service is not up. */
export async function serviceStatus(options: AgentOptions & { readonly json?: boolean }): Promise<void> {
  const place = await findPlace('/');
  const folder = await versionBehind(place, 'current');
  const version = folder === undefined ? null : await versionIn(folder);
  const unit = (await hasSystemd()) ? await unitState() : null;
  const { findings } = await lookAtAgent(await AgentClient.find(options), true);
  if (unit?.active !== 'active') process.exitCode = 1;
  print(options.json, { version, unit, findings }, () =>
    table(
      ['what', '', 'found'],
      [
        ['version', '', version ?? 'not installed as a service'],
        [
          'service',
          unit?.active === 'active' ? 'ok' : 'fail',
          unit ? unitText(unit) : 'systemd does not run this machine',
        ],
        ...findings.map(({ about, level, found }) => [about, level, found]),
      ],
    ),
  );
}

function unitText({
  active,
  sub,
  since,
  restarts,
  isEnabled,
  memoryBytes,
  result,
  status,
}: UnitState): string {
  const parts = [
    `${active} (${sub})${active === 'active' && since !== '' ? ` since ${since}` : ''}`,
    ...(active === 'active' || result === 'success' ? [] : [`the last run ended with ${result}`]),
    ...(restarts > 0 ? [`started anew ${restarts} times by itself`] : []),
    ...(memoryBytes === null || active !== 'active' ? [] : [bytesText(memoryBytes)]),
    ...(isEnabled ? [] : ['does not start with the machine']),
    ...(status === '' || active !== 'active' ? [] : [status]),
  ];
  return parts.join(', ');
}

/** `outrider agent logs`: the service's lines in the system's log. */
export async function serviceLogs({
  follow,
  lines,
}: {
  readonly follow?: boolean;
  readonly lines: string;
}): Promise<void> {
  if (!/^\d{1,6}$/.test(lines)) throw new AppError('USAGE', '-n wants a number of lines');
  const args = ['-u', SERVICE, '-n', lines, '-o', 'short-iso', '--no-pager', ...(follow ? ['-f'] : [])];
  const child = spawn('journalctl', args, { stdio: ['ignore', 'inherit', 'inherit'] });
  await new Promise<void>((done, reject) => {
    child.once('error', (cause) =>
      reject(
        new AppError(
          'INSTALL_IMPOSSIBLE',
          'this machine has no journalctl; the agent’s own log is DATA/logs/agent*.log',
          { cause },
        ),
      ),
    );
    child.once('close', (code) => {
      process.exitCode = code ?? 0;
      done();
    });
  });
}
