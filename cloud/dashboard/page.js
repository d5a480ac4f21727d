/**
 * The hub's page. It reads the state once, follows the hub's events, and reads the state again after each reconnect: an event that
 * was missed is in it. Events that come while the state is read are kept for after it.
 */
import { ago, byId, el, Rows, refreshTimes, say } from '../../shared/page/dom.js';
import {
  agentUpdateLine,
  answerCells,
  failureText,
  feedLine,
  list,
  modelVersion,
  pill,
  routeCells,
  updateLine,
} from '../../shared/page/parts.js';
import { bytesText, evidenceText, linkTexts, NONE, routesOf, shortDigest } from '../../shared/page/text.js';

/**
 * @typedef {import('../../shared/contract/admin.ts').DeviceRecord} DeviceRecord
 * @typedef {import('../../shared/contract/admin.ts').ModelRecord} ModelRecord
 * @typedef {import('../../shared/contract/rollouts.ts').RolloutRecord} RolloutRecord
 * @typedef {import('../../shared/contract/admin.ts').BoardEntry} BoardEntry
 * @typedef {import('../../shared/contract/admin.ts').HubEvent} HubEvent
 * @typedef {Extract<HubEvent, { type: 'version-refused' }>} Refusal
 * @typedef {import('../../shared/contract/fleet-evidence.ts').EvidenceStatus} EvidenceStatus
 * @typedef {import('../../shared/contract/signing.ts').SigningStatus} SigningStatus
 * @typedef {import('../../shared/contract/captures.ts').CaptureSummary} CaptureSummary
 * @typedef {import('../../shared/contract/trainings.ts').TrainingRecord} TrainingRecord
 */

const MAX_ANSWERS = 50;
const MAX_REFUSALS = 10;
const MAX_ROLLOUTS = 10;
const MAX_VERSIONS = 5;
const MAX_TRAININGS = 3;
/** Pages of a list that are read: a larger fleet is looked at with other tools. */
const MAX_PAGES = 20;
const RENDER_EVERY_MS = 200;
const TIMES_EVERY_MS = 1_000;
const RETRY_MS = 3_000;
/** Not all that changes is told of: counters, and whether a model is loaded. */
const LOOK_EVERY_MS = 15_000;
/** @type {readonly HubEvent['type'][]} */
const EVENTS = [
  'device',
  'device-removed',
  'model',
  'rollout',
  'result',
  'version-refused',
  'signing',
  'version-removed',
  'captures',
  'training',
  'agent-releases',
];

/** @type {Map<string, DeviceRecord>} */
let devices = new Map();
/** @type {Map<string, ModelRecord>} */
let models = new Map();
/** @type {Map<string, RolloutRecord>} */
let rollouts = new Map();
/** Newest last. @type {Map<string, BoardEntry>} */
let answers = new Map();
/** What devices have told; undefined: not read yet. @type {EvidenceStatus | undefined} */
let evidence;
/** How signing stands; undefined: not read yet. @type {SigningStatus | undefined} */
let signing;
/** What is kept to learn from; undefined: not read yet. @type {CaptureSummary | undefined} */
let captures;
/** By id. @type {Map<string, TrainingRecord>} */
let trainings = new Map();
/** Newest first. @type {Refusal[]} */
const refusals = [];
/** Events that come while the state is read; null: it is applied at once. @type {HubEvent[] | null} */
let late = null;
let isDirty = true;
/** The last reading of the state that was begun. @type {Promise<void>} */
let readings = Promise.resolve();

/** @type {Rows<DeviceRecord>} */
const deviceRows = new Rows('devices', ({ id }) => id, deviceCells);
/** @type {Rows<ReturnType<typeof routesOf>[number]>} */
const routeRows = new Rows(
  'routes',
  ({ device, pipeline }) => `${device}/${pipeline}`,
  ({ device, pipeline, route }) => [`${device} / ${pipeline}`, ...routeCells(route)],
);
/** @type {Rows<ModelRecord>} */
const modelRows = new Rows('models', ({ name }) => name, modelCells);
/** @type {Rows<RolloutRecord>} */
const rolloutRows = new Rows('rollouts', ({ id }) => id, rolloutCells);
/** @type {Rows<CaptureSummary['pipelines'][number]>} */
const captureRows = new Rows(
  'captures',
  ({ pipeline, task }) => `${pipeline}/${task}`,
  ({ pipeline, task, kept, bytes, disagreeing, samples }) => [
    pipeline,
    task,
    String(kept),
    bytesText(bytes),
    String(disagreeing),
    String(samples),
  ],
);
/** @type {Rows<BoardEntry>} */
const answerRows = new Rows('answers', keyOf, (entry) =>
  answerCells(entry.result, {
    where: `${entry.deviceId} / ${entry.result.pipeline}`,
    text: entry.text,
    picture: entry.hasThumbnail
      ? `/api/v1/results/${encodeURIComponent(entry.result.id)}/thumbnail`
      : undefined,
  }),
);

