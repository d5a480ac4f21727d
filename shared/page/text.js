/** What the pages of hub and agent say in words and numbers: pure, without a document. */

/**
 * @typedef {import('../contract/result.ts').Result} Result
 * @typedef {import('../contract/names.ts').ModelRef} ModelRef
 * @typedef {import('../contract/messages.ts').UpdateReport} UpdateReport
 * @typedef {import('../contract/messages.ts').LinkUse} LinkUse
 * @typedef {import('../contract/fleet-evidence.ts').EvidenceStatus} EvidenceStatus
 * @typedef {import('../contract/routing.ts').RouteEvidence} RouteEvidence
 * @typedef {import('../contract/routing.ts').RouteAlarm} RouteAlarm
 * @typedef {import('../contract/routing.ts').Standing} Standing
 */

/** A column that has nothing to say. */
export const NONE = '–';

/** Keeps a number and its unit on one line. */
const NBSP = '\u00a0';

/** `5.1 MB`. @param {number} bytes */
export function bytesText(bytes) {
  if (bytes < 1e3) return `${bytes}${NBSP}B`;
  if (bytes < 1e6) return `${(bytes / 1e3).toFixed(1)}${NBSP}kB`;
  if (bytes < 1e9) return `${(bytes / 1e6).toFixed(1)}${NBSP}MB`;
  return `${(bytes / 1e9).toFixed(2)}${NBSP}GB`;
}

/** `3 s ago`; a clock that is a little ahead says `0 s ago`. @param {number} atMs @param {number} nowAtMs */
export function agoText(atMs, nowAtMs) {
  const seconds = Math.max(0, Math.round((nowAtMs - atMs) / 1000));
  if (seconds < 90) return `${seconds} s ago`;
  if (seconds < 5_400) return `${Math.round(seconds / 60)} min ago`;
  if (seconds < 129_600) return `${Math.round(seconds / 3_600)} h ago`;
  return `${Math.round(seconds / 86_400)} days ago`;
}

/** A ratio 0..1 as `97.3 %`; a probability that is not 1 is not shown as 100 %. @param {number | null} ratio */
export function percentText(ratio) {
  if (ratio === null) return NONE;
  return `${ratio === 1 ? '100' : (Math.floor(ratio * 1000) / 10).toFixed(1)}${NBSP}%`;
}

/** `98 %`: as somebody has written it into a configuration. @param {number} ratio */
export const givenPercentText = (ratio) => `${Number((100 * ratio).toFixed(3))}${NBSP}%`;

/** `12,300`. @param {number} count */
export const countText = (count) => count.toLocaleString('en');

/**
 * The promises that a device has reported: of the pipelines that have a cloud model to ask.
 *
 * @param {Pick<import('../contract/admin.ts').DeviceRecord, 'id' | 'reported'>} device
 * @returns {{ device: string, pipeline: string, route: RouteEvidence }[]}
 */
export function routesOf({ id, reported }) {
  return (reported?.pipelines ?? []).flatMap(({ name, cloud, route }) =>
    route && cloud !== null ? [{ device: id, pipeline: name, route }] : [],
  );
}

/** What is promised. @param {Pick<RouteEvidence, 'agreement' | 'confidence' | 'scope' | 'labels'>} route */
export function promiseText({ agreement, confidence, scope, labels }) {
  const of = scope === 'local' ? 'of the local answers' : 'of the answers';
  const each = labels.length > 0 ? ', for each label' : '';
  return `${givenPercentText(agreement)} ${of} as the cloud’s, with ${givenPercentText(confidence)} confidence${each}`;
}

/** What the agreement has been, and was at least. @param {RouteEvidence['estimated']} estimated */
export function estimateText(estimated) {
  if (estimated === null) return 'nothing known yet';
  const { agreement, atLeast } = estimated;
  return `${percentText(agreement)}, ${atLeast === 0 ? 'too few audits to say at least how much' : `at least ${percentText(atLeast)}`}`;
}

/** On what the threshold rests. @param {Pick<Standing, 'basis' | 'evidence' | 'source' | 'devices'>} standing */
export function basisText({ basis, evidence, source, devices = 0 }) {
  switch (basis) {
    case 'certificate':
      return source === 'fleet'
        ? `certificate of the fleet: ${countText(devices)} devices, ${countText(evidence)} requests`
        : `certificate of ${countText(evidence)} pairs`;
    case 'evidence':
      return `evidence of ${countText(evidence)} requests`;
    case 'learning':
      return `learning: asks about all, ${countText(evidence)} so far`;
    case 'drift':
      return `drift: asks about all again, ${countText(evidence)} so far`;
    case 'none':
      return 'not by score';
  }
}

/**
 * Of how many devices there is evidence, and how old it is; empty: of none.
 *
 * @param {EvidenceStatus} status
 * @param {number} nowAtMs
 */
