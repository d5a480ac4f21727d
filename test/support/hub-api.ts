/** The hub's HTTP API over a real registry on disk, with an inferencer that the test speaks for. */
import assert from 'node:assert/strict';
import { cp, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createHubApi } from '../../cloud/api/api.ts';
import { SignIns } from '../../cloud/api/frame/sign-in.ts';
import { ADMITS_EVERY_KEY } from '../../cloud/asking/admission.ts';
import { HttpAsking } from '../../cloud/asking/asking.ts';
import { Captures } from '../../cloud/captures/captures.ts';
import { Fingerprints } from '../../cloud/captures/fingerprints.ts';
import { EventFeed } from '../../cloud/events/event-feed.ts';
import { CountingInferencer } from '../../cloud/metering/model-statistics.ts';
import { createHubMetrics } from '../../cloud/metrics.ts';
import type {
  BrokerAccess,
  HubAuthority,
  InferenceReply,
  InferenceRequest,
  Inferencer,
  KeyAdmission,
  UsageLine,
} from '../../cloud/ports.ts';
import { Registry } from '../../cloud/registry/registry.ts';
import { ReleaseFolder } from '../../cloud/releases/release-folder.ts';
import { ReleaseKeeper } from '../../cloud/releases/release-keeper.ts';
import { RolloutArms } from '../../cloud/rollout/arms.ts';
import { RolloutConductor } from '../../cloud/rollout/conductor.ts';
import { RolloutOrders } from '../../cloud/rollout/orders.ts';
import { Simulator } from '../../cloud/rollout/simulation/simulator.ts';
import { Trainings } from '../../cloud/training/trainings.ts';
import { problem, signInLink } from '../../shared/contract/admin.ts';
import { modelSpec } from '../../shared/release/folder/model-spec.ts';
import type { AgentArchive } from '../../shared/release/release.ts';
import { type Clock, systemClock } from '../../shared/runtime/clock.ts';
import { AppError, type ErrorCode } from '../../shared/runtime/errors.ts';
import { newSecret, sha256Hex } from '../../shared/runtime/ids.ts';
import { silentLogger } from '../../shared/runtime/logger.ts';
import type { TaskName } from '../../shared/tasks/tasks.ts';
import { EVIDENCE } from './fleet-evidence.ts';
import {
  FolderBlobs,
  MEMORY_SIGNING,
  MemoryGallery,
  MemoryPins,
  MemoryPublisher,
  MemoryShelf,
  MemoryUpdates,
} from './update-ports.ts';

export const LABELS = [
  { label: 'cat', score: 0.9 },
  { label: 'dog', score: 0.1 },
];

export interface TestHubApi {
  readonly app: ReturnType<typeof createHubApi>;
  readonly registry: Registry;
  /** Holds access.json. */
  readonly brokerFolder: string;
  readonly adminKey: string;
  readonly inferKey: string;
  readonly metricsKey: string;
  readonly asked: InferenceRequest[];
  readonly usage: UsageLine[];
  readonly blobs: FolderBlobs;
  readonly publisher: MemoryPublisher;
  readonly updates: MemoryUpdates;
  readonly events: EventFeed;
  readonly shelf: MemoryShelf;
  readonly gallery: MemoryGallery;
  /** On disk, in the hub's folder. */
  readonly captures: Captures;
  /** What the next request gets: the labels, unless a test throws. */
  answer: (request: InferenceRequest) => unknown;
  notReady: string | undefined;
  stopTrainings(): Promise<void>;
  /** Rollouts look at their devices. */
  look(): Promise<void>;
  stop(): Promise<void>;
}