byId('development').hidden = document.documentElement.dataset.developmentKeys !== 'true';
setInterval(render, RENDER_EVERY_MS);
setInterval(refreshTimes, TIMES_EVERY_MS);
setInterval(look, LOOK_EVERY_MS);
follow();

function follow() {
  const source = new EventSource('/api/v1/events');
  for (const type of EVENTS)
    source.addEventListener(type, (message) => {
      /** @type {HubEvent} */
      const event = JSON.parse(message.data);
      if (late) late.push(event);
      else apply(event);
    });
  source.addEventListener('open', () => {
    catchUp().then(
      () => connection('live', 'good'),
      () => {
        source.close();
        void later();
      },
    );
  });
  source.addEventListener('error', () => {
    connection('reconnecting …', 'warn');
    // The browser tries again by itself unless the hub has answered with a refusal.
    if (source.readyState === EventSource.CLOSED) void later();
  });
}

async function later() {
  connection('reconnecting …', 'warn');
  const asked = await fetch('/api/v1/devices?limit=1').catch(() => undefined);
  if (asked?.status === 401) {
    byId('signed-out').hidden = false;
    connection('signed out', 'bad');
    return;
  }
  setTimeout(follow, RETRY_MS);
}

/** @param {string} text @param {'good' | 'warn' | 'bad'} tone */
function connection(text, tone) {
  say('connection', text);
  byId('connection').className = `pill ${tone}`;
}

/** Reads everything. What happens meanwhile is newer than what is read, and applied after it. */
async function catchUp() {
  await whileKeepingEvents(async () => {
    const [, { results }] = await Promise.all([readFleet(), read('/api/v1/results')]);
    answers = new Map();
    for (const entry of results.slice(0, MAX_ANSWERS).reverse()) answers.set(keyOf(entry), entry);
  });
}

/** Reads again what no event tells; while the hub is away, the stream says so and catches up later. */
function look() {
  if (late === null && !document.hidden) whileKeepingEvents(readFleet).catch(() => undefined);
}

/** One reading at a time. @param {() => Promise<void>} reading @returns {Promise<void>} */
function whileKeepingEvents(reading) {
  const turn = readings
    .catch(() => undefined)
    .then(async () => {
      /** @type {HubEvent[]} */
      const kept = [];
      late = kept;
      try {
        await reading();
      } finally {
        late = null;
        for (const event of kept) apply(event);
        isDirty = true;
      }
    });
  readings = turn;
  return turn;
}

async function readFleet() {
  const [allDevices, allModels, { rollouts: newest }, signingNow, evidenceNow, kept, ordered] =
    await Promise.all([
      readAll('/api/v1/devices', 'devices'),
      readAll('/api/v1/models', 'models'),
      read(`/api/v1/rollouts?limit=${MAX_ROLLOUTS}`),
      read('/api/v1/tuf/status'),
      read('/api/v1/evidence'),
      read('/api/v1/capture-summary'),
      read(`/api/v1/trainings?limit=${MAX_TRAININGS}`),
    ]);
  captures = kept;
  trainings = new Map(ordered.trainings.map((/** @type {TrainingRecord} */ one) => [one.id, one]));
  rollouts = new Map(newest.map((/** @type {RolloutRecord} */ one) => [one.id, one]));
  signing = signingNow;
  evidence = evidenceNow;
  devices = new Map(allDevices.map((/** @type {DeviceRecord} */ one) => [one.id, one]));
  models = new Map(allModels.map((/** @type {ModelRecord} */ one) => [one.name, one]));
}

/** @param {string} path */
async function read(path) {
  const response = await fetch(path);
  if (!response.ok) throw new Error(`${path} answered ${response.status}`);
  return response.json();
}