export function evidenceText({ versions, pairs }, nowAtMs) {
  /** @param {EvidenceStatus['pairs']} sight @param {string} one @param {string} many */
  const told = ({ devices, subjects, oldestAtMs }, one, many) => {
    if (devices === 0) return [];
    const of = `${countText(subjects)} ${subjects === 1 ? one : many}`;
    const oldest = oldestAtMs === null ? '' : ` (the oldest word ${agoText(oldestAtMs, nowAtMs)})`;
    return [`of ${of} by ${countText(devices)} ${devices === 1 ? 'device' : 'devices'}${oldest}`];
  };
  return [...told(versions, 'version', 'versions'), ...told(pairs, 'pair of models', 'pairs of models')].join(
    ', ',
  );
}

/** From which score on it answers by itself. @param {Pick<Standing, 'threshold'>} standing */
export function thresholdText({ threshold }) {
  if (threshold === null) return 'nothing yet';
  return threshold < -1e6 ? 'any score' : `score ${threshold.toFixed(2)}`;
}

/** Why an epoch ended. @param {RouteAlarm} alarm */
export function alarmText({ kind, label, requests, unanswered }) {
  const of = label === null ? '' : ` of ${label}`;
  const what =
    kind === 'disagreement' ? `local answers${of} are wrong more often than promised` : `other inputs${of}`;
  const missing = unanswered > 0 ? `, ${countText(unanswered)} of them without an answer` : '';
  return `${what}, after ${countText(requests)} requests${missing}`;
}

/** A share of a whole that may be nothing. @param {number} part @param {number} whole */
export const shareText = (part, whole) => (whole === 0 ? NONE : percentText(part / whole));

/** Enough of a digest to tell two versions apart. @param {string} digest */
export const shortDigest = (digest) => digest.slice(0, 12);

/** `cifar10-cnn v3`. @param {Pick<ModelRef, 'name' | 'version'>} model */
export const modelText = ({ name, version }) => `${name} v${version}`;

/**
 * Bytes up and down, as two texts.
 *
 * @param {readonly Pick<LinkUse, 'upBytes' | 'downBytes'>[]} use
 * @returns {[string, string]}
 */
export function linkTexts(use) {
  let up = 0;
  let down = 0;
  for (const { upBytes, downBytes } of use) {
    up += upBytes;
    down += downBytes;
  }
  return [`${bytesText(up)} up`, `${bytesText(down)} down`];
}

/** Longest answer that is shown as it is. */
const MAX_ANSWER_CHARACTERS = 80;

/**
 * An answer in one short line, and its score where one stands for all of it.
 *
 * @param {unknown} output in Hugging Face's shape of its task
 * @returns {{ readonly label: string, readonly score: number | null }}
 */
export function topAnswer(output) {
  const many = Array.isArray(output) && output.length > 0 ? output : [output];
  const [first] = many;
  const own = typeof first === 'object' && first !== null ? wordsOf(first, many) : numbersText(output);
  if (own === undefined) return { label: shortened(JSON.stringify(output) ?? NONE), score: null };
  return typeof own === 'string' ? { label: shortened(own), score: null } : own;
}

/** Characters of the longest picture that a page shows: 150 KB of PNG, a mask of some megapixels. */
const MAX_MAP_CHARACTERS = 200_000;

/**
 * Pictures that are the answer itself, masks or a depth: the first few, but for large ones.
 *
 * @param {unknown} output in Hugging Face's shape of its task
 * @returns {{ readonly name: string, readonly png: string }[]} PNG in base64
 */
export function mapsOf(output) {
  const first = (Array.isArray(output) ? output : [output]).slice(0, SHOWN);
  return first.flatMap((one) => {
    if (typeof one !== 'object' || one === null) return [];
    const { mask, depth, label } = /** @type {Record<string, unknown>} */ (one);
    const png = mask ?? depth;
    if (typeof png !== 'string' || png.length > MAX_MAP_CHARACTERS) return [];
    return [{ name: typeof label === 'string' ? label : 'depth', png }];
  });
}

/** Keys of the one text that a task answers with. */
const TEXTS = ['translation_text', 'summary_text', 'generated_text', 'text'];

/**
 * @param {object} first
 * @param {readonly unknown[]} all
 * @returns {string | { label: string, score: number | null } | undefined}
 */
function wordsOf(first, all) {
  const one = /** @type {Record<string, unknown>} */ (first);
  if (Array.isArray(first)) return rowsText(all) ?? listsText(all);
  const score = typeof one.score === 'number' ? one.score : null;
  if (typeof one.label === 'string' && 'box' in one) return namedText(all, ['box', 'boxes']);
  if (typeof one.label === 'string' && 'mask' in one) return namedText(all, ['mask', 'masks']);
  if (typeof one.label === 'string') return { label: shortened(one.label), score };
  if (typeof one.word === 'string') return entitiesText(all);
  if (typeof one.answer === 'string')
    return { label: shortened(one.answer === '' ? 'no answer' : one.answer), score };
  if (typeof one.token_str === 'string') return { label: shortened(one.token_str.trim()), score };
  if (typeof one.index === 'number')
    return { label: typeof one.text === 'string' ? shortened(one.text) : `text ${one.index + 1}`, score };
  if (typeof one.depth === 'string' && typeof one.min === 'number' && typeof one.max === 'number')
    return `depth from ${one.min.toFixed(2)} to ${one.max.toFixed(2)}`;
  if (typeof one.datatype === 'string' && Array.isArray(one.shape)) return tensorsText(all);
  const text = TEXTS.map((key) => one[key]).find((value) => typeof value === 'string');
  return typeof text === 'string' ? text.trim() || '(nothing)' : undefined;
}

