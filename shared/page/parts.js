/** What both pages show of an answer, a model version and an update. */
import { ago, el } from './dom.js';
import {
  alarmText,
  basisText,
  bytesText,
  countText,
  givenPercentText,
  mapsOf,
  modelText,
  NONE,
  percentText,
  promiseText,
  shareText,
  shortDigest,
  shortened,
  thresholdText,
  topAnswer,
  updateText,
} from './text.js';

/**
 * @typedef {import('../contract/result.ts').Result} Result
 * @typedef {import('../contract/names.ts').ModelRef} ModelRef
 * @typedef {import('../contract/messages.ts').UpdateReport} UpdateReport
 * @typedef {import('../contract/messages.ts').AgentUpdate} AgentUpdate
 * @typedef {import('../contract/routing.ts').RouteEvidence} RouteEvidence
 * @typedef {import('../contract/routing.ts').Standing} Standing
 */

/** A failure's code, in red. @param {{ readonly code: string, readonly message: string }} error */
export const failureText = ({ code, message }) =>
  el('span', { class: 'bad' }, el('code', {}, code), ` ${message}`);

/** A version by its number, and its digest for who must be sure. @param {ModelRef} model */
export const modelVersion = (model) =>
  el('span', {}, modelText(model), ' ', el('code', { title: model.digest }, shortDigest(model.digest)));

/** @param {readonly Node[]} items */
export const list = (items) => el('ul', { class: 'plain' }, ...items.map((item) => el('li', {}, item)));

/** @param {string} text @param {'good' | 'bad' | 'warn' | 'quiet'} tone */
export const pill = (text, tone) => el('span', { class: `pill ${tone}` }, text);

/** @typedef {import('../contract/feed-status.ts').FeedStatus} FeedStatus */
/** @typedef {import('../contract/sink-status.ts').SinkStatus} SinkStatus */

/** @type {Readonly<Record<FeedStatus['state'], 'good' | 'quiet' | 'warn' | 'bad'>>} */
const FEED_TONES = {
  starting: 'warn',
  live: 'good',
  still: 'good',
  asleep: 'quiet',
  stalled: 'bad',
  failed: 'bad',
  ended: 'quiet',
};

/** What a feed is doing, and why it gives nothing. @param {Pick<FeedStatus, 'state' | 'reason'>} feed */
export function feedLine({ state, reason }) {
  const line = el('span', {}, pill(state, FEED_TONES[state]));
  if (reason) line.append(' ', failureText(reason));
  return line;
}

/**
 * What sinks are doing: how many take what they are given, and each that does not, with the reason.
 *
 * @param {readonly SinkStatus[]} sinks
 */
export function sinksLine(sinks) {
  const line = el('span', {});
  const ready = sinks.filter(({ state }) => state === 'ready').length;
  if (ready > 0) line.append(pill(`${ready} ready`, 'good'));
  for (const { name, state, reason, waiting } of sinks) {
    if (state === 'ready') continue;
    line.append(' ', pill(state, 'bad'), ` ${name}, ${waiting} waiting `);
    if (reason) line.append(failureText(reason));
  }
  return line;
}

/**
 * The cells of an answer: input, answer, score, agreement, who, why, milliseconds, where, when.
 *
 * @param {Result} result
 * @param {{ readonly where: string, readonly picture?: string | undefined, readonly text?: string | null }} around
 *   `picture`: address of a small picture of the input; `text`: the input itself
 * @returns {(Node | string)[]}
 */
export function answerCells(result, { where, picture, text }) {
  const input = inputCell(result, picture, text ?? null);
  const when = ago(result.atMs);
  if ('error' in result)
    return [input, failureText(result.error), NONE, NONE, pill('failed', 'bad'), NONE, NONE, where, when];
  const { label, score } = topAnswer(result.output);
  const who = el('span', { title: `${modelText(result.model)} ${result.model.digest}` });
  who.append(pill(result.source, result.source === 'cloud' ? 'warn' : 'good'), ` ${modelText(result.model)}`);
  const answer = el('strong', {}, label);
  if (result.provisional)
    answer.append(el('span', { class: 'quiet', title: 'a second answer will follow' }, ' …'));
  return [
    input,
    el('span', {}, answer, ...mapPictures(result.output)),
    percentText(score),
    percentText(result.agreement),
    who,
    result.reason,
    result.timingsMs.total.toFixed(1),
    where,
    when,
  ];
}

/** @param {unknown} output */
function mapPictures(output) {
  const maps = mapsOf(output).map(({ name, png }) =>
    el('img', { src: `data:image/png;base64,${png}`, alt: name, title: name, decoding: 'async' }),
  );
  return maps.length > 0 ? [el('span', { class: 'maps' }, ...maps)] : [];
}

/** @param {Result} result @param {string | undefined} picture @param {string | null} text */
function inputCell(result, picture, text) {
  const name = shortened(result.input ?? 'HTTP');
  const cell = el('span', { class: 'input' });
  if (picture !== undefined)
    cell.append(el('img', { src: picture, alt: '', width: '40', height: '40', decoding: 'async' }));
  cell.append(el('span', {}, name));
  if (text !== null) cell.append(el('q', {}, text));
  return cell;
}

