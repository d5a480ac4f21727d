/** The hub's page over an admin API that says what a test wants: for what a real hub shows too seldom or too slowly. */
import { serve } from '@hono/node-server';
import { Hono } from 'hono';
import { secureHeaders } from 'hono/secure-headers';
import { type SSEStreamingApi, streamSSE } from 'hono/streaming';
import sharp from 'sharp';
import type { HubEnv } from '../../cloud/api/frame/face.ts';
import { createAssetApi, readPages } from '../../cloud/api/pages/page.ts';
import type { BoardEntry, DeviceRecord, HubEvent, ModelRecord } from '../../shared/contract/admin.ts';
import type { CaptureSummary } from '../../shared/contract/captures.ts';
import { type RolloutRecord, rolloutPlan } from '../../shared/contract/rollouts.ts';
import type { TrainingRecord } from '../../shared/contract/trainings.ts';
import { PAGE_POLICY } from '../../shared/page/assets.ts';
import { newId } from '../../shared/runtime/ids.ts';
import { TELEMETRY } from './fixed.ts';
import { EVIDENCE } from './fleet-evidence.ts';
import { MEMORY_SIGNING } from './update-ports.ts';

const ref = (name: string, version: string) => ({
  name,
  version,
  digest: name.length.toString(16).repeat(64),
});
const UPDATE = {
  model: ref('cifar10-cnn', '3'),
  error: null,
  test: 'golden',
  downloadedBytes: 40_000,
  totalBytes: 100_000,
  answers: 12,
} as const;

const CAPTURES: CaptureSummary = {
  ...{ kept: 1_925, bytes: 8.2e6, disagreeing: 430, samples: 372 },
  ...{
    oldestAtMs: Date.now() - 86_400_000,
    newestAtMs: Date.now() - 3_000,
    maxBytes: 500e6,
    maxAgeMs: 30 * 86_400_000,
  },
  pipelines: [
    {
      ...{ pipeline: 'gate', task: 'image-classification' },
      ...{ kept: 1_925, bytes: 8.2e6, disagreeing: 430, samples: 372 },
    },
  ],
  dropped: { duplicate: 12 },
};

const TRAINING: TrainingRecord = {
  ...{ id: newId(), model: 'cifar10-cnn', base: '2', state: 'done', pipeline: null, sinceAtMs: null },
  ...{
    rollout: true,
    minCaptures: 100,
    note: '',
    by: 'admin',
    captures: 1_925,
    output: 'epoch 3 of 3',
    error: null,
  },
  ...{ createdAtMs: Date.now() - 600_000, startedAtMs: Date.now() - 590_000, endedAtMs: Date.now() - 60_000 },
  result: { version: '3', created: true, rollout: 'rollout-1' },
};

export function cannedDevice(overrides: Partial<DeviceRecord> = {}): DeviceRecord {
  return {
    id: 'gate-01',
    online: true,
    lastSeenAtMs: Date.now() - 3_000,
    enrolledAtMs: Date.now() - 86_400_000,
    labels: {},
    expiresAtMs: null,
    contestedAtMs: null,
    reported: {
      agentVersion: '0.1.0',
      pipelines: [
        {
          ...{ name: 'vision', task: 'image-classification' as const, cloud: 'cifar10-vit' },
          ...{ edge: ref('cifar10-cnn', '2'), edgeModel: 'cifar10-cnn', share: 'inputs' as const },
        },
        {
          ...{ name: 'text', task: 'text-classification' as const, cloud: 'sst2-minilm' },
          ...{ edge: null, edgeModel: 'sst2-lstm', share: 'results' as const },
        },
      ],
      updates: [{ ...UPDATE, phase: 'trial', atMs: Date.now() - 5_000 }],
    },
    telemetry: {
      ...TELEMETRY,
      outbox: { entries: 4, bytes: 4_000, deadLetters: 1 },
      link: {
        day: '2026-01-01',
        use: [{ pipeline: 'vision', purpose: 'request', upBytes: 1_234_567, downBytes: 89_000 }],
      },
    },
    ...overrides,
  };
}