export async function startHubApi(
  options: {
    clock?: Clock;
    bodyTimeoutMs?: number;
    credentialLifeMs?: number;
    createAccess?: () => BrokerAccess;
    mqttUrl?: string;
    authority?: HubAuthority;
    /** More models, by name. */
    models?: Readonly<Record<string, TaskName>>;
    /** The hub's folder as it was once: this hub begins with a copy of it, as one restored from a backup. */
    from?: string;
    /** Answers in the place of `answer`. */
    inferencer?: Inferencer;
    /** Quotas of keys; none, when left out. */
    admission?: KeyAdmission;
    corsOrigins?: readonly string[];
    /** Folder with releases for devices. */
    releasesDir?: string;
    /** Words of the command that trains; none, when left out. */
    trainer?: readonly string[];
    /** Of every model, where trainings begin. */
    baseFolder?: string;
    publishTrained?: (model: string, folder: string) => Promise<{ version: string; created: boolean }>;
    publicUrl?: string;
    hostAbroad?: string;
  } = {},
): Promise<TestHubApi> {
  const { clock = systemClock, bodyTimeoutMs, credentialLifeMs, createAccess } = options;
  const { mqttUrl = 'mqtt://127.0.0.1:1883', authority } = options;
  const root = await mkdtemp(join(tmpdir(), 'outrider-api-'));
  const brokerFolder = join(root, 'broker');
  if (options.from !== undefined) await cp(options.from, join(root, 'hub'), { recursive: true });
  const registry = await Registry.open({
    folder: join(root, 'hub'),
    isRestored: options.from !== undefined,
    brokerFolder,
    clock,
    logger: silentLogger,
    ...(credentialLifeMs !== undefined && { credentialLifeMs }),
    ...(createAccess && { createAccess }),
  });
  await takeIn(registry, 'org/pictures', 'image-classification');
  await takeIn(registry, 'texts', 'text-classification');
  for (const [name, task] of Object.entries(options.models ?? {})) await takeIn(registry, name, task);
  const asked: InferenceRequest[] = [];
  const usage: UsageLine[] = [];
  const updates = new MemoryUpdates();
  const events = new EventFeed(clock);
  const metrics = createHubMetrics();
  const noRunner = (): never => {
    throw new AppError('MODEL_NOT_LOADED', 'this hub runs nothing');
  };
  const captures = new Captures({
    folder: join(root, 'hub', 'captures'),
    ...{ maxBytes: 10e6, maxAgeMs: 86_400_000 },
    fingerprints: new Fingerprints({ lease: async () => noRunner(), logger: silentLogger }),
    isActive: (id) => registry.devices.isActive(id),
    ...{ events, clock, logger: silentLogger, metrics },
  });
  await captures.start();
  const hub: Omit<TestHubApi, 'app' | 'look'> = {
    registry,
    brokerFolder,
    adminKey: (await readFile(join(root, 'hub', 'admin.key'), 'utf8')).trim(),
    inferKey: (await registry.keys.create({ name: 'app', scopes: ['infer'] })).key,
    metricsKey: (await registry.keys.create({ name: 'prometheus', scopes: ['metrics'] })).key,
    asked,
    usage,
    blobs: new FolderBlobs(join(root, 'blobs')),
    publisher: new MemoryPublisher(updates),
    updates,
    events,
    shelf: new MemoryShelf(registry.models),
    gallery: new MemoryGallery(),
    captures,
    answer: () => LABELS,
    notReady: undefined,
    stopTrainings: async () => undefined,
    async stop() {
      hub.events.stop();
      await hub.stopTrainings();
      await captures.stop();
      await registry.stop();
      await rm(root, { recursive: true, force: true, maxRetries: 5 });
    },
  };
  const infer = async (request: InferenceRequest): Promise<InferenceReply> => {
    asked.push(request);
    const output = await hub.answer(request);
    const { ref } = registry.models.resolve(request.model);
    return { output, model: ref, timingsMs: { queue: 1, preprocess: 2, inference: 3 } };
  };
  const conductor = new RolloutConductor({
    book: registry.rollouts,
    devices: () => registry.devices.list(),
    isPinned: (id, model) => Object.hasOwn(registry.pins.pinsOf(id), model),
    staged: () => [],
    arms: await RolloutArms.open(join(root, 'hub'), () => undefined, silentLogger),
    onLook: () => undefined,
    clock,
    logger: silentLogger,
  });
  const rollouts = new RolloutOrders({ book: registry.rollouts, conductor, clock, logger: silentLogger });
  const trainings = new Trainings({
    folder: join(root, 'hub', 'training'),
    ...{ trainer: options.trainer, timeoutMs: 60_000, captures },
    baseOf: (model) => {
      const { ref, folder } = registry.models.resolve(model);
      return { version: ref.version, folder: options.baseFolder ?? folder, isAuto: false, isStaged: false };
    },
    publish: options.publishTrained ?? (async () => ({ version: '2', created: true })),
    rollOut: async () => 'rollout-1',
    ...{ events, clock, logger: silentLogger, metrics },
  });
  await trainings.start();
  hub.stopTrainings = () => trainings.stop();
  const shelfFolder = options.releasesDir ?? join(root, 'hub', 'releases');
  const releases = new ReleaseFolder(shelfFolder, silentLogger);
  const agentReleases = new ReleaseKeeper({
    ...{ folder: shelfFolder, shelf: releases, blobs: hub.blobs, clock, logger: silentLogger },
    updates: new MemoryArchives(),
    book: registry.agentReleases,
    devices: () => registry.devices.list(),
    events: hub.events,
  });
  const counting = new CountingInferencer(options.inferencer ?? { infer }, clock);
  const app = createHubApi({
    hubId: registry.hubId,
    mqttUrl,
    ...(authority && { authority }),
    keys: registry.keys,
    devices: registry.devices,
    models: hub.shelf,
    agentReleases,
    engines: {
      put: (name, request) => registry.engines.put(name, request),
      remove: (name) => registry.engines.remove(name),
      statusOf: () => undefined,
    },
    asking: new HttpAsking({
      admission: options.admission ?? ADMITS_EVERY_KEY,
      models: registry.models,
      inferencer: counting,
      usage: { record: (line) => usage.push(line) },
      clock,
    }),
    statistics: counting,
    loadOf: (name) =>
      name === 'texts'
        ? { loaded: true, provider: 'cpu', memoryBytes: 100e6, waiting: 3 }
        : { loaded: false, provider: null, memoryBytes: null, waiting: 0 },
    desired: registry.desired,
    labels: registry.labels,
    rollouts,
    trainings,
    pins: new MemoryPins((id) => registry.devices.isActive(id)),
    publisher: hub.publisher,
    blobs: hub.blobs,
    signedUpdates: hub.updates,
    signing: MEMORY_SIGNING,
    offeredDeltas: () => [],
    remover: {
      remove: async (name, version) => {
        const marked = await registry.removal.mark(name, version);
        return { name, versions: marked.map((one) => one.version), delisted: true, freedBytes: 0 };
      },
    },
    events: hub.events,
    gallery: hub.gallery,
    evidence: { status: () => EVIDENCE },
    captures: hub.captures,
    simulator: new Simulator({ evidence: { ofAll: () => [] }, models: registry.models, clock }),
    signIns: new SignIns(clock),
    releases,
    publicUrl: options.publicUrl,
    hostAbroad: options.hostAbroad,
    ready: () => hub.notReady,
    metrics,
    clock,
    logger: silentLogger,
    ...(options.corsOrigins && { corsOrigins: options.corsOrigins }),
    ...(bodyTimeoutMs !== undefined && { bodyTimeoutMs }),
  });
  return Object.assign(hub, { app, look: () => conductor.look() });
}

