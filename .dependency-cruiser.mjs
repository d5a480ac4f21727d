// The layer rules of docs/architecture.md, checked by machine (`npm run check`).

const sibling = (side) => ({
  name: `${side}-parts-do-not-meet`,
  comment: `A folder of ${side}/ declares the port it needs in ports.ts; main.ts and ${side}/wiring plug it.`,
  severity: 'error',
  from: { path: `^${side}/([^/]+)/.+`, pathNot: `^${side}/wiring/` },
  to: { path: `^${side}/[^/]+/.+`, pathNot: `^${side}/$1/` },
});

/** The floor, from the ground up; a layer imports those below it. */
const LAYERS = ['runtime', 'tasks', 'contract', 'dataset', 'release', 'inference'];

const layer = (name, index) => ({
  name: `${name}-knows-what-is-below`,
  severity: 'error',
  from: { path: `^shared/${name}/` },
  to: { path: `^shared/(?!(${LAYERS.slice(0, index + 1).join('|')})/)` },
});

/** Of the floor, and beside its layers. */
const alone = (name) => ({
  name: `${name}-stands-on-runtime-alone`,
  severity: 'error',
  from: { path: `^shared/${name}/` },
  to: { path: `^shared/(?!(runtime|${name})/)` },
});

/** An npm package that touches the world has one owner. */
const owner = (name, pkg, files) => ({
  name: `owner-of-${name}`,
  severity: 'error',
  from: { pathNot: files },
  to: { path: pkg },
});

/** Rooms that load native code, or are reached only through it: the runner's own. */
const RUNNER_ROOMS =
  'detection|generation|graph|labels|maps|picture|series|sound|speech|tasks|tensor|text|tokenizer|towers';

const npm = (name) => `^(node_modules/)?${name}(/|$)`;