/** A fleet in all the states that there are. */
function fleet(): DeviceRecord[] {
  const reported = cannedDevice().reported!;
  const withUpdate = (update: Partial<NonNullable<typeof reported.updates>[number]>) => ({
    ...reported,
    updates: [{ ...UPDATE, phase: 'downloading' as const, atMs: Date.now(), ...update }],
  });
  return [
    cannedDevice(),
    cannedDevice({ id: 'gate-02', reported: withUpdate({}) }),
    cannedDevice({
      id: 'gate-03',
      contestedAtMs: Date.now(),
      reported: withUpdate({
        phase: 'rolled-back',
        error: { code: 'MODEL_SELF_TEST_FAILED', message: 'golden input 2 gives cat, not dog' },
      }),
    }),
    cannedDevice({
      id: 'porch',
      online: false,
      lastSeenAtMs: Date.now() - 7_200_000,
      reported: withUpdate({
        phase: 'checking',
        error: { code: 'UPDATE_EXPIRED', message: 'timestamp.json ended an hour ago' },
      }),
    }),
    cannedDevice({ id: 'new', online: false, lastSeenAtMs: null, reported: null, telemetry: null }),
  ];
}

export function cannedModels(): ModelRecord[] {
  const version = (number: number) => ({
    version: String(number),
    digest: number.toString(16).repeat(64).slice(0, 64),
    bytes: 180_000 + number,
    createdAtMs: Date.UTC(2026, 0, number),
    published: number !== 8,
    test: 'golden' as const,
  });
  const versions = Array.from({ length: 8 }, (_, index) => version(8 - index));
  const { digest, bytes } = version(8);
  const model = {
    ...({ task: 'image-classification', loaded: true, provider: 'cpu' } as const),
    ...{ version: '8', digest, bytes },
    ...{ plan: null, keepLoaded: false, maxQueue: null, storedBytes: 0, memoryBytes: 210e6, waiting: 3 },
  } as const;
  return [
    { name: 'cifar10-cnn', policy: 'manual', deployed: '1', ...model, versions, engine: null },
    {
      name: 'cifar10-vit',
      policy: 'auto',
      deployed: '7',
      ...model,
      loaded: false,
      provider: null,
      versions: [version(7)],
      engine: null,
    },
  ];
}

export function cannedEntry(index = 0, overrides: Partial<BoardEntry> = {}): BoardEntry {
  const isCloud = index % 3 === 0;
  return {
    deviceId: 'gate-01',
    result: {
      id: newId(),
      pipeline: 'vision',
      task: 'image-classification',
      output: [{ label: ['airplane', 'cat', 'ship'][index % 3], score: 0.42 + (index % 50) / 100 }],
      source: isCloud ? 'cloud' : 'edge',
      provisional: index % 5 === 1,
      model: isCloud ? ref('cifar10-vit', '7') : ref('cifar10-cnn', '2'),
      agreement: isCloud ? null : 0.973,
      reason: isCloud ? 'uncertain' : 'confident',
      timingsMs: { preprocess: 1, inference: 1, queue: null, network: null, total: isCloud ? 61.24 : 3.4 },
      input: `picture-${index}.jpg`,
      atMs: Date.now() - index * 1_000,
    },
    hasThumbnail: isCloud,
    text: null,
    ...overrides,
  };
}

/** In its second stage, with gates of each kind of word. */
export function cannedRollout(): RolloutRecord {
  const verdict = (gate: 'agreement' | 'errors', state: 'passed' | 'waiting', detail: string) => ({
    ...{ gate, state, detail, worse: 0, atLeast: -0.01, atMost: 0.01 },
    evidence: { version: 400, before: 4_000, rest: 9_000 },
  });
  return {
    ...rolloutPlan.parse({}),
    ...{ id: '01a2', model: 'cifar10-cnn', version: '8', digest: 'd'.repeat(64), from: '1', note: '' },
    ...{ state: 'running', reason: 'the stage has 4 minutes to go', stage: 1, stageSinceAtMs: Date.now() },
    ...{ createdAtMs: Date.now() - 600_000, endedAtMs: null, matched: 50, answers: 412 },
    devices: { running: 4, 'rolled-back': 1 },
    verdicts: [
      verdict('agreement', 'waiting', 'about 2,000 requests are needed'),
      verdict('errors', 'passed', '0 of 412 inputs failed'),
    ],
    history: [],
  };
}

