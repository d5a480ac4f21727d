/** `outrider captures ls|show|rm`: what devices let the hub keep to learn from. */
import { readFile, writeFile } from 'node:fs/promises';
import {
  type CaptureRecord,
  captureDetail,
  captureList,
  captureSummary,
  erasedCaptures,
  foundCaptures,
} from '../../shared/contract/captures.ts';
import { AppError, unreadable } from '../../shared/runtime/errors.ts';
import { TASKS } from '../../shared/tasks/tasks.ts';
import { type FilterFlags, queryOf } from '../captures/filter-flags.ts';
import { HubClient, type HubOptions } from '../hub-client.ts';
import { agoText, bytesText, print, spanText, table } from '../output.ts';

type Options = HubOptions & { readonly json?: boolean };

const MAX_LISTED = 1_000;

/** `outrider captures ls`: the newest, and how many there are in all. */
export async function listCaptures(
  options: Options & FilterFlags & { readonly limit: string },
): Promise<void> {
  const limit = Number(options.limit);
  if (!Number.isInteger(limit) || limit < 1 || limit > MAX_LISTED)
    throw new AppError('USAGE', `--limit must be a whole number from 1 to ${MAX_LISTED}`);
  const query = queryOf(options);
  const hub = await HubClient.find(options);
  const summary = await hub.get(`/api/v1/capture-summary${query}`, captureSummary);
  const page = `/api/v1/captures${query}${query === '' ? '?' : '&'}limit=${limit}`;
  const { captures } = await hub.get(page, captureList);
  print(options.json, { captures, summary }, () =>
    [
      captures.length === 0 ? 'There are none.' : tableOf(captures),
      '',
      `${summary.kept} captures, ${bytesText(summary.bytes)} of ${bytesText(summary.maxBytes)} at most, for ${spanText(summary.maxAgeMs)}; ` +
        `${summary.disagreeing} disagree, ${summary.samples} are of the unbiased sample`,
      ...(summary.kept === 0 ? ['Pipelines that say `share: inputs` fill it (docs/circle.md).'] : []),
    ].join('\n'),
  );
}

const tableOf = (captures: readonly CaptureRecord[]): string =>
  table(
    ['id', 'when', 'device', 'pipeline', 'why', 'edge', 'cloud', 'loss', 'seen', 'input'],
    captures.map(({ id, atMs, deviceId, pipeline, why, edge, cloud, loss, seen, input }) => [
      id,
      agoText(atMs, Date.now()),
      deviceId,
      pipeline,
      why,
      edge.label ?? (edge.model ? '…' : '–'),
      cloud.label ?? '…',
      loss === null ? '–' : loss.toFixed(2),
      String(seen),
      bytesText(input.bytes),
    ]),
    { spare: ['input', 'seen', 'pipeline'] },
  );

/** `outrider captures show`: one with both answers, and its input where that is wanted. */
export async function showCapture(id: string, options: Options & { readonly out?: string }): Promise<void> {
  const hub = await HubClient.find(options);
  const path = `/api/v1/captures/${encodeURIComponent(id)}`;
  const found = await hub.get(path, captureDetail);
  if (options.out !== undefined) await writeFile(options.out, await hub.bytes(`${path}/input`));
  const { edge, cloud, answers, task, input } = found;
  const shown = (answer: unknown): string => {
    const made = answer === null ? undefined : TASKS[task].judge.shown(answer);
    if (made === undefined) return '–';
    return typeof made === 'string' ? made : table(made.head, made.rows);
  };
  print(options.json, found, () =>
    [
      `Capture ${found.id}, ${new Date(found.atMs).toISOString()}, of ${found.deviceId} / ${found.pipeline} (${task})`,
      `asked because ${found.why}${found.probability === null ? '' : `, which had a probability of ${found.probability.toFixed(3)}`}; seen ${found.seen} times${found.isSample ? '; of the unbiased sample' : ''}`,
      `input ${bytesText(input.bytes)}, ${input.contentType}, SHA-256 ${input.sha256}${options.out === undefined ? '' : `, now in ${options.out}`}`,
      '',
      `device, ${edge.model ? `${edge.model.name}@${edge.model.version}` : 'no model'}${edge.score === null ? '' : `, score ${edge.score.toFixed(2)}`}:`,
      shown(answers.edge),
      '',
      `cloud, ${cloud.model.name}@${cloud.model.version}${found.loss === null ? '' : `, loss ${found.loss.toFixed(2)}`}:`,
      shown(answers.cloud),
    ].join('\n'),
  );
}

type EraseFlags = Options &
  Pick<FilterFlags, 'device' | 'pipeline' | 'model'> & {
    readonly before?: string;
    readonly input?: string;
    readonly dryRun?: boolean;
  };

/** `outrider captures rm`: by id, by what they are of, or by an input that somebody shows. */
export async function eraseCaptures(ids: readonly string[], options: EraseFlags): Promise<void> {
  const query = queryOf(options);
  const ways = [ids.length > 0, query !== '', options.input !== undefined].filter(Boolean).length;
  if (ways !== 1)
    throw new AppError(
      'USAGE',
      'say which captures: their ids, or --device, --pipeline, --model, --before, or --input FILE',
    );
  const hub = await HubClient.find(options);
  if (options.input !== undefined) return eraseInput(hub, options.input, options);
  if (ids.length > 0) return eraseAll(hub, ids, options);
  if (options.dryRun) {
    // A list ends before `until`, as an erasure does before `before`.
    const summary = await hub.get(
      `/api/v1/capture-summary${query.replace('before=', 'until=')}`,
      captureSummary,
    );
    return print(
      options.json,
      { erased: 0, wouldErase: summary.kept, bytes: summary.bytes },
      () => `${summary.kept} captures of ${bytesText(summary.bytes)} would be erased.`,
    );
  }
  const done = await hub.remove(`/api/v1/captures${query}`, erasedCaptures);
  print(options.json, done, () => `${done.erased} captures of ${bytesText(done.bytes)} are erased.`);
}

/** The input of a person who asks for it. */
async function eraseInput(hub: HubClient, file: string, options: EraseFlags): Promise<void> {
  const body = await readFile(file).catch((error: unknown) => {
    throw unreadable(file, error);
  });
  const found = await hub.postBytes('/api/v1/capture-searches', body, foundCaptures);
  const ids = found.captures.map(({ id }) => id);
  if (options.dryRun)
    return print(options.json, { ...found, wouldErase: ids.length }, () =>
      [
        ids.length === 0 ? 'None is of this input.' : tableOf(found.captures),
        ...(found.by === 'digest'
          ? ['Only the very same bytes could be looked for: nothing is known of how this input looks.']
          : []),
      ].join('\n'),
    );
  return eraseAll(hub, ids, options);
}

async function eraseAll(hub: HubClient, ids: readonly string[], options: EraseFlags): Promise<void> {
  if (options.dryRun) {
    for (const id of ids) await hub.get(`/api/v1/captures/${encodeURIComponent(id)}`, captureDetail);
    return print(
      options.json,
      { erased: 0, wouldErase: ids.length },
      () => `${ids.length} captures would be erased.`,
    );
  }
  for (const id of ids) await hub.delete(`/api/v1/captures/${encodeURIComponent(id)}`);
  print(options.json, { erased: ids.length, ids }, () => `${ids.length} captures are erased.`);
}