/** Parts of an answer that are named; the others are counted. */
const SHOWN = 3;

/**
 * `3 boxes: dog 0.98, cat 0.91, …`
 *
 * @param {readonly unknown[]} things
 * @param {readonly [string, string]} names of one, of several
 */
function namedText(things, [single, plural]) {
  const named = /** @type {{ label: string, score?: number }[]} */ (things.slice(0, SHOWN));
  const texts = named.map(({ label, score }) =>
    typeof score === 'number' ? `${label} ${score.toFixed(2)}` : label,
  );
  return `${things.length} ${things.length === 1 ? single : plural}: ${texts.join(', ')}${things.length > SHOWN ? ', …' : ''}`;
}

/** `Ada PER, London LOC, …` @param {readonly unknown[]} entities */
function entitiesText(entities) {
  const named = /** @type {{ word: string, entity?: string, entity_group?: string }[]} */ (
    entities.slice(0, SHOWN)
  );
  const texts = named.map(({ word, entity, entity_group }) =>
    `${word} ${entity_group ?? entity ?? ''}`.trim(),
  );
  return `${texts.join(', ')}${entities.length > SHOWN ? ', …' : ''}`;
}

/** `scores FP32[1,10]` @param {readonly unknown[]} tensors */
function tensorsText(tensors) {
  const named = /** @type {{ name: string, datatype: string, shape: number[] }[]} */ (
    tensors.slice(0, SHOWN)
  );
  const texts = named.map(({ name, datatype, shape }) => `${name} ${datatype}[${shape.join(',')}]`);
  return `${texts.join(', ')}${tensors.length > SHOWN ? ', …' : ''}`;
}

/** `1 × 384 numbers` @param {readonly unknown[]} rows @returns {string | undefined} */
function rowsText(rows) {
  const shape = [];
  for (let at = /** @type {unknown} */ (rows); Array.isArray(at) && at.length > 0; at = at[0])
    shape.push(at.length);
  let [first] = rows;
  while (Array.isArray(first)) [first] = first;
  return shape.length > 1 && typeof first === 'number' ? `${shape.join(' × ')} numbers` : undefined;
}

/** `film, good, …`: what comes first in each of several lists of words, as of a text with several masks. @param {readonly unknown[]} lists @returns {string | undefined} */
function listsText(lists) {
  const words = lists
    .slice(0, SHOWN)
    .map((list) =>
      Array.isArray(list) && typeof list[0]?.token_str === 'string' ? list[0].token_str.trim() : '',
    );
  if (words.every((word) => word === '')) return undefined;
  return `${words.join(', ')}${lists.length > SHOWN ? ', …' : ''}`;
}

/** `0.91, -0.20, …` @param {unknown} numbers @returns {string | undefined} */
function numbersText(numbers) {
  if (!Array.isArray(numbers) || numbers.length === 0) return undefined;
  if (!numbers.every((one) => typeof one === 'number')) return undefined;
  const texts = numbers.slice(0, SHOWN).map((one) => Number(one).toFixed(2));
  return `${texts.join(', ')}${numbers.length > SHOWN ? ', …' : ''}`;
}

/** @param {string} text */
export function shortened(text) {
  return text.length > MAX_ANSWER_CHARACTERS ? `${text.slice(0, MAX_ANSWER_CHARACTERS - 1)}…` : text;
}

/** @type {Record<UpdateReport['phase'], string>} */
const PHASES = {
  checking: 'being checked',
  downloading: 'downloading',
  staged: 'downloaded',
  trying: 'being tested',
  trial: 'on trial',
  committed: 'in use',
  'rolled-back': 'refused',
};

/** How far an update has come. @param {UpdateReport} update */
export function updateText({ phase, answers, downloadedBytes, totalBytes, test, ...wire }) {
  const { wireBytes = 0, wireTotalBytes = totalBytes, savedBytes = 0 } = wire;
  const words = PHASES[phase] ?? phase;
  if (phase === 'downloading' && wireTotalBytes <= totalBytes * 0.9)
    return `${words}, ${bytesText(wireBytes)} of ${bytesText(wireTotalBytes)}, all that differs in ${bytesText(totalBytes)}`;
  if (phase === 'downloading') return `${words}, ${bytesText(downloadedBytes)} of ${bytesText(totalBytes)}`;
  if (phase === 'trial') return `${words}, ${answers} ${answers === 1 ? 'answer' : 'answers'} so far`;
  if (phase !== 'committed') return words;
  const came =
    savedBytes > totalBytes * 0.1 ? `, ${bytesText(wireBytes)} came of ${bytesText(totalBytes)}` : '';
  return `${words}${test === 'smoke' ? ', without golden inputs' : ''}${came}`;
}