/** A whole list, page by page. @param {string} path @param {string} name of its items */
async function readAll(path, name) {
  const all = [];
  let after = '';
  for (let page = 0; page < MAX_PAGES; page++) {
    const found = await read(after === '' ? path : `${path}?after=${encodeURIComponent(after)}`);
    all.push(...found[name]);
    if (typeof found.next !== 'string') break;
    after = found.next;
  }
  return all;
}

/** @param {HubEvent} event */
function apply(event) {
  isDirty = true;
  switch (event.type) {
    case 'device':
      devices.set(event.device.id, event.device);
      return;
    case 'device-removed':
      devices.delete(event.id);
      return;
    case 'model':
      models.set(event.model.name, event.model);
      return;
    case 'rollout':
      rollouts.set(event.rollout.id, event.rollout);
      return;
    case 'result': {
      const key = keyOf(event.entry);
      answers.delete(key);
      answers.set(key, event.entry);
      const oldest = answers.keys().next().value;
      if (answers.size > MAX_ANSWERS && oldest !== undefined) answers.delete(oldest);
      return;
    }
    case 'agent-releases':
      // Devices and rollouts say what has become of them.
      return;
    case 'training':
      trainings.set(event.training.id, event.training);
      return;
    case 'captures':
    case 'signing':
    case 'version-removed':
      // The lists have what is so now.
      look();
      return;
    case 'version-refused':
      refusals.unshift(event);
      refusals.length = Math.min(refusals.length, MAX_REFUSALS);
      byId('refusals').hidden = false;
      byId('refusals-list').prepend(refusalLine(event));
      while (byId('refusals-list').childElementCount > MAX_REFUSALS)
        byId('refusals-list').lastChild?.remove();
  }
}

function render() {
  if (!isDirty) return;
  isDirty = false;
  const all = [...devices.values()].sort((a, b) => (a.id < b.id ? -1 : 1));
  deviceRows.show(all);
  routeRows.show(all.flatMap(routesOf));
  modelRows.show([...models.values()].sort((a, b) => (a.name < b.name ? -1 : 1)));
  const newest = [...rollouts.values()].sort((a, b) => b.createdAtMs - a.createdAtMs);
  rolloutRows.show(newest.slice(0, MAX_ROLLOUTS));
  answerRows.show([...answers.values()].reverse());
  showSigning();
  const told = evidence ? evidenceText(evidence, Date.now()) : '';
  say('evidence', told === '' ? '' : `Evidence ${told}.`);
  showCaptures();
  const online = all.filter((one) => one.online).length;
  say('summary', `${online} of ${all.length} ${all.length === 1 ? 'device' : 'devices'} online`);
}

/** Only what somebody has to do something about. */
function showSigning() {
  if (!signing) return;
  byId('development').hidden = !signing.isDevelopment;
  const lines = signing.roles.flatMap(({ role, level, expiresAtMs, todo }) => {
    if (todo === null) return [];
    const tone = level === 'soon' ? 'warn' : 'bad';
    const ends =
      expiresAtMs === null ? '' : `, good until ${new Date(expiresAtMs).toISOString().slice(0, 10)}`;
    return [
      el(
        'span',
        {},
        el('strong', {}, role),
        ' ',
        pill(level === 'expired' ? 'ended' : level, tone),
        `${ends}: ${todo}`,
      ),
    ];
  });
  const { toList, toDelist } = signing;
  if (toList.length > 0) lines.push(el('span', {}, `To be signed for: ${versionNames(toList)}`));
  if (toDelist.length > 0)
    lines.push(el('span', {}, `Removed, and listed until somebody signs: ${versionNames(toDelist)}`));
  byId('signing').hidden = lines.length === 0;
  byId('signing-list').replaceChildren(...lines.map((line) => el('li', {}, line)));
}

/** How much is kept to learn from, and what is being learnt. */
function showCaptures() {
  if (!captures) return;
  captureRows.show(captures.pipelines);
  const { kept, bytes, maxBytes } = captures;
  say(
    'captures-sum',
    kept === 0 ? '' : `${kept} inputs, ${bytesText(bytes)} of ${bytesText(maxBytes)} at most`,
  );
  const newest = [...trainings.values()]
    .sort((a, b) => b.createdAtMs - a.createdAtMs)
    .slice(0, MAX_TRAININGS);
  byId('trainings-list').replaceChildren(...newest.map((one) => el('li', {}, trainingLine(one))));
}

