import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { dirname, join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { AGENT_HELP, type AgentConfig, loadConfig } from '../../../agent/config.ts';
import { deviceId } from '../../../shared/contract/names.ts';
import { Authority } from '../../../shared/runtime/authority.ts';
import { systemClock } from '../../../shared/runtime/clock.ts';
import { type ErrorCode, isAppError } from '../../../shared/runtime/errors.ts';
import { silentLogger } from '../../../shared/runtime/logger.ts';
import { temporaryFolder } from '../../support/fixed.ts';

const PIPELINE = '{ name: gate, task: image-classification, edge: small, cloud: big }';
const MINIMAL = `pipelines: [${PIPELINE}]`;

async function configFile(t: TestContext, yaml: string): Promise<string> {
  const path = join(await temporaryFolder(t), 'conf', 'outrider.yaml');
  await mkdir(dirname(path));
  await writeFile(path, yaml);
  return path;
}

async function load(
  t: TestContext,
  yaml: string,
  flags: readonly string[] = [],
  env: NodeJS.ProcessEnv = {},
): Promise<AgentConfig> {
  const loaded = await loadConfig(['--config', await configFile(t, yaml), ...flags], env);
  assert.ok(loaded !== 'help');
  return loaded;
}

/** Loads what must not load. @returns what the user is told */
async function problem(
  t: TestContext,
  yaml: string,
  flags: readonly string[] = [],
  code: ErrorCode = 'CONFIG_INVALID',
): Promise<string> {
  const path = await configFile(t, yaml);
  try {
    await loadConfig(['--config', path, ...flags], {});
  } catch (error) {
    assert.ok(isAppError(error, code), String(error));
    return error.message.replaceAll(`${path}: `, '');
  }
  return assert.fail(`it was accepted: ${yaml}`);
}

/** Of 256 random bits, as a person would make one. */
const KEY = '5d1c0a9e7b3f4862d0e1f2a3b4c59687786950a1b2c3d4e5f60718293a4b5c6d';

test('the example of the design loads, as far as this version goes', async (t) => {
  const config = await load(
    t,
    `
device: gate-01
hub: { url: "https://hub.example.com" }
dataDir: ./data
pipelines:
  - name: gate
    feed: { type: folder, path: pictures }
    task: image-classification
    edge: efficientnet-lite0
    cloud: vit-base
    route: { agreement: 0.98, confidence: 0.95, budget: { requestsPerHour: 600, bytesPerDay: 50MB }, deadline: 2s, expires: 24h, whenOffline: both }
    sinks: [ { type: mqtt, url: "mqtt://10.0.0.2", topic: "home/gate" }, { type: file, path: gate.ndjson } ]
    share: results
`,
  );
  assert.equal(config.device, 'gate-01');
  assert.equal(config.hubUrl, 'https://hub.example.com');
  assert.equal(config.dataDir, join(config.baseDir, 'data'));
  const [pipeline] = config.pipelines;
  assert.deepEqual(pipeline, {
    name: 'gate',
    feed: { type: 'folder', path: 'pictures', recursive: false, settle: 500, after: 'keep' },
    task: 'image-classification',
    edge: 'efficientnet-lite0',
    cloud: 'vit-base',
    route: {
      agreement: 0.98,
      confidence: 0.95,
      start: 'certificate',
      deadline: 2_000,
      expires: 86_400_000,
      whenOffline: 'both',
      budget: { requestsPerHour: 600, bytesPerDay: 50e6 },
      scope: 'all',
      perLabel: false,
      decorrelation: 0,
    },
    sinks: [
      {
        ...{ type: 'mqtt', url: 'mqtt://10.0.0.2', topic: 'home/gate', qos: 1, retain: false },
        ...{ discoveryPrefix: 'homeassistant', pictures: true },
      },
      { type: 'file', path: 'gate.ndjson' },
    ],
    share: 'results',
    original: false,
    picture: { format: 'webp', quality: 'lossless' },
    redact: [],
  });
});

test('what is left out has the default of the design: closed, private, patient', async (t) => {
  const config = await load(t, MINIMAL);
  assert.equal(config.host, '127.0.0.1');
  assert.equal(config.port, 8090);
  assert.equal(config.key, undefined);
  assert.equal(config.once, false);
  assert.equal(config.logLevel, 'info');
  assert.ok(deviceId.safeParse(config.device).success, 'the host’s name, as a topic level');
  const [pipeline] = config.pipelines;
  assert.equal(pipeline?.share, 'none');
  assert.deepEqual(pipeline?.sinks, []);
  assert.deepEqual(pipeline?.route, {
    agreement: 0.98,
    confidence: 0.95,
    start: 'certificate',
    deadline: 2_000,
    expires: 86_400_000,
    whenOffline: 'both',
    budget: {},
    scope: 'all',
    perLabel: false,
    decorrelation: 0,
  });
});

test('all problems are told at once, each with its key', async (t) => {
  const told = await problem(
    t,
    `
devise: gate-01
hub: { url: "ftp://hub.example.com", mqtt: "hub.example.com:1883" }
pipelines:
  - name: "a gate"
    task: no-such-task
    edge: ../small
    route: { agreement: 1.5, deadline: soon }
    feed: { type: folder }
    sinks: [ { type: mqtt, url: "http://10.0.0.2", topic: "home/#" }, { type: pigeon, url: "https://x" } ]
`,
  );
  const keys = told.split('; ').map((one) => one.split(': ')[0]);
  assert.deepEqual(
    keys.toSorted((one, other) => (one ?? '').localeCompare(other ?? '')),
    [
      'hub.mqtt',
      'hub.url',
      'pipelines.0.edge',
      'pipelines.0.edge',
      'pipelines.0.feed.path',
      'pipelines.0.name',
      'pipelines.0.route.agreement',
      'pipelines.0.route.deadline',
      'pipelines.0.sinks.0.topic',
      'pipelines.0.sinks.0.url',
      'pipelines.0.sinks.1.type',
      'pipelines.0.task',
      'top',
    ],
  );
  assert.match(told, /top: .*"devise"/);
  assert.match(told, /a duration such as 500ms, 2s, 5m, 24h/);
  assert.match(told, /a topic without wildcards/);
});

test('pipelines need different names, and a model to ask', async (t) => {
  assert.match(await problem(t, 'pipelines: []'), /pipelines: at least one pipeline/);
  assert.match(await problem(t, 'device: gate-01'), /^pipelines: /);
  assert.match(await problem(t, `pipelines: [${PIPELINE}, ${PIPELINE}]`), /names must differ/);
  assert.match(
    await problem(t, 'pipelines: [{ name: gate, task: image-classification }]'),
    /each needs an edge model, a cloud model or both/,
  );
});

test('durations and sizes are read with their units', async (t) => {
  const route = (deadline: string): string =>
    `pipelines: [{ name: gate, task: image-classification, edge: small, route: { deadline: ${deadline} } }]`;
  for (const [text, ms] of [
    ['500ms', 500],
    ['2s', 2_000],
    ['1.5s', 1_500],
    ['5m', 300_000],
    ['24h', 86_400_000],
    ['7d', 604_800_000],
  ] as const)
    assert.equal((await load(t, route(text))).pipelines[0]?.route.deadline, ms, text);
  for (const text of ['2', '"2 s"', '-2s', '2w', 's', '1.s', '""'])
    assert.match(await problem(t, route(text)), /pipelines\.0\.route\.deadline/, text);

  const outbox = (size: string): string => `outbox: { maxBytes: ${size} }\n${MINIMAL}`;
  for (const [text, bytes] of [
    ['512B', 512],
    ['64KB', 64_000],
    ['64KiB', 65_536],
    ['50MB', 50_000_000],
    ['1.5GiB', 1.5 * 1024 ** 3],
  ] as const)
    assert.equal((await load(t, outbox(text))).outbox.maxBytes, bytes, text);
  for (const text of ['64', '64kb', '64TB', '-1MB'])
    assert.match(await problem(t, outbox(text)), /outbox\.maxBytes/, text);
  assert.match(await problem(t, `outbox: { maxEntries: 0 }\n${MINIMAL}`), /outbox\.maxEntries/);
});

test('flags go over the file', async (t) => {
  const file = `device: from-file\nhub: { url: "https://file.example.com", mqtt: "wss://file/mqtt" }\ndataDir: files\n${MINIMAL}`;
  const config = await load(t, file, [
    ...['--device', 'from-flag', '--hub', 'http://127.0.0.1:8080', '--mqtt', 'mqtts://flag:8883'],
    ...['--data', '/tmp/flag-data', '--models', '/tmp/flag-models', '--agent-port', '0', '--once'],
    ...['--log-level', 'debug', '--enroll', 'token-from-flag'],
  ]);
  assert.deepEqual(
    [config.device, config.hubUrl, config.mqttUrl, config.dataDir, config.modelsDir, config.port],
    ['from-flag', 'http://127.0.0.1:8080', 'mqtts://flag:8883', '/tmp/flag-data', '/tmp/flag-models', 0],
  );
  assert.deepEqual([config.once, config.logLevel, config.enrollToken], [true, 'debug', 'token-from-flag']);
  const without = await load(t, file);
  assert.deepEqual(
    [without.device, without.hubUrl, without.mqttUrl],
    ['from-file', 'https://file.example.com', 'wss://file/mqtt'],
  );
});

test('plain text stays on loopback, unless it is asked for', async (t) => {
  const hub = (text: string) => `hub: { ${text} }\n${MINIMAL}`;
  for (const [text, said] of [
    ['url: "http://10.0.0.2:8080"', /10\.0\.0\.2:8080 in plain text: use https:/],
    ['mqtt: "mqtt://broker"', /broker in plain text: use mqtts:/],
    ['mqtt: "ws://broker/mqtt"', /broker in plain text: use wss:/],
    ['url: "http://127.0.0.1.example.com"', /use https:/],
  ] as const) {
    assert.match(await problem(t, hub(text)), said);
    assert.ok((await load(t, hub(`${text}, insecurePlainText: true`))).insecurePlainText, text);
    assert.ok((await load(t, hub(text), ['--insecure-plain-text'])).insecurePlainText, text);
  }
  for (const url of ['http://127.0.0.1:8080', 'http://localhost', 'http://[::1]:8080', 'https://hub'])
    assert.equal((await load(t, hub(`url: "${url}"`))).hubUrl, url);
});

test('an authority given by hand is read beside the file, or where the flag says', async (t) => {
  const file = await configFile(t, `hub: { ca: own.pem }\n${MINIMAL}`);
  const pemOf = async (name: string): Promise<string> => {
    const folder = join(dirname(file), name);
    return (await Authority.open({ folder, names: [], clock: systemClock, logger: silentLogger })).pem;
  };
  const [ofFile, ofFlag] = [await pemOf('one'), await pemOf('other')];
  await writeFile(join(dirname(file), 'own.pem'), ofFile);
  const flag = join(dirname(file), 'flag.pem');
  await writeFile(flag, ofFlag);
  const caOf = async (...flags: string[]) => {
    const loaded = await loadConfig(['--config', file, ...flags], {});
    return loaded === 'help' ? undefined : loaded.hubCa;
  };
  assert.equal(await caOf(), ofFile);
  assert.equal(await caOf('--hub-ca', flag), ofFlag);
  await writeFile(flag, 'no certificate');
  await assert.rejects(caOf('--hub-ca', flag), (error) => isAppError(error, 'CONFIG_INVALID'));
  await assert.rejects(caOf('--hub-ca', '/nowhere.pem'), (error) => isAppError(error, 'FILE_UNREADABLE'));
});

test('the data folder of the file starts beside the file, and the default where the agent was started', async (t) => {
  const named = await load(t, `dataDir: ./there\n${MINIMAL}`);
  assert.equal(named.dataDir, join(named.baseDir, 'there'));
  assert.equal((await load(t, MINIMAL)).dataDir, join(process.cwd(), 'data'));
});

test('secrets come from the environment, and an empty one is none', async (t) => {
  const config = await load(t, MINIMAL, [], {
    OUTRIDER_ENROLL_TOKEN: 'token',
    OUTRIDER_MQTT_PASSWORD: 'password',
  });
  assert.deepEqual([config.enrollToken, config.mqttPassword], ['token', 'password']);
  const empty = await load(t, MINIMAL, [], { OUTRIDER_ENROLL_TOKEN: '', OUTRIDER_MQTT_PASSWORD: '' });
  assert.deepEqual([empty.enrollToken, empty.mqttPassword], [undefined, undefined]);
  const flag = await load(t, MINIMAL, ['--enroll', 'flag'], { OUTRIDER_ENROLL_TOKEN: 'token' });
  assert.equal(flag.enrollToken, 'flag');
});

test('off loopback a key is needed; on loopback none is used', async (t) => {
  for (const host of ['0.0.0.0', '192.168.1.5', '::', 'gate-01.local']) {
    assert.match(await problem(t, MINIMAL, ['--agent-host', host]), /OUTRIDER_AGENT_KEY/, host);
    const flags = ['--agent-host', host, '--insecure-plain-text'];
    const config = await load(t, MINIMAL, flags, { OUTRIDER_AGENT_KEY: KEY });
    assert.deepEqual([config.host, config.key, config.certificate], [host, KEY, undefined]);
  }
  for (const host of ['127.0.0.1', '::1', 'localhost']) {
    const config = await load(t, MINIMAL, ['--agent-host', host], { OUTRIDER_AGENT_KEY: 'secret' });
    assert.equal(config.key, undefined, host);
  }
});

test('off loopback without a key only when that is asked for, and a key that is given counts', async (t) => {
  const flags = ['--agent-host', '0.0.0.0', '--insecure-no-key'];
  assert.equal((await load(t, MINIMAL, flags, { OUTRIDER_AGENT_KEY: '' })).key, undefined);
  const withKey = [...flags, '--insecure-plain-text'];
  assert.equal((await load(t, MINIMAL, withKey, { OUTRIDER_AGENT_KEY: KEY })).key, KEY);
});

test('off loopback a key that can be guessed is refused, and one that would travel in plain text', async (t) => {
  const flags = ['--agent-host', '0.0.0.0', '--insecure-plain-text'];
  for (const weak of ['secret', 'x'.repeat(40), 'abcabcabcabcabcabcabcabc', KEY.slice(0, 19)])
    await assert.rejects(
      load(t, MINIMAL, flags, { OUTRIDER_AGENT_KEY: weak }),
      (error) => isAppError(error, 'CONFIG_INVALID') && /too easy to guess/.test(error.message),
      weak,
    );
  const open = ['--agent-host', '0.0.0.0'];
  await assert.rejects(
    load(t, MINIMAL, open, { OUTRIDER_AGENT_KEY: KEY }),
    (error) => isAppError(error, 'CONFIG_INVALID') && /plain text.*--agent-tls-cert/.test(error.message),
  );
  const tls = [...open, '--agent-tls-cert', '/etc/tls/cert.pem', '--agent-tls-key', '/etc/tls/key.pem'];
  const config = await load(t, MINIMAL, tls, { OUTRIDER_AGENT_KEY: KEY });
  assert.deepEqual(config.certificate, { certFile: '/etc/tls/cert.pem', keyFile: '/etc/tls/key.pem' });
  assert.match(await problem(t, MINIMAL, ['--agent-tls-cert', 'a'], 'USAGE'), /go together/);
});

test('flags that are unknown or wrong are usage errors, each with its name, all at once', async (t) => {
  assert.match(await problem(t, MINIMAL, ['--devise', 'x'], 'USAGE'), /--devise.*see outrider agent --help/s);
  assert.match(await problem(t, MINIMAL, ['x'], 'USAGE'), /see outrider agent --help/);
  assert.match(await problem(t, MINIMAL, ['--device'], 'USAGE'), /--device/);
  const told = await problem(
    t,
    MINIMAL,
    ['--agent-port', '70000', '--log-level', 'loud', '--device', 'a/b', '--hub', 'hub', '--mqtt', 'http://x'],
    'USAGE',
  );
  assert.deepEqual(
    told.split('; ').map((one) => one.split(': ')[0]),
    ['--agent-port', '--log-level', '--device', '--hub', '--mqtt'],
  );
});

test('a file that is missing, no YAML or empty is told with its path', async (t) => {
  const folder = await temporaryFolder(t);
  await assert.rejects(
    loadConfig(['--config', join(folder, 'nothing.yaml')], {}),
    (error) =>
      isAppError(error, 'CONFIG_INVALID') && /nothing\.yaml does not exist.*--config/.test(error.message),
  );
  await assert.rejects(
    loadConfig(['--config', folder], {}),
    (error) => isAppError(error, 'CONFIG_INVALID') && /cannot be read/.test(error.message),
  );
  assert.match(await problem(t, 'pipelines: [ { name: gate'), /outrider\.yaml is not YAML/);
  assert.match(
    await problem(t, `device: a\ndevice: b\n${MINIMAL}`),
    /outrider\.yaml is not YAML: line 2, column 1: .*unique/,
  );
  for (const [yaml, said] of [
    ['device: a\n\thub: b', /line 2, column 1: .*tab.*spaces/],
    ['device: a: b', /line 1, column \d+: /],
    ['pipelines: [ { name: gate', /line 2, column 1: .*not closed/],
    ['device: !secret a', /line 1, column 9: this tag is not known/],
    ['device: *nobody', /is not YAML: /],
    ['device: a\n---\ndevice: b', /line 2, column 1: a second document/],
  ] as const) {
    const told = await problem(t, `${yaml}\n`);
    assert.match(told, said);
    assert.doesNotMatch(told, /Error|\n/);
  }
  assert.match(await problem(t, ''), /outrider\.yaml is empty/);
  assert.match(await problem(t, '# nothing but this\n'), /outrider\.yaml is empty/);
  assert.match(await problem(t, `a: ${'['.repeat(5000)}${']'.repeat(5000)}`), /nested too deep/);
  const unfolding = ['b', 'c', 'd', 'e', 'f', 'g', 'h'].map((name, index) => {
    const before = `*${'abcdefg'[index]}`;
    return `${name}: &${name} [${Array.from({ length: 9 }, () => before).join(', ')}]`;
  });
  assert.match(await problem(t, ['a: &a [x]', ...unfolding].join('\n')), /aliases unfold to far too much/);
});

test('a file as an editor of Windows saves it is read, and one that is no text is called that', async (t) => {
  const path = join(await temporaryFolder(t), 'outrider.yaml');
  const text = `device: gate-01\n${MINIMAL}`;
  for (const bytes of [
    Buffer.from(`\uFEFF${text}`, 'utf16le'),
    Buffer.from(`\uFEFF${text}`, 'utf16le').swap16(),
    Buffer.from(`\uFEFF${text.replaceAll('\n', '\r\n')}`),
  ]) {
    await writeFile(path, bytes);
    const loaded = await loadConfig(['--config', path], {});
    assert.equal(loaded !== 'help' && loaded.device, 'gate-01');
  }
  for (const bytes of [Buffer.from('device: a\0b\n'), Buffer.from([0x64, 0x3a, 0x20, 0xe9, 0x0a])]) {
    await writeFile(path, bytes);
    await assert.rejects(
      loadConfig(['--config', path], {}),
      (error) => isAppError(error, 'CONFIG_INVALID') && /outrider\.yaml is no text/.test(error.message),
    );
  }
});

test('merge keys take over what another part of the file says', async (t) => {
  const yaml = `pipelines:
  - &first { name: a, task: image-classification, edge: small }
  - { <<: *first, name: b }
`;
  const config = await loadConfig(['--config', await configFile(t, yaml)], {});
  assert.ok(config !== 'help');
  const { pipelines } = config;
  assert.deepEqual(
    pipelines.map(({ name, edge }) => [name, edge]),
    [
      ['a', 'small'],
      ['b', 'small'],
    ],
  );
});

test('threads are shared among the runners of different models', async (t) => {
  const two = `pipelines:
  - { name: a, task: image-classification, edge: small }
  - { name: b, task: image-classification, edge: small }
  - { name: c, task: image-classification, edge: other }`;
  assert.equal((await load(t, MINIMAL)).threads, availableParallelism());
  assert.equal((await load(t, two)).threads, Math.max(1, Math.floor(availableParallelism() / 2)));
});

test('asked for help it asks for nothing else, and the help names every flag', async () => {
  assert.equal(await loadConfig(['--help', '--config', '/nowhere']), 'help');
  assert.equal(await loadConfig(['-h']), 'help');
  const named = [...AGENT_HELP.matchAll(/--([a-z-]+)/g)].map(([, name]) => name);
  for (const flag of ['config', 'data', 'models', 'device', 'hub', 'mqtt', 'enroll', 'once', 'log-level'])
    assert.ok(named.includes(flag), flag);
  for (const name of new Set(named)) {
    if (name === 'help') continue;
    // An unknown one would be told first.
    await assert.rejects(
      loadConfig([`--${name}`, ...(name === 'once' ? [] : ['x']), '--config', '/nowhere'], {}),
      (error) => !(isAppError(error, 'USAGE') && /Unknown option/.test(error.message)),
      `--${name} stands in the help, and does not exist`,
    );
  }
});

test('an enrolled device keeps its id when its host gets another name, unless it is named', async (t) => {
  const folder = await temporaryFolder(t);
  const path = join(folder, 'outrider.yaml');
  await writeFile(path, 'pipelines: [{ <<: { task: text-classification }, name: one, cloud: big }]');
  await mkdir(join(folder, 'agent'));
  await writeFile(join(folder, 'agent', 'credential.json'), '{"deviceId": "gate-01", "secret": "s"}');
  const device = async (...more: string[]) => {
    const config = await loadConfig(['--config', path, '--data', folder, ...more], {});
    return config === 'help' ? undefined : [config.device, config.pipelines[0]?.task];
  };
  assert.deepEqual(await device(), ['gate-01', 'text-classification'], 'merge keys are merged');
  assert.deepEqual(await device('--device', 'gate-02'), ['gate-02', 'text-classification']);
});

const withCamera = (feed: string, task = 'image-classification'): string =>
  `pipelines: [{ name: gate, task: ${task}, edge: small, feed: { type: camera, ${feed} } }]`;

test('a camera has the defaults of the design', async (t) => {
  const [pipeline] = (await load(t, withCamera('url: "rtsp://10.0.0.7/a"'))).pipelines;
  assert.deepEqual(pipeline?.feed, {
    ...{
      type: 'camera',
      url: 'rtsp://10.0.0.7/a',
      fps: 1,
      transport: 'tcp',
      insecure: false,
      hwaccel: 'none',
    },
    ...{ keyframes: false, masks: [], repeat: false },
  });
});

test('what a camera cannot be is told by its key, without its password', async (t) => {
  for (const [feed, told] of [
    ['url: "ftp://u:secret@host/a"', /feed\.url: rtsp, /],
    ['url: "rtsp://u:sec#ret@host/a"', /feed\.url: this is no address/],
    ['url: "rtsp://a/b", stream: sub', /feed\.stream: name the address/],
    ['url: "rtsp://a/b", fps: 0', /feed\.fps/],
    ['url: "rtsp://a/b", size: 99999x2', /feed\.size/],
    ['url: "rtsp://a/b", region: [0.9, 0, 0.1, 1]', /feed\.region/],
    ['url: "rtsp://a/b", masks: [{ polygon: [[0, 0], [1, 1]] }]', /three corners/],
    ['url: "rtsp://a/b", active: "7-19"', /feed\.active/],
    ['url: "rtsp://a/b", motion: { threshold: 2 }', /feed\.motion\.threshold/],
    ['url: "rtsp://a/b", hwaccel: "x; rm"', /feed\.hwaccel/],
  ] as const) {
    const message = await problem(t, withCamera(feed));
    assert.match(message, told);
    assert.doesNotMatch(message, /secret|sec#ret/);
  }
  assert.match(
    await problem(t, withCamera('url: "rtsp://a/b"', 'text-classification')),
    /a camera gives pictures/,
  );
});

test('sinks are checked against what the task can give, each with its key', async (t) => {
  const SECRET = `whsec_${'A'.repeat(43)}=`;
  const withSink = (sink: string, task = 'image-classification'): string =>
    `pipelines: [{ name: gate, task: ${task}, cloud: big, sinks: [${sink}] }]`;
  const good = [
    `{ type: webhook, url: "https://example.com/x", secret: "${SECRET}", picture: true, when: { labels: [cat], minScore: 0.5, for: 2s } }`,
    '{ type: webhook, url: "http://10.0.0.2/x", allowPrivate: true }',
    '{ type: snapshots, path: shots, keep: { age: 1d, bytes: 10MB } }',
    '{ type: mqtt, url: "mqtts://home", topic: home/gate, discovery: homeassistant, qos: 0, retain: true }',
  ];
  for (const sink of good) await load(t, withSink(sink));
  const bad: readonly (readonly [sink: string, told: RegExp, task?: string])[] = [
    ['{ type: webhook, url: "http://example.com/x" }', /sinks\.0\.url: https, or http with allowPrivate/],
    [
      '{ type: webhook, url: "https://a:geheim@example.com/x" }',
      /sinks\.0\.url: no name and password in the address/,
    ],
    ['{ type: webhook, url: "ftp://example.com/x" }', /sinks\.0\.url/],
    [
      '{ type: webhook, url: "https://example.com", secret: "geheim" }',
      /sinks\.0\.secret: whsec_ and 24 to 64 bytes/,
    ],
    ['{ type: mqtt, url: "mqtt://x", topic: t, discovery: domoticz }', /sinks\.0\.discovery/],
    [
      '{ type: snapshots, path: s }',
      /sinks\.0\.type: inputs of text-classification are no pictures/,
      'text-classification',
    ],
    [
      '{ type: file, path: f, when: { labels: [a], minScore: 0.5, for: 1s } }',
      /sinks\.0\.when\.labels: answers of translation have no labels[\s\S]*minScore[\s\S]*for/,
      'translation',
    ],
    ['{ type: file, path: f, when: { minScore: 1.5 } }', /sinks\.0\.when\.minScore/],
    [
      '{ type: snapshots, path: s }, { type: snapshots, path: s/ }',
      /each snapshots sink needs a folder of its own/,
    ],
  ];
  for (const [sink, told, task] of bad) {
    const said = await problem(t, withSink(sink, task));
    assert.match(said, told);
    assert.doesNotMatch(said, /geheim/);
  }
  await load(t, withSink('{ type: file, path: f, when: { onChange: true, cooldown: 5s } }', 'translation'));
});
