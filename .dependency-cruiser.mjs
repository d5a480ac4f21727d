// The layer rules of docs/architecture.md, checked by machine (`npm run check`).

const sibling = (side) => ({
  name: `${side}-parts-do-not-meet`,
  comment: `A folder of ${side}/ declares the port it needs in ports.ts; main.ts plugs it.`,
  severity: 'error',
  from: { path: `^${side}/([^/]+)/.+` },
  to: { path: `^${side}/[^/]+/.+`, pathNot: `^${side}/$1/` },
});

/** An npm package that touches the world has one owner. */
const owner = (name, pkg, files) => ({
  name: `owner-of-${name}`,
  severity: 'error',
  from: { pathNot: files },
  to: { path: pkg },
});

/** What loads native code, or is reached only through it. */
const NATIVE = 'session|image|text-graph|generation|decoder|generate-tokens|speech/(ctc|whisper)|tasks/.+';

const npm = (name) => `^(node_modules/)?${name}(/|$)`;

export default {
  forbidden: [
    { name: 'no-cycles', severity: 'error', from: {}, to: { circular: true } },
    { name: 'agent-not-cloud', severity: 'error', from: { path: '^agent/' }, to: { path: '^cloud/' } },
    { name: 'cloud-not-agent', severity: 'error', from: { path: '^cloud/' }, to: { path: '^agent/' } },
    {
      name: 'floor-knows-nobody',
      severity: 'error',
      from: { path: '^shared/' },
      to: { path: '^(agent|cloud|test|models)/' },
    },
    sibling('agent'),
    sibling('cloud'),
    {
      name: 'parts-do-not-know-main',
      severity: 'error',
      from: { path: '^(agent|cloud)/.+/' },
      to: { path: '^(agent|cloud)/(main|pipeline)\\.ts$' },
    },
    {
      name: 'runtime-is-lowest',
      severity: 'error',
      from: { path: '^shared/runtime/' },
      to: { path: '^shared/(?!runtime/)' },
    },
    {
      name: 'contract-over-runtime',
      severity: 'error',
      from: { path: '^shared/contract/' },
      to: { path: '^shared/(?!runtime/|contract/)' },
    },
    {
      name: 'release-over-contract',
      severity: 'error',
      from: { path: '^shared/release/' },
      to: { path: '^shared/(?!runtime/|contract/|release/)' },
    },
    {
      name: 'inference-over-release',
      severity: 'error',
      from: { path: '^shared/inference/' },
      to: { path: '^shared/(mqtt|cli)/' },
    },
    {
      name: 'mqtt-stands-alone',
      severity: 'error',
      from: { path: '^shared/mqtt/' },
      to: { path: '^shared/(inference|cli)/' },
    },
    {
      name: 'native-only-in-the-runner',
      comment: 'No serving process may load native inference code (docs/architecture.md).',
      severity: 'error',
      from: {
        path: '^(agent|cloud|shared)/',
        pathNot: `^shared/inference/(runner-main|${NATIVE})\\.ts$`,
      },
      to: { path: `^shared/inference/(${NATIVE})\\.ts$` },
    },
    owner('onnxruntime', npm('onnxruntime-node'), '^shared/inference/session\\.ts$|^(test|node_modules)/'),
    owner(
      'transformers',
      npm('@huggingface/transformers'),
      '^shared/inference/generation\\.ts$|^(test|node_modules)/',
    ),
    owner('sharp', npm('sharp'), '^shared/inference/image\\.ts$|^(test|node_modules)/'),
    owner('mqtt', npm('mqtt'), '^shared/mqtt/|^(test|node_modules)/'),
    owner('ws', npm('ws'), '^cloud/broker/|^(test|node_modules)/'),
    owner('x509', npm('@peculiar/x509'), '^shared/runtime/authority\\.ts$|^(test|node_modules)/'),
    owner('tuf-js', npm('tuf-js'), '^shared/release/tuf/|^(test|node_modules)/'),
    owner('tufjs', npm('@tufjs/[^/]+'), '^shared/release/tuf/|^(test|node_modules)/'),
    owner('zod-openapi', npm('@hono/zod-openapi'), '^cloud/api/|^(test|node_modules)/'),
    owner('node-cron', npm('node-cron'), '^shared/runtime/schedule\\.ts$|^(test|node_modules)/'),
    owner('aedes', npm('aedes'), '^cloud/broker/|^(test|node_modules)/'),
    owner('lowdb', npm('lowdb'), '^cloud/registry/|^(test|node_modules)/'),
    owner('hono', npm('hono'), '^(agent|cloud)/api/|^(test|node_modules)/'),
    owner('hono-server', npm('@hono/node-server'), '^(agent|cloud)/api/|^(test|node_modules)/'),
    owner('commander', npm('commander'), '^shared/cli/|^node_modules/'),
    owner('huggingface-hub', npm('@huggingface/hub'), '^shared/cli/import/|^node_modules/'),
    owner('protobuf', npm('@bufbuild/protobuf'), '^shared/release/import/|^(test|node_modules)/'),
    owner('pino', npm('pino'), '^shared/runtime/logger\\.ts$|^node_modules/'),
    owner('prom-client', npm('prom-client'), '^shared/runtime/metrics\\.ts$|^node_modules/'),
    owner('chokidar', npm('chokidar'), '^agent/feed/|^node_modules/'),
    owner('yaml', npm('yaml'), '^agent/config\\.ts$|^(test|node_modules)/'),
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