/** @param {TrainingRecord} training */
function trainingLine({ model, base, state, captures: count, error, result, createdAtMs }) {
  const tone = state === 'done' ? 'good' : error ? 'bad' : 'quiet';
  const line = el(
    'span',
    {},
    'Training of ',
    el('strong', {}, base === null ? model : `${model} v${base}`),
    ' ',
  );
  line.append(pill(state, tone), count === null ? ' ' : ` from ${count} captures `);
  if (result) line.append(`→ v${result.version} `);
  if (error) line.append(`${error.message} (${error.code}) `);
  line.append(ago(createdAtMs));
  return line;
}

/** @param {SigningStatus['toList']} refs */
function versionNames(refs) {
  const shown = refs.slice(0, MAX_VERSIONS).map(({ model, version }) => `${model}@${version}`);
  return `${shown.join(', ')}${refs.length > shown.length ? ` and ${refs.length - shown.length} more` : ''}`;
}

/** @param {BoardEntry} entry */
function keyOf({ result }) {
  return result.id;
}

/** @param {DeviceRecord} device */
function deviceCells({ id, online, lastSeenAtMs, expiresAtMs, contestedAtMs, reported, telemetry }) {
  const state = [online ? pill('online', 'good') : pill('offline', 'quiet')];
  if (contestedAtMs !== null) state.push(pill('two programs use this id', 'bad'));
  if (expiresAtMs !== null && expiresAtMs <= Date.now()) state.push(pill('credential ended', 'bad'));
  const { entries = 0, deadLetters = 0 } = telemetry?.outbox ?? {};
  const outbox = list([
    el('span', { class: 'nowrap' }, `${entries} waiting`),
    el('span', { class: deadLetters > 0 ? 'nowrap bad' : 'nowrap' }, `${deadLetters} given up`),
  ]);
  const updates = [...agentLines(reported), ...(reported?.updates ?? []).map(updateLine)];
  return [
    id,
    list(state),
    lastSeenAtMs === null ? 'never' : ago(lastSeenAtMs),
    telemetry
      ? list(linkTexts(telemetry.link.use).map((text) => el('span', { class: 'nowrap' }, text)))
      : NONE,
    telemetry ? outbox : NONE,
    reported ? list(reported.pipelines.map(pipelineLine)) : NONE,
    updates.length > 0 ? list(updates) : NONE,
  ];
}

/** Version of the agent, and what becomes of it. @param {DeviceRecord['reported']} reported */
function agentLines(reported) {
  if (!reported) return [];
  const { agentVersion, agent } = reported;
  const update = agent?.update;
  if (update && (update.phase !== 'committed' || update.version === agentVersion))
    return [
      ...(update.version === agentVersion ? [] : [el('span', {}, `agent ${agentVersion}`)]),
      agentUpdateLine(update),
    ];
  const line = el('span', {}, `agent ${agentVersion}`);
  if (agent && !agent.managed)
    line.append(' ', el('span', { class: 'quiet', title: agent.why ?? '' }, 'not updated from here'));
  return [line];
}

/** @param {NonNullable<DeviceRecord['reported']>['pipelines'][number]} pipeline */
function pipelineLine({ name, edge, edgeModel, cloud, feed }) {
  const line = el('span', {}, el('strong', {}, name), ': ');
  if (edge) line.append(modelVersion(edge));
  else line.append(edgeModel ? `${edgeModel} is not there` : 'no local model');
  line.append(cloud === null ? ', never asks the cloud' : `, asks ${cloud}`);
  if (feed) line.append('; feed ', feedLine(feed));
  return line;
}

/** @type {Record<RolloutRecord['state'], 'good' | 'warn' | 'bad' | 'quiet'>} */
const STATE_TONES = {
  ...{ waiting: 'quiet', running: 'good', paused: 'warn', halted: 'bad' },
  ...{ aborted: 'quiet', 'rolled-back': 'bad', done: 'good' },
};