export type Body = NonNullable<RequestInit['body']>;

/** Asks with a key (the admin's unless told) and, where there is one, a JSON body. */
export function asker(hub: TestHubApi) {
  return (
    method: string,
    path: string,
    options: {
      json?: unknown;
      body?: Body;
      key?: string;
      headers?: Record<string, string>;
      /** Address of the caller. */
      from?: string;
    } = {},
  ): Promise<Response> =>
    Promise.resolve(
      hub.app.request(
        path,
        {
          method,
          headers: { authorization: `Bearer ${options.key ?? hub.adminKey}`, ...options.headers },
          ...(options.json !== undefined && { body: JSON.stringify(options.json) }),
          ...(options.body !== undefined && { body: options.body, duplex: 'half' }),
        },
        options.from === undefined ? {} : { incoming: { socket: { remoteAddress: options.from } } },
      ),
    );
}

/** RFC 9457, with our code, and nothing of our insides. */
export async function assertProblem(response: Response, status: number, code: ErrorCode): Promise<void> {
  const text = await response.text();
  assert.equal(response.status, status, text);
  assert.equal(response.headers.get('content-type'), 'application/problem+json');
  const body = problem.parse(JSON.parse(text));
  assert.deepEqual([body.status, body.code], [status, code], text);
  assert.equal(body.requestId, response.headers.get('x-request-id'));
  assert.doesNotMatch(text, /\.ts:\d+|node_modules/, 'no stack');
}

/** A browser's cookie, as a one-time address gives it. */
export async function signIn(hub: TestHubApi): Promise<string> {
  const made = await asker(hub)('POST', '/api/v1/sign-ins');
  const { path } = signInLink.parse(await made.json());
  return ((await hub.app.request(path)).headers.get('set-cookie') ?? '').split(';')[0] ?? '';
}

/** @returns the secret of a device that has enrolled */
export async function enrolDevice(hub: TestHubApi, deviceId: string): Promise<string> {
  const { token } = await hub.registry.devices.createToken({});
  const secret = newSecret();
  await hub.registry.devices.enroll({ token, deviceId, secret });
  return secret;
}

function takeIn(registry: Registry, name: string, task: TaskName): Promise<unknown> {
  const spec = modelSpec.parse({
    schema: 1,
    name,
    task,
    model: 'onnx/model.onnx',
    precision: 'float32',
    files: { 'onnx/model.onnx': sha256Hex(name) },
  });
  return registry.models.takeIn({ path: `/models/${name}`, spec, digest: sha256Hex(name), bytes: 10 });
}

/** Signed archives of the agent, without signatures. */
class MemoryArchives {
  readonly canListArchives = true;
  #archives: readonly AgentArchive[] = [];

  archives(): AgentArchive[] {
    return [...this.#archives];
  }

  async listArchives(archives: readonly AgentArchive[]): Promise<void> {
    const others = this.#archives.filter(({ file }) => !archives.some((one) => one.file === file));
    this.#archives = [...others, ...archives];
  }

  async delistArchives(versions: readonly string[]): Promise<void> {
    this.#archives = this.#archives.filter(({ version }) => !versions.includes(version));
  }
}