export interface CannedHub {
  readonly url: string;
  tell(event: HubEvent): Promise<void>;
  /** Cuts the page's stream. */
  cut(): void;
  /** What the API answers from now on; 200 as usual. */
  status: number;
  devices: DeviceRecord[];
  models: ModelRecord[];
  results: BoardEntry[];
  close(): Promise<void>;
}

export async function startCannedHub(options: { hasDevelopmentKeys?: boolean } = {}): Promise<CannedHub> {
  const pages = readPages(options.hasDevelopmentKeys ?? false);
  const picture = await sharp({ create: { width: 96, height: 96, channels: 3, background: '#4682b4' } })
    .webp()
    .toBuffer();
  const streams = new Set<SSEStreamingApi>();
  const app = new Hono<HubEnv>();
  app.use(secureHeaders({ contentSecurityPolicy: PAGE_POLICY, strictTransportSecurity: false }));
  app.route('/', createAssetApi());
  app.get('/', (c) => c.html(pages.fleet));
  app.get('/stranger', (c) => c.html(pages.refused, 401));
  app.use('/api/*', (c, next) =>
    hub.status === 200 ? next() : Promise.resolve(c.json({}, hub.status as 401)),
  );
  // Two to a page, so that a list is more than one.
  app.get('/api/v1/devices', (c) => {
    const after = c.req.query('after');
    const start = after === undefined ? 0 : hub.devices.findIndex(({ id }) => id === after) + 1;
    const devices = hub.devices.slice(start, start + 2);
    const next = start + 2 < hub.devices.length ? devices.at(-1)?.id : null;
    return c.json({ devices, next });
  });
  app.get('/api/v1/models', (c) => c.json({ models: hub.models, next: null }));
  app.get('/api/v1/rollouts', (c) => c.json({ rollouts: [cannedRollout()], next: null }));
  app.get('/api/v1/evidence', (c) => c.json(EVIDENCE));
  app.get('/api/v1/capture-summary', (c) => c.json(CAPTURES));
  app.get('/api/v1/trainings', (c) => c.json({ trainings: [TRAINING], next: null }));
  app.get('/api/v1/tuf/status', (c) =>
    c.json({ ...MEMORY_SIGNING.status(), isDevelopment: options.hasDevelopmentKeys ?? false }),
  );
  app.get('/api/v1/results', (c) => c.json({ results: hub.results }));
  app.get('/api/v1/results/:id/thumbnail', (c) => c.body(picture, 200, { 'content-type': 'image/webp' }));
  app.get('/api/v1/events', (c) =>
    streamSSE(c, async (sse) => {
      streams.add(sse);
      // An event makes the browser's end open at once.
      await sse.writeln(': hello\n');
      await new Promise<void>((resolve) => sse.onAbort(resolve));
      streams.delete(sse);
    }),
  );
  const server = serve({ fetch: app.fetch, hostname: '127.0.0.1', port: 0 });
  await new Promise((resolve) => server.once('listening', resolve));
  const address = server.address();
  const port = typeof address === 'object' && address ? address.port : 0;
  const hub: CannedHub = {
    url: `http://127.0.0.1:${port}`,
    tell: async (event) => {
      for (const sse of streams) await sse.writeSSE({ event: event.type, data: JSON.stringify(event) });
    },
    cut: () => {
      for (const sse of streams) void sse.close();
      if ('closeAllConnections' in server) server.closeAllConnections();
    },
    status: 200,
    devices: fleet(),
    models: cannedModels(),
    results: Array.from({ length: 12 }, (_, index) => cannedEntry(index)),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        if ('closeAllConnections' in server) server.closeAllConnections();
      }),
  };
  return hub;
}