/** @param {RolloutRecord} rollout */
function rolloutCells({
  model,
  version,
  from,
  state,
  stage,
  stages,
  devices,
  matched,
  answers,
  verdicts,
  reason,
  createdAtMs,
}) {
  const counts = Object.entries(devices).map(([where, count]) =>
    el('span', { class: where === 'rolled-back' ? 'nowrap bad' : 'nowrap' }, `${count} ${where}`),
  );
  const gates = verdicts
    .filter((one) => one.state !== 'unmeasured')
    .map(({ gate, state: says, detail }) => titled(pill(`${gate}: ${says}`, GATE_TONES[says]), detail));
  return [
    `${model}@${version}${from === null ? '' : ` after ${from}`}`,
    pill(state, STATE_TONES[state]),
    `${stage + 1} of ${stages.length}`,
    list([...counts, el('span', { class: 'nowrap quiet' }, `of ${matched}; ${answers} answers`)]),
    gates.length > 0 ? list(gates) : NONE,
    reason,
    ago(createdAtMs),
  ];
}

/** @type {Record<RolloutRecord['verdicts'][number]['state'], 'good' | 'quiet' | 'bad'>} */
const GATE_TONES = { passed: 'good', waiting: 'quiet', failed: 'bad', unmeasured: 'quiet' };

/** @param {ModelRecord} model */
function modelCells(model) {
  const { name, task, deployed, policy, versions } = model;
  const shown = versions.filter(({ version }, index) => index < MAX_VERSIONS || version === deployed);
  const lines = shown.map((one) => {
    const line = el(
      'span',
      {},
      `v${one.version} `,
      el('code', { title: one.digest }, shortDigest(one.digest)),
    );
    line.append(` ${bytesText(one.bytes)}, ${new Date(one.createdAtMs).toISOString().slice(0, 10)} `);
    line.append(one.published ? pill('published', 'good') : pill('not published', 'quiet'));
    if (one.version === deployed) line.append(' ', pill('deployed', 'good'));
    const doubt = doubtOf(one.test);
    if (doubt) line.append(' ', doubt);
    return line;
  });
  const hidden = versions.length - shown.length;
  if (hidden > 0) lines.push(el('span', { class: 'quiet' }, `and ${hidden} older`));
  return [
    name,
    task,
    deployed === null ? 'none' : `v${deployed}`,
    { auto: 'at once', staged: 'in stages', manual: 'by hand' }[policy],
    loadLines(model),
    list(lines),
  ];
}

/** How it runs in the hub, what that takes, and how many requests wait for it. @param {ModelRecord} model */
function loadLines({ memoryBytes, waiting, ...model }) {
  const lines = [runsWhere(model)];
  if (memoryBytes !== null) lines.push(el('span', { class: 'nowrap' }, bytesText(memoryBytes)));
  if (waiting > 0) lines.push(el('span', { class: 'nowrap' }, `${waiting} waiting`));
  return list(lines);
}

/** @param {Pick<ModelRecord, 'loaded' | 'provider' | 'engine'>} model */
function runsWhere({ loaded, provider, engine }) {
  if (engine) {
    const { kind, url, status } = engine;
    const { failure = null, wellAtMs = null, breaker = 'closed' } = status ?? {};
    const isWell = breaker === 'closed' && (wellAtMs ?? 0) >= (failure?.atMs ?? 0);
    const text = isWell ? `on ${kind}` : `on ${kind}: ${failure?.code ?? breaker}`;
    return titled(pill(text, isWell ? 'good' : 'bad'), failure && !isWell ? failure.message : url);
  }
  if (!loaded) return pill('not loaded', 'quiet');
  return pill(provider === 'cpu' ? 'loaded' : `loaded, ${provider}`, 'good');
}

/**
 * What is not known of a version; nothing of one that answers its golden inputs, and of one that was put beside the hub.
 *
 * @param {ModelRecord['versions'][number]['test']} test
 */
function doubtOf(test) {
  if (test === 'smoke')
    return titled(pill('no golden inputs', 'quiet'), 'it answered an input that was made up');
  if (test === 'untested')
    return titled(pill('untested', 'warn'), 'it loads, and took no input that could be made up');
  if (test === 'forced') return titled(pill('forced', 'bad'), 'it does not give its golden answers');
  return undefined;
}

/** @param {HTMLElement} element @param {string} title */
function titled(element, title) {
  element.title = title;
  return element;
}

/** @param {Refusal} refusal */
function refusalLine({ model, error, atMs }) {
  const said = el('span', {}, el('strong', {}, model), ': ', failureText(error), ' ', ago(atMs));
  return el('li', {}, said);
}
