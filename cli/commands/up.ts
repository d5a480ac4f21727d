/**
 * `outrider up` (= `npm start`): broker, hub and a demo device as three supervised children, enrolled by the same call that
 * a user makes, and what the device answers as a live table.
 */
import { setMaxListeners } from 'node:events';
import { access, readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createParser } from 'eventsource-parser';
import { z } from 'zod';
import { deviceList, enrollmentToken, signInLink } from '../../shared/contract/admin.ts';
import { result as resultSchema } from '../../shared/contract/result.ts';
import { systemClock as clock } from '../../shared/runtime/clock.ts';
import { colors } from '../../shared/runtime/colors.ts';
import { AppError } from '../../shared/runtime/errors.ts';
import { lockFolder } from '../../shared/runtime/folder-lock.ts';
import { type ProgramName, programFile, ROOT } from '../../shared/runtime/installation.ts';
import { tryParseJson } from '../../shared/runtime/json.ts';
import { Lifecycle } from '../../shared/runtime/lifecycle.ts';
import { createLogger } from '../../shared/runtime/logger.ts';
import { untilToldToStop } from '../../shared/runtime/program.ts';
import { Supervisor } from '../../shared/runtime/supervisor.ts';
import { HubClient, hubFolder } from '../hub-client.ts';
import { rememberData } from '../last-data.ts';
import { liveView, plainView, Totals, type View } from '../live-view.ts';

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
const facts = {
  broker: z.object({ port: z.int() }),
  web: z.object({ url: z.string(), hasDevelopmentKeys: z.boolean().optional() }),
};

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
  const { hubUrl, hasDevelopmentKeys, agentUrl } = await startAll().catch(async (error: unknown) => {
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

  const { path } = await (await ownHub(hubUrl, data)).post('/api/v1/sign-ins', {}, signInLink);
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
  const following = follow(agentUrl, view, ending.signal);
  const why = await Promise.race([told, done, unread]);
  // What the agent has said is shown before the totals.
  if (why === 'finished') await clock.sleep(LAST_RESULTS_MS, undefined, true);
  ending.abort();
  await following;
  view.stop(why === 'finished' ? undefined : 'Stopping …');
  await lifecycle.stop();
  await lock.unlock();
  process.exit(0);

  async function startAll() {
    say('Starting the broker …');
    const brokerPort = await startBroker();
    say('Starting the hub …');
    const { url, hasDevelopmentKeys: areTheirs } = await startHub(brokerPort);
    say('Starting the demo device …');
    return { hubUrl: url, hasDevelopmentKeys: areTheirs, agentUrl: await startAgent(url, brokerPort) };
  }

  async function startBroker(): Promise<number> {
    const args = [
      '--port',
      String(options.mqttPort),
      '--data',
      join(data, 'broker'),
      '--logs',
      join(data, 'logs'),
    ];
    const said = await startChild('broker', args, facts.broker);
    return said.port;
  }

  async function startHub(port: number): Promise<z.infer<typeof facts.web>> {
    const args = [
      '--data',
      data,
      '--models',
      models(),
      '--hub-port',
      String(options.hubPort),
      '--mqtt',
      `mqtt://127.0.0.1:${port}`,
      '--broker-apart',
      '--deploy',
      'auto',
    ];
    return startChild('hub', args, facts.web);
  }

  async function startAgent(hub: string, brokerPort: number): Promise<string> {
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
      '--hub',
      hub,
      // Not that of its enrolment: ports may be others this time.
      '--mqtt',
      `mqtt://127.0.0.1:${brokerPort}`,
      '--agent-port',
      String(options.agentPort),
      ...(options.once ? ['--once'] : []),
    ];
    const token = await tokenIfNeeded(await ownHub(hub, data), data);
    const env = token === undefined ? {} : { OUTRIDER_ENROLL_TOKEN: token };
    return (await startChild('agent', args, facts.web, env)).url;
  }

  function models(): string {
    return options.models === undefined ? inRoot('models') : resolve(options.models);
  }

  async function startChild<T>(
    name: ProgramName,
    args: string[],
    schema: z.ZodType<T>,
    env: NodeJS.ProcessEnv = {},
  ): Promise<T> {
    let said: unknown;
    const onReady = (told: Record<string, unknown>): void => {
      said = told;
    };
    const child = new Supervisor({
      name,
      entry: programFile(name),
      args,
      env,
      logger,
      clock,
      onReady,
      onFinished: () => finished(),
    });
    await lifecycle.start(name, child);
    logger.info('up.child_started', { child: name, pid: child.pid });
    const parsed = schema.safeParse(said);
    if (!parsed.success) throw new AppError('INVARIANT_BROKEN', `the ${name} came up without saying where`);
    return parsed.data;
  }
}

/** The agent has said "finished" over IPC; its last Results may still be on the stream. */
const LAST_RESULTS_MS = 300;

/** The hub that was just started, by the key that it has left: what is exported (OUTRIDER_KEY, OUTRIDER_CA) is for another one. */
async function ownHub(hub: string, data: string): Promise<HubClient> {
  const key = (await readFile(join(hubFolder(data), 'admin.key'), 'utf8')).trim();
  return HubClient.find({ hub, key, data, ca: '' });
}

/** The same call that a user makes, when the device has no credential yet or this hub does not know it. */
async function tokenIfNeeded(hub: HubClient, data: string): Promise<string | undefined> {
  const hasCredential = await access(join(data, 'agent', 'credential.json')).then(
    () => true,
    () => false,
  );
  const { devices } = await hub.get('/api/v1/devices', deviceList);
  if (hasCredential && devices.some(({ id }) => id === DEMO_DEVICE)) return undefined;
  return (await hub.post('/api/v1/enrollment-tokens', { deviceId: DEMO_DEVICE }, enrollmentToken)).token;
}

/** The agent's stream, taken up again when the agent restarts. */
async function follow(agentUrl: string, view: View, signal: AbortSignal): Promise<void> {
  const seen = new Map<string, string>();
  while (!signal.aborted) {
    try {
      const response = await fetch(`${agentUrl}/v1/results`, { signal });
      const parser = createParser({
        onEvent: ({ data }) => {
          const parsed = resultSchema.safeParse(tryParseJson(Buffer.from(data)));
          // A new connection tells again what is kept.
          if (!parsed.success || seen.get(parsed.data.id) === data) return;
          seen.set(parsed.data.id, data);
          if (seen.size > MAX_SEEN) seen.delete(seen.keys().next().value ?? '');
          view.add(parsed.data);
        },
      });
      const decoder = new TextDecoder();
      for await (const chunk of response.body ?? []) parser.feed(decoder.decode(chunk, { stream: true }));
    } catch {
      // Cut off: the agent is restarting, or we are stopping.
    }
    await clock.sleep(300, signal).catch(() => undefined);
  }
}

const MAX_SEEN = 5_000;

function say(text: string): void {
  if (process.stdout.isTTY) process.stdout.write(`\r\u001b[2K${text}`);
}

function clearLine(): void {
  say('');
}
