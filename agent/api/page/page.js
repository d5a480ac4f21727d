/** The device's page: it looks at the pipelines every two seconds, and follows the answers as they come. */
import { byId, Rows, refreshTimes, say } from '../../../shared/page/dom.js';
import {
  agentUpdateLine,
  answerCells,
  feedLine,
  modelVersion,
  routeCells,
  sinksLine,
  updateLine,
} from '../../../shared/page/parts.js';
import { bytesText, linkTexts } from '../../../shared/page/text.js';

/**
 * @typedef {import('../../../shared/contract/result.ts').Result} Result
 * @typedef {import('../../../shared/contract/messages.ts').UpdateReport} UpdateReport
 * @typedef {import('../../../shared/contract/messages.ts').LinkUse} LinkUse
 * @typedef {import('../../../shared/contract/feed-status.ts').FeedStatus} FeedStatus
 * @typedef {import('../../../shared/contract/sink-status.ts').SinkStatus} SinkStatus
 * @typedef {import('../../../shared/contract/disk-status.ts').DiskStatus} DiskStatus
 * @typedef {import('../../../shared/contract/connection.ts').Connection} Connection
 * @typedef {import('../../ports.ts').PipelineStatus} PipelineStatus
 * @typedef {{
 *   device: string,
 *   link: {
 *     online: boolean,
 *     hub: string | null,
 *     outbox: { entries: number, bytes: number, deadLetters: number },
 *     today: { capBytes?: number, use: LinkUse[] },
 *   },
 *   pipelines: PipelineStatus[],
 *   updates: UpdateReport[],
 *   agent: import('../../../shared/contract/messages.ts').ToldAgent,
 *   disk: DiskStatus,
 *   connections: Connection[],
 * }} State
 */

const MAX_ANSWERS = 50;
const LOOK_EVERY_MS = 2_000;
const RENDER_EVERY_MS = 200;
const RETRY_MS = 3_000;

/** Newest last. @type {Map<string, Result>} */
const answers = new Map();
let isDirty = true;

/** @type {Rows<PipelineStatus & { feed?: FeedStatus | null, sinks?: SinkStatus[] }>} */
const pipelineRows = new Rows(
  'pipelines',
  ({ name }) => name,
  ({ name, task, feed, edge, cloud, owed, sinks = [] }) => [
    name,
    task,
    feed ? feedCell(feed) : 'none',
    edge ? modelVersion(edge) : 'none answers now',
    cloud ?? 'none',
    String(owed),
    sinks.length > 0 ? sinksLine(sinks) : 'none',
  ],
);
/** @type {Rows<PipelineStatus>} */
const routeRows = new Rows(
  'routes',
  ({ name }) => name,
  ({ name, router }) => [name, ...routeCells(router)],
);
/** @type {Rows<{ model: UpdateReport } | { agent: import('../../../shared/contract/messages.ts').AgentUpdate }>} */
const updateRows = new Rows(
  'updates',
  (one) => ('agent' in one ? ' agent' : one.model.model.name),
  (one) =>
    'agent' in one
      ? ['the agent itself', agentUpdateLine(one.agent)]
      : [one.model.model.name, updateLine(one.model)],
);
/** @type {Rows<Connection & { key: string }>} */
const connectionRows = new Rows(
  'connections',
  ({ key }) => key,
  ({ purpose, to, isEncrypted, what, pipeline }) => [
    purpose,
    to ?? 'told at the enrolment',
    to === null ? '–' : isEncrypted ? 'encrypted' : 'plain text',
    what,
    pipeline ?? 'all',
  ],
);
/** @type {Rows<Result>} */
const answerRows = new Rows(
  'answers',
  ({ id }) => id,
  (result) => answerCells(result, { where: result.pipeline }),
);

setInterval(render, RENDER_EVERY_MS);
void look();
follow();

async function look() {
  try {
    const response = await fetch('/v1/pipelines');
    if (!response.ok) throw new Error(`the agent answered ${response.status}`);
    show(await response.json());
    connection('live', 'good');
  } catch {
    connection('reconnecting …', 'warn');
  }
  refreshTimes();
  setTimeout(look, LOOK_EVERY_MS);
}

function follow() {
  const source = new EventSource('/v1/results');
  for (const name of ['result', 'failure'])
    source.addEventListener(name, (message) => {
      /** @type {Result} */
      const result = JSON.parse(message.data);
      // A new connection tells again what is kept: what is shown already keeps its place.
      if (JSON.stringify(answers.get(result.id)) === message.data) return;
      answers.delete(result.id);
      answers.set(result.id, result);
      const oldest = answers.keys().next().value;
      if (answers.size > MAX_ANSWERS && oldest !== undefined) answers.delete(oldest);
      isDirty = true;
    });
  source.addEventListener('error', () => {
    if (source.readyState === EventSource.CLOSED) setTimeout(follow, RETRY_MS);
  });
}

function render() {
  if (!isDirty) return;
  isDirty = false;
  answerRows.show([...answers.values()].reverse());
}

/** @param {State} state */
function show({ device, link, pipelines, updates, agent, disk, connections }) {
  const { online, hub, outbox, today } = link;
  say('device', device);
  say('hub', hub ?? 'none');
  say('link', online ? 'online' : 'offline');
  byId('link').className = online ? '' : 'bad';
  const cap = today.capBytes === undefined ? '' : `, at most ${bytesText(today.capBytes)}`;
  say('today', `${linkTexts(today.use).join(', ')}${cap}`);
  say('outbox', `${outbox.entries} waiting, ${bytesText(outbox.bytes)}`);
  say('dead', String(outbox.deadLetters));
  byId('dead').className = outbox.deadLetters > 0 ? 'bad' : '';
  pipelineRows.show(pipelines);
  routeRows.show(pipelines.filter(({ cloud }) => cloud !== null));
  updateRows.show([
    ...(agent.update ? [{ agent: agent.update }] : []),
    ...updates.map((model) => ({ model })),
  ]);
  say('disk', diskText(disk));
  byId('disk').className = disk.isFull ? 'bad' : '';
  byId('disk').title = disk.kinds.map(({ kind, bytes }) => `${kind} ${bytesText(bytes)}`).join(', ');
  connectionRows.show(connections.map((one, index) => ({ ...one, key: String(index) })));
}

/** @param {DiskStatus} disk */
function diskText({ usedBytes, maxBytes, freeBytes, isFull, reason, kinds }) {
  const quota = maxBytes === null ? '' : ` of ${bytesText(maxBytes)}`;
  const gone = kinds.reduce((sum, { givenBackBytes }) => sum + givenBackBytes, 0);
  const given = gone > 0 ? `, ${bytesText(gone)} given back` : '';
  const full = isFull ? `, full: ${reason}` : '';
  return `${bytesText(usedBytes)} kept${quota}, ${bytesText(freeBytes)} free${given}${full}`;
}

/** What it reads stands before what it is doing. @param {FeedStatus} feed */
function feedCell(feed) {
  const line = feedLine(feed);
  if (feed.about !== undefined) line.prepend(`${feed.about} `);
  return line;
}

/** @param {string} text @param {'good' | 'warn'} tone */
function connection(text, tone) {
  say('connection', text);
  byId('connection').className = `pill ${tone}`;
}