export default {
  forbidden: [
    { name: 'no-cycles', severity: 'error', from: {}, to: { circular: true } },
    {
      name: 'agent-on-the-floor',
      severity: 'error',
      from: { path: '^agent/' },
      to: { path: '^(cli|cloud)/' },
    },
    {
      name: 'cloud-on-the-floor',
      severity: 'error',
      from: { path: '^cloud/' },
      to: { path: '^(agent|cli)/' },
    },
    {
      name: 'cli-on-the-floor',
      comment:
        'It replays the agent’s own router (`outrider route simulate`), and knows nothing else of the two programs.',
      severity: 'error',
      from: { path: '^cli/' },
      to: { path: '^(agent/(?!router/)|cloud/)' },
    },
    {
      name: 'floor-knows-nobody',
      severity: 'error',
      from: { path: '^shared/' },
      to: { path: '^(agent|cli|cloud|models|test|tools)/' },
    },
    sibling('agent'),
    sibling('cloud'),
    {
      name: 'parts-do-not-know-who-plugs-them',
      severity: 'error',
      from: { path: '^(agent|cloud)/.+/', pathNot: '^(agent|cloud)/wiring/' },
      to: { path: '^(agent|cloud)/(main\\.ts|wiring/)' },
    },
    ...LAYERS.map(layer),
    alone('mqtt'),
    alone('page'),
    alone('camera'),
    {
      name: 'native-only-in-the-runner',
      comment: 'No serving process may load native inference code (docs/architecture.md).',
      severity: 'error',
      from: {
        path: '^(agent|cli|cloud|shared)/',
        pathNot: `^shared/inference/(runner/runner-main\\.ts$|(${RUNNER_ROOMS})/)`,
      },
      to: { path: `^shared/inference/(${RUNNER_ROOMS})/` },
    },
    {
      name: 'tasks-only-from-the-runner',
      comment: 'What is common to two tasks lies in a room of its own.',
      severity: 'error',
      from: { pathNot: '^shared/inference/(runner/runner-main\\.ts$|tasks/)|^test/' },
      to: { path: '^shared/inference/tasks/' },
    },
    owner(
      'onnxruntime',
      npm('onnxruntime-node'),
      '^shared/inference/graph/session\\.ts$|^(test|node_modules)/',
    ),
    owner(
      'transformers',
      npm('@huggingface/transformers'),
      '^shared/inference/generation/(generation|open-model)\\.ts$|^(test|node_modules)/',
    ),
    owner('sharp', npm('sharp'), '^shared/inference/picture/image\\.ts$|^(test|node_modules)/'),
    owner('mqtt', npm('mqtt'), '^shared/mqtt/|^(test|node_modules)/'),
    owner('mqtt-packet', npm('mqtt-packet'), '^shared/mqtt/|^(test|node_modules)/'),
    owner('ws', npm('ws'), '^cloud/broker/|^(test|node_modules)/'),
    owner('x509', npm('@peculiar/x509'), '^shared/runtime/authority\\.ts$|^(test|node_modules)/'),
    owner('tuf-js', npm('tuf-js'), '^shared/release/tuf/|^(test|node_modules)/'),
    owner('tufjs', npm('@tufjs/[^/]+'), '^shared/release/tuf/|^(test|node_modules)/'),
    owner('zod-openapi', npm('@hono/zod-openapi'), '^cloud/api/|^(test|node_modules)/'),
    owner('node-cron', npm('node-cron'), '^shared/runtime/schedule\\.ts$|^(test|node_modules)/'),
    owner('aedes', npm('aedes'), '^cloud/broker/|^(test|node_modules)/'),
    owner('lowdb', npm('lowdb'), '^cloud/registry/|^(test|node_modules)/'),
    owner('hono', npm('hono'), '^(agent|cloud)/api/|^(test|node_modules)/'),
    owner('hono-server', npm('@hono/node-server'), '^shared/runtime/http-server\\.ts$|^(test|node_modules)/'),
    owner('commander', npm('commander'), '^cli/|^node_modules/'),
    owner('huggingface-hub', npm('@huggingface/hub'), '^cli/import/|^node_modules/'),
    owner('protobuf', npm('@bufbuild/protobuf'), '^shared/release/import/|^(test|node_modules)/'),
    owner('pino', npm('pino'), '^shared/runtime/logger\\.ts$|^node_modules/'),
    owner('prom-client', npm('prom-client'), '^shared/runtime/metrics\\.ts$|^node_modules/'),
    owner(
      'standardwebhooks',
      npm('standardwebhooks'),
      '^agent/sink/webhook/webhook-sink\\.ts$|^(test|node_modules)/',
    ),
    owner('ipaddr.js', npm('ipaddr\\.js'), '^agent/sink/webhook/address\\.ts$|^(test|node_modules)/'),
    owner('phone-numbers', npm('libphonenumber-js'), '^agent/privacy/|^(test|node_modules)/'),
    owner('re2js', npm('re2js'), '^agent/privacy/|^(test|node_modules)/'),
    owner('onvif', npm('onvif'), '^shared/camera/(discovery|onvif)\\.ts$|^(test|node_modules)/'),
    owner(
      'csv-parse',
      npm('csv-parse'),
      '^agent/feed/sensor/line-reader\\.ts$|^cli/csv-window\\.ts$|^(test|node_modules)/',
    ),
    owner(
      'dot-prop',
      npm('dot-prop'),
      '^agent/(feed/sensor/json-path|config/sensor)\\.ts$|^(test|node_modules)/',
    ),
    owner('yauzl', npm('yauzl'), '^cli/gpu/unpack\\.ts$|^(test|node_modules)/'),
    owner('yaml', npm('yaml'), '^agent/read-yaml\\.ts$|^(test|node_modules)/'),
    { name: 'not-to-unresolvable', severity: 'error', from: {}, to: { couldNotResolve: true } },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    tsConfig: { fileName: 'tsconfig.json' },
    tsPreCompilationDeps: true,
    enhancedResolveOptions: {
      extensions: ['.ts', '.mjs', '.js', '.json'],
      exportsFields: ['exports'],
      conditionNames: ['import', 'node', 'default', 'types'],
    },
  },
};
