/** What one key’s flood costs another key: a hog that keeps 1,000 requests waiting, and a client that asks one after the other. */
import type { BenchReport, Table } from '../harness.ts';
import { Load, type Point } from './load.ts';
import { pictures, type Question, sentences } from './questions.ts';
import { startHub } from './servers.ts';

const HOG = 1_000;
/** Of p99 beside the hog over p99 alone. */
const GOAL = 1.5;

export async function fair(isQuick: boolean): Promise<BenchReport> {
  const times = isQuick ? { ms: 4_000, warmMs: 3_000 } : { ms: 15_000, warmMs: 6_000 };
  return {
    name: 'hub: fairness',
    about:
      `A client of one key asks one request after the other, alone and then while another key keeps ${HOG} requests waiting. The hub is ` +
      'busy with the hog meanwhile: the client’s request joins or follows the batch that runs.',
    tables: [await measure(await pictures(), times), await measure(await sentences(), times)],
  };
}

async function measure(
  question: Question,
  times: { readonly ms: number; readonly warmMs: number },
): Promise<Table> {
  const hub = await startHub([question]);
  const load = new Load();
  load.start();
  try {
    const [light, hog, background] = [
      hub.requestsOf(question, await hub.newKey('light')),
      hub.requestsOf(question, await hub.newKey('hog')),
      hub.requestsOf(question, await hub.newKey('background'), { 'outrider-priority': 'background' }),
    ];
    const at = { host: '127.0.0.1', port: hub.port, ...times };
    const one = (requests: Uint8Array[], clients: number) => ({ clients, requests, worth: null });
    // The first look at a hub that has found its pace.
    await load.put({ ...at, groups: [one(light, 32)], ms: 1_500 });
    const [alone] = await load.put({ ...at, groups: [one(light, 1)] });
    const [beside, flood] = await load.put({ ...at, groups: [one(light, 1), one(hog, HOG)] });
    const [interactive, behind] = await load.put({ ...at, groups: [one(light, 1), one(background, HOG)] });
    const row = (name: string, point: Point | undefined): string[] => [
      name,
      (point?.perSecond ?? 0).toFixed(1),
      `${(point?.p50Ms ?? 0).toFixed(1)} ms`,
      `${(point?.p99Ms ?? 0).toFixed(1)} ms`,
      String(point?.failed ?? 0),
    ];
    const ratio = (beside?.p99Ms ?? 0) / (alone?.p99Ms ?? 1);
    return {
      title: `${question.kind} to ${question.model}`,
      lines: [],
      grid: [
        ['', 'answers a second', 'p50', 'p99', 'refused'],
        row('alone', alone),
        row('beside a hog', beside),
        row('the hog', flood),
        row('beside a hog in the background', interactive),
        row('the hog in the background', behind),
      ],
      verdicts: [
        {
          requirement: `Another key’s p99 beside a hog at most ${GOAL} times its own`,
          measured: `${ratio.toFixed(2)} times`,
          holds: ratio <= GOAL,
        },
      ],
    };
  } finally {
    await load.stop();
    await hub.stop();
  }
}
