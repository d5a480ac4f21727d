/** `outrider doctor`: looks at this machine, its models, the agent and the hub, and says what is wrong and what to do. */
import { stat } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { startRunner } from '../../shared/inference/runner/runner-process.ts';
import { colors } from '../../shared/runtime/colors.ts';
import { ROOT } from '../../shared/runtime/installation.ts';
import { isLoopback } from '../../shared/runtime/loopback.ts';
import { AgentClient, type AgentOptions } from '../agent-client.ts';
import { DEFAULT_DATA, placeBelow } from '../device/place.ts';
import { lookAtAgent } from '../doctor/agent.ts';
import { checkClockSource, checkDevice } from '../doctor/device.ts';
import type { Finding } from '../doctor/finding.ts';
import { lookAtHub } from '../doctor/hub.ts';
import {
  checkClock,
  checkDisk,
  checkFfmpeg,
  checkGpu,
  checkPort,
  checkVersions,
  type WantedPort,
} from '../doctor/machine.ts';
import { checkModels, type SelfTest } from '../doctor/models.ts';
import { HubClient, type HubOptions, hubFolderOf, leftAddress } from '../hub-client.ts';
import { print, table } from '../output.ts';

/** Flags of `outrider doctor`. */
export interface DoctorOptions extends HubOptions, AgentOptions {
  readonly models?: string;
  readonly json?: boolean;
}

/** The models that ship with Outrider. */
export const SHIPPED_MODELS = fileURLToPath(new URL('models', ROOT));
const MQTT_PORT = 1883;

/** Sets the exit code to 1 where something fails. @param selfTest undefined: a model only has to load */
export async function doctor(options: DoctorOptions, selfTest?: SelfTest): Promise<void> {
  const isHubNamed = (options.hub ?? process.env.OUTRIDER_HUB) !== undefined;
  const hub = await HubClient.find(options);
  const agent = await AgentClient.find(options);
  const [hubLook, agentLook] = await Promise.all([
    lookAtHub(hub, isHubNamed),
    lookAtAgent(agent, (options.agent ?? process.env.OUTRIDER_AGENT) !== undefined),
  ]);
  const hubFolder = await hubFolderOf(options.data);
  const left = await leftAddress(hubFolder);
  // A device whose hub is elsewhere: its agent says how that is.
  const isDevice = agentLook.isUp && !hubLook.isUp && !isHubNamed && (await isInstalled());
  const unclear = hubLook.isUnclear ? 'unclear' : false;
  const hubPorts: WantedPort[] = [
    { port: portOf(hub.url, 8080), wantedBy: 'hub', flag: '--hub-port', isOurs: hubLook.isUp || unclear },
    // A hub that is ready has its broker.
    {
      port: portOf(left?.mqttUrl ?? '', MQTT_PORT),
      wantedBy: 'broker',
      flag: '--mqtt-port',
      isOurs: isHere(hub.url) && (hubLook.isReady || unclear),
    },
  ];
  const ports: WantedPort[] = [
    ...(isDevice ? [] : hubPorts),
    { port: portOf(agent.url, 8090), wantedBy: 'agent', flag: '--agent-port', isOurs: agentLook.isUp },
  ];
  const findings: readonly Finding[] = [
    ...(await checkVersions()),
    await checkFfmpeg(),
    ...(isDevice ? [] : [await checkGpu(dirname(hubFolder))]),
    await checkClock(Date.now()),
    ...(await checkClockSource()),
    ...(await checkDevice()),
    ...(await checkDataFolder(options, dirname(hubFolder))),
    ...(await Promise.all(ports.map(checkPort))),
    ...(isDevice ? [] : hubLook.findings),
    ...agentLook.findings,
    ...(hubLook.isUp || agentLook.isUp
      ? []
      : [
          {
            about: 'programs',
            level: 'ok',
            found: 'nothing runs here',
            todo: 'Start with npm start.',
          } as const,
        ]),
    ...(await checkModels(resolve(options.models ?? SHIPPED_MODELS), { startRunner, selfTest })),
  ];
  const failed = findings.filter(({ level }) => level === 'fail').length;
  if (failed > 0) process.exitCode = 1;
  print(options.json, { findings, failed }, () => `${lines(findings)}\n\n${summary(findings)}`);
}

const isInstalled = (): Promise<boolean> =>
  stat(placeBelow('/').unit).then(
    () => true,
    () => false,
  );

/** Where the agent is installed as a service, its folder, which is its user's alone. */
async function checkDataFolder({ data }: DoctorOptions, found: string): Promise<Finding[]> {
  const isThere = await stat(found).catch(() => undefined);
  const installed = await stat(DEFAULT_DATA).catch(() => undefined);
  if (data !== undefined || isThere || !installed) return checkDisk(found);
  return checkDisk(DEFAULT_DATA, [0, installed.uid].includes(process.getuid?.() ?? 0));
}

function lines(findings: readonly Finding[]): string {
  const rows = findings.map(({ about, level, found, todo }) => [about, shown(level), found, todo ?? '']);
  return table(['what', '', 'found', 'what to do'], rows);
}

const shown = (level: Finding['level']): string =>
  ({ ok: colors.green('ok'), warn: colors.yellow('warn'), fail: colors.red('fail') })[level];

function summary(findings: readonly Finding[]): string {
  const count = (level: Finding['level']): number => findings.filter((one) => one.level === level).length;
  return `${count('ok')} ok, ${count('warn')} to look at, ${count('fail')} failed`;
}

/** The port that a local program has, else the one that it would take. */
function portOf(url: string, standard: number): number {
  const port = isHere(url) ? Number(new URL(url).port) : 0;
  return port === 0 ? standard : port;
}

const isHere = (url: string): boolean => URL.canParse(url) && isLoopback(new URL(url).hostname);