/** How an update stands; why it was refused, or what is in its way. @param {UpdateReport} update */
export function updateLine(update) {
  const { model, phase, error, downloadedBytes, totalBytes } = update;
  const isRefused = phase === 'rolled-back';
  const tone = isRefused ? 'bad' : phase === 'committed' ? 'good' : 'warn';
  const line = el(
    'span',
    {},
    modelVersion(model),
    ' ',
    pill(updateText(update), tone),
    ' ',
    ago(update.atMs),
  );
  if (phase === 'downloading' && totalBytes > 0)
    line.append(
      el('progress', { max: String(totalBytes), value: String(downloadedBytes), 'aria-label': 'downloaded' }),
    );
  if (error) {
    const why = isRefused ? failureText(error) : el('span', {}, `waits: ${error.code} ${error.message}`);
    line.append(el('br'), why);
  }
  return line;
}

/** @type {Readonly<Record<AgentUpdate['phase'], string>>} */
const AGENT_PHASES = {
  checking: 'checking the signatures',
  downloading: 'downloading',
  staged: 'staged',
  installing: 'being put into place',
  trial: 'on trial',
  committed: 'in use',
  'rolled-back': 'refused',
};

/** An update of the agent itself. @param {AgentUpdate} update */
export function agentUpdateLine({ version, phase, error, downloadedBytes, totalBytes, atMs }) {
  const isRefused = phase === 'rolled-back';
  const tone = isRefused ? 'bad' : phase === 'committed' ? 'good' : 'warn';
  const came = phase === 'downloading' ? `, ${bytesText(downloadedBytes)} of ${bytesText(totalBytes)}` : '';
  const line = el(
    'span',
    {},
    `agent ${version} `,
    pill(`${AGENT_PHASES[phase] ?? phase}${came}`, tone),
    ' ',
    ago(atMs),
  );
  if (error) {
    const why = isRefused ? failureText(error) : el('span', {}, `waits: ${error.code} ${error.message}`);
    line.append(el('br'), why);
  }
  return line;
}

/**
 * The cells of a promise: what is promised, by what the threshold stands, agreement so far, asked, what became of it, saved, alarms.
 *
 * @param {RouteEvidence} route
 * @returns {(Node | string)[]}
 */
export function routeCells(route) {
  const { estimated, counts, saved } = route;
  const { eligible, escalated, audited } = counts;
  const lines = (/** @type {string[]} */ ...texts) =>
    list(texts.map((text) => el('span', { class: 'nowrap' }, text)));
  const money = saved.money === null ? [] : [`${saved.money.toFixed(2)} ${saved.currency ?? ''}`];
  return [
    promiseCell(route),
    standingCell(route),
    estimated === null
      ? NONE
      : lines(
          percentText(estimated.agreement),
          estimated.atLeast === 0 ? 'too few audits yet' : `at least ${percentText(estimated.atLeast)}`,
        ),
    lines(
      `${shareText(escalated, eligible)} by score`,
      `${shareText(audited, eligible)} by lot`,
      `of ${countText(eligible)}`,
    ),
    lines(
      `${countText(counts.answered)} answered, ${countText(counts.late)} late`,
      `${countText(counts.failed)} failed, ${countText(counts.expired)} given up`,
      `${countText(counts.assumed)} taken as wrong`,
    ),
    lines(`${countText(saved.requests)} requests`, bytesText(saved.bytes), ...money),
    alarmCell(route),
  ];
}

/** @param {RouteEvidence} route */
function promiseCell(route) {
  const { agreement, confidence, scope, labels } = route;
  const lines = [`${givenPercentText(agreement)} as the cloud`, `${givenPercentText(confidence)} confidence`];
  if (scope === 'local') lines.push('of local answers');
  if (labels.length > 0) lines.push('for each label');
  const cell = list(lines.map((text) => el('span', { class: 'nowrap' }, text)));
  cell.setAttribute('title', promiseText(route));
  return cell;
}

/** @param {RouteEvidence} route */
function standingCell(route) {
  if (route.labels.length === 0) return standingLines(route);
  return list(
    route.labels.map((one) =>
      el(
        'span',
        {},
        el('strong', {}, one.label === '' ? 'other labels' : one.label),
        ' ',
        standingLines(one),
      ),
    ),
  );
}

/** @param {Standing} standing */
function standingLines(standing) {
  const { basis, reachable, auditShare } = standing;
  const tone = basis === 'drift' ? 'bad' : basis === 'evidence' ? 'good' : 'warn';
  const lines = [pill(basisText(standing), tone), el('span', {}, `local from: ${thresholdText(standing)}`)];
  if (standing.threshold !== null)
    lines.push(el('span', { class: 'quiet' }, `audits ${percentText(auditShare)} of it`));
  if (reachable)
    lines.push(
      el(
        'span',
        { class: 'quiet' },
        `${givenPercentText(reachable.agreement)} could be promised, asking about ${percentText(reachable.escalated)}`,
      ),
    );
  return list(lines);
}

/** @param {RouteEvidence} route */
function alarmCell({ alarms, lastAlarm }) {
  if (lastAlarm === null) return 'none';
  const line = el('span', {}, pill(lastAlarm.kind === 'inputs' ? 'other inputs' : 'drift', 'bad'), ' ');
  line.append(alarmText(lastAlarm), ' ', ago(lastAlarm.atMs));
  if (alarms > 1) line.append(el('span', { class: 'quiet' }, `, ${countText(alarms)} in all`));
  return line;
}
