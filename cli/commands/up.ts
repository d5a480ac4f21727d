/**
 * `outrider up` (= `npm start`): a hub with its broker and a demo device as supervised children, the device enrolled by the same
 * call that a user makes, and what it answers as a live table. What is needed only once they are up (cli/up/) is loaded meanwhile.
 */
import { setMaxListeners } from 'node:events';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import type { HubOfParent } from '../../shared/contract/hub-of-parent.ts';
import { systemClock as clock } from '../../shared/runtime/clock.ts';
import { colors } from '../../shared/runtime/colors.ts';
import { AppError } from '../../shared/runtime/errors.ts';
import { lockFolder } from '../../shared/runtime/folder-lock.ts';
import { type ProgramName, programFile, ROOT } from '../../shared/runtime/installation.ts';
import { Lifecycle } from '../../shared/runtime/lifecycle.ts';
import { createLogger } from '../../shared/runtime/logger.ts';
import { untilToldToStop } from '../../shared/runtime/program.ts';
import { Supervisor, type SupervisorOptions } from '../../shared/runtime/supervisor.ts';
import { rememberData } from '../last-data.ts';

/** Flags of `outrider up`. */
export interface UpOptions {
  readonly once?: boolean;
  readonly config?: string;
  readonly models?: string;
  readonly hubPort: number;
  readonly mqttPort: number;
  readonly agentPort: number;
  readonly data: string;
}

const inRoot = (path: string): string => fileURLToPath(new URL(path, ROOT));
/** Under `up` the agent is this device, whatever its configuration says. */
const DEMO_DEVICE = 'demo';
const hubFacts = z.object({ url: z.string(), mqttUrl: z.string(), hasDevelopmentKeys: z.boolean() });
const agentFacts = z.object({ url: z.string() });

/** @throws DATA_LOCKED, PORT_TAKEN, or why a part could not start */
export async function up(options: UpOptions): Promise<void> {
  const data = resolve(options.data);
  const lock = await lockFolder(data);
  const logger = createLogger({ program: 'up', folder: join(data, 'logs') });
  const lifecycle = new Lifecycle((name, error) => logger.failure('up.stop_failed', error, { part: name }));
  const told = untilToldToStop();
  const ending = new AbortController();
  setMaxListeners(50, ending.signal);
  let finished = (): void => undefined;
  const done = new Promise<string>((resolveDone) => {
    finished = () => resolveDone('finished');
  });

  let isTold = false;
  void told.then(() => {
    isTold = true;
  });
  const children: Supervisor[] = [];
  const ownHub = import('../up/own-hub.ts');
  const starting = startAll();
  const views = import('../up/live-view.ts');
  const following = import('../up/follow.ts');
  const { hubUrl, hasDevelopmentKeys, agentUrl } = await starting.catch(async (error: unknown) => {
    // Ctrl-C reaches a child as well, before it can know that it is one: that it ended is no failure then.
    if (!isTold) throw error;
    clearLine();
    process.stderr.write('outrider: stopped before everything was up\n');
    await lifecycle.stop();
    await lock.unlock();
    process.exit(130);
  });
  clearLine();
  await rememberData(data, agentUrl);

  const path = await (await ownHub).signInPath(hubUrl, data);
  const { liveView, plainView, Totals } = await views;
  const { follow } = await following;
  const head = [
    `${colors.bold('Outrider')}  hub ${colors.cyan(hubUrl)}  agent ${colors.cyan(agentUrl)}  data ${options.data}`,
    `sign in once, within ten minutes: ${colors.cyan(`${hubUrl}${path}`)}`,
    ...(hasDevelopmentKeys
      ? [colors.red('development keys: this hub signs updates by itself, with keys that it has made')]
      : []),
  ];
  // `| head` has read what it wanted: nobody would see the rest, or how to end it.
  const unread = new Promise<string>((end) => process.stdout.once('error', () => end('unread')));
  const view = process.stdout.isTTY ? liveView(new Totals(), head) : plainView(new Totals(), head);
  const followed = follow(agentUrl, view, ending.signal);
  const why = await Promise.race([told, done, unread]);
  // What the agent has said is shown before the totals.
  if (why === 'finished') await clock.sleep(LAST_RESULTS_MS, undefined, true);
  ending.abort();
  await followed;
  view.stop(why === 'finished' ? undefined : 'Stopping …');
  await lifecycle.stop();
  await lock.unlock();
  process.exit(0);

  /** Both at once: the device opens its disk and its models while the hub comes up, and is told where it is. */
  async function startAll() {
    say('Starting hub and demo device …');
    const hub = startHub();
    const agent = startAgent(hub.then(whatTheDeviceIsTold));
    try {
      const [{ url, hasDevelopmentKeys: areDevelopment }, agentUrl] = await Promise.all([hub, agent]);
      return { hubUrl: url, hasDevelopmentKeys: areDevelopment, agentUrl };
    } catch (error) {
      // The other one may still be starting.
      await Promise.all(children.map((child) => child.stop()));
      throw error;
    }
  }

  async function whatTheDeviceIsTold(hub: z.infer<typeof hubFacts>): Promise<HubOfParent> {
    const token = await (await ownHub).tokenIfNeeded(hub.url, data, DEMO_DEVICE);
    return { hub: hub.url, mqtt: hub.mqttUrl, ...(token !== undefined && { token }) };
  }

  function startHub(): Promise<z.infer<typeof hubFacts>> {
    const args = [
      '--data',
      data,
      '--models',
      models(),
      '--hub-port',
      String(options.hubPort),
      '--mqtt-port',
      String(options.mqttPort),
      '--deploy',
      'auto',
    ];
    return startChild('hub', args, hubFacts);
  }

  async function startAgent(hub: Promise<HubOfParent>): Promise<string> {
    const config =
      options.config === undefined ? inRoot('models/demo/outrider.yaml') : resolve(options.config);
    const args = [
      '--config',
      config,
      '--data',
      data,
      '--models',
      models(),
      '--device',
      DEMO_DEVICE,
      '--hub-from-parent',
      '--agent-port',
      String(options.agentPort),
      ...(options.once ? ['--once'] : []),
    ];
    return (await startChild('agent', args, agentFacts, { facts: hub, startTimeoutMs: AGENT_START_MS })).url;
  }

  function models(): string {
    return options.models === undefined ? inRoot('models') : resolve(options.models);
  }

  async function startChild<T>(
    name: ProgramName,
    args: string[],
    schema: z.ZodType<T>,
    more: Pick<SupervisorOptions, 'facts' | 'startTimeoutMs'> = {},
  ): Promise<T> {
    let said: unknown;
    const onReady = (told: Record<string, unknown>): void => {
      said = told;
    };
    const child = new Supervisor({
      name,
      entry: programFile(name),
      args,
      ...more,
      logger,
      clock,
      onReady,
      onFinished: () => finished(),
    });
    children.push(child);
    await lifecycle.start(name, child);
    logger.info('up.child_started', { child: name, pid: child.pid });
    const parsed = schema.safeParse(said);
    if (!parsed.success) throw new AppError('INVARIANT_BROKEN', `the ${name} came up without saying where`);
    return parsed.data;
  }
}

/** The agent has said "finished" over IPC; its last Results may still be on the stream. */
const LAST_RESULTS_MS = 300;

/** It waits for the hub, which has a minute for its own start. */
const AGENT_START_MS = 120_000;

function say(text: string): void {
  if (process.stdout.isTTY) process.stdout.write(`\r\u001b[2K${text}`);
}

function clearLine(): void {
  say('');
}
