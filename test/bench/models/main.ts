/**
 * `npm run bench:models -- --data DIR [--only NAME…] [--limit N] [--python PATH] [--page]`: every starter model on this machine, by our
 * runner and by transformers.js on the same files, one input at a time in turns, one thread each; and, where a Python with Pillow,
 * transformers and onnxruntime is named, whether the answers are those of the reference.
 */
import { execFileSync, fork } from 'node:child_process';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { extname, join } from 'node:path';
import { parseArgs } from 'node:util';
import { z } from 'zod';
import { withRunner } from '../../../shared/inference/runner/with-runner.ts';
import { loadTextReader } from '../../../shared/inference/text/text.ts';
import { findModelFolders, type ModelFolder } from '../../../shared/release/folder/model-folder.ts';
import { AppError } from '../../../shared/runtime/errors.ts';
import { runTool } from '../../../tools/measure/command.ts';
import { tsxFlags } from '../../support/from-source.ts';
import { aligned, inTree, machineFacts, median, quantile, RESULTS_FOLDER, workFolder } from '../harness.ts';
import { type Asked, askedOf, labelOf, translationOf } from './data.ts';
import type { FromPeer, ToPeer } from './peer.ts';

/** Enough for medians; accuracy is taken of all. */
const TIMED = 400;
const WARM_UP = 10;

interface Side {
  readonly outputs: unknown[];
  readonly ms: number[];
}
interface Measured {
  readonly model: string;
  readonly task: string;
  readonly bytes: number;
  readonly measure: string;
  readonly asked: number;
  readonly ours: Figures;
  readonly peer: Figures | { readonly missing: string };
  /** Shares 0..1 of answers and token ids that are the reference's; null where it was not asked. */
  readonly reference: { readonly sameLabel: number; readonly sameIds: number | null } | null;
}
interface Figures {
  /** 0..1, or BLEU; null without a reference for it. */
  readonly accuracy: number | null;
  readonly medianMs: number;
  readonly p95Ms: number;
}

const flags = {
  data: { type: 'string' },
  only: { type: 'string', multiple: true },
  limit: { type: 'string' },
  python: { type: 'string' },
  page: { type: 'boolean' },
} as const;

runTool(async () => {
  const { values } = parseArgs({ options: flags });
  const { data, only, python } = values;
  if (data === undefined)
    throw new AppError(
      'USAGE',
      'usage: npm run bench:models -- --data DIR [--only NAME] [--limit N] [--python PATH] [--page]',
    );
  const limit = Number(values.limit ?? Number.POSITIVE_INFINITY);
  const folders = await findModelFolders(inTree('models'), (path, error) => console.error(path, error));
  const rows = only === undefined ? [] : await earlierRows();
  for (const folder of folders.filter(({ spec }) => only === undefined || only.includes(spec.name))) {
    const row = await measure(folder, { data, limit, python });
    console.log(JSON.stringify(row));
    rows.splice(0, rows.length, ...rows.filter(({ model }) => model !== row.model), row);
  }
  rows.sort((a, b) => (a.model < b.model ? -1 : 1));
  const machine = await machineFacts();
  await mkdir(RESULTS_FOLDER, { recursive: true });
  await writeFile(join(RESULTS_FOLDER, 'models.json'), `${JSON.stringify({ machine, rows }, null, 2)}\n`);
  const text = page(rows, machine, python !== undefined);
  console.log(`\n${text}`);
  if (values.page) await writeFile(inTree('docs/models.md'), text);
});

/** What an earlier run has written: a run of single models goes on with it. */
async function earlierRows(): Promise<Measured[]> {
  const text = await readFile(join(RESULTS_FOLDER, 'models.json'), 'utf8').catch(() => '{"rows": []}');
  return (JSON.parse(text) as { rows: Measured[] }).rows;
}

interface How {
  readonly data: string;
  readonly limit: number;
  readonly python: string | undefined;
}

async function measure(folder: ModelFolder, { data, limit, python }: How): Promise<Measured> {
  const { spec } = folder;
  const judged = await askedOf(spec, data);
  const asked = judged.asked.slice(0, limit);
  const { ours, peer } = await askBoth(folder, asked);
  const bleu =
    spec.task === 'translation' && python ? await bleuOf(python, { asked, ours, peer }) : undefined;
  return {
    model: spec.name,
    task: spec.task,
    bytes: folder.bytes,
    measure: judged.measure,
    asked: asked.length,
    ours: figures(asked, ours, bleu?.ours),
    peer: 'missing' in peer ? peer : figures(asked, peer, bleu?.peer),
    reference: python ? await compare(python, folder, asked, ours) : null,
  };
}

/** In turns, so that what changes on the machine meets both. */
async function askBoth(
  folder: ModelFolder,
  asked: readonly Asked[],
): Promise<{ ours: Side; peer: Side | { missing: string } }> {
  const peer = await Peer.start(folder).catch((error: unknown) => ({
    missing: error instanceof Error ? error.message : String(error),
  }));
  try {
    return await withRunner(folder, async (runner) => {
      const ours: Side = { outputs: [], ms: [] };
      const theirs: Side = { outputs: [], ms: [] };
      const own = async ({ input }: Asked): Promise<void> => {
        const { output, timingsMs } = await runner.infer(input);
        ours.outputs.push(output);
        ours.ms.push(timingsMs.preprocess + timingsMs.inference);
      };
      const other = async ({ input }: Asked): Promise<void> => {
        if (!(peer instanceof Peer)) return;
        const { output, ms } = await peer.ask(input.body);
        theirs.outputs.push(output);
        theirs.ms.push(ms);
      };
      for (const one of asked.slice(0, WARM_UP)) await Promise.all([own(one), other(one)]);
      for (const side of [ours, theirs]) [side.outputs.length, side.ms.length] = [0, 0];
      for (const [index, one] of asked.entries())
        for (const ask of index % 2 === 0 ? [own, other] : [other, own]) await ask(one);
      return { ours, peer: peer instanceof Peer ? theirs : peer };
    });
  } finally {
    if (peer instanceof Peer) peer.stop();
  }
}

class Peer {
  readonly #child = fork(inTree('test/bench/models/peer.ts'), [], {
    execArgv: tsxFlags(),
    serialization: 'advanced',
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  });

  /** @throws AppError with what it says */
  static async start({ path, spec }: ModelFolder): Promise<Peer> {
    const peer = new Peer();
    const ending = /_(quantized|fp16|int8|uint8|q4|q4f16|bnb4)\.onnx$/.exec(spec.model)?.[1];
    const dtype = ending === 'quantized' ? 'q8' : (ending ?? 'fp32');
    await peer.#say({ type: 'load', folder: path, task: spec.task, dtype });
    return peer;
  }

  async ask(input: Uint8Array): Promise<Extract<FromPeer, { type: 'answered' }>> {
    const answer = await this.#say({ type: 'ask', input });
    if (answer.type !== 'answered') throw new AppError('INVARIANT_BROKEN', 'the peer said something else');
    return answer;
  }

  #say(message: ToPeer): Promise<FromPeer> {
    return new Promise((resolve, reject) => {
      this.#child.once('message', (raw) => {
        const answer = raw as FromPeer;
        if (answer.type === 'failed') reject(new AppError('CHILD_FAILED', answer.message));
        else resolve(answer);
      });
      this.#child.send(message);
    });
  }

  stop(): void {
    this.#child.disconnect();
  }
}

function figures(asked: readonly Asked[], { outputs, ms }: Side, accuracy?: number): Figures {
  const right = asked.map((one, index) => one.right(outputs[index]));
  const known = right.filter((value) => value !== null);
  const timed = ms.slice(0, TIMED);
  return {
    accuracy:
      accuracy ?? (known.length === 0 ? null : known.reduce((sum, value) => sum + value, 0) / known.length),
    medianMs: median(timed),
    p95Ms: quantile(timed, 0.95),
  };
}

const answers = z.object({
  labels: z.array(z.string()).optional(),
  ids: z.array(z.array(z.number())).nullish(),
  bleu: z.record(z.string(), z.number()).optional(),
});

async function askPython(python: string, job: object): Promise<z.infer<typeof answers>> {
  const { path, remove } = await workFolder();
  try {
    await writeFile(join(path, 'job.json'), JSON.stringify(job));
    const [from, to] = [join(path, 'job.json'), join(path, 'answers.json')];
    execFileSync(python, [inTree('test/bench/models/reference.py'), from, to], {
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    return answers.parse(JSON.parse(await readFile(to, 'utf8')));
  } finally {
    await remove();
  }
}

async function bleuOf(
  python: string,
  { asked, ours, peer }: { asked: readonly Asked[]; ours: Side; peer: Side | { missing: string } },
): Promise<Record<string, number>> {
  const texts = ({ outputs }: Side): string[] => outputs.map((output) => translationOf(output) ?? '');
  const { bleu = {} } = await askPython(python, {
    task: 'translation',
    references: asked.map(({ wanted }) => wanted),
    hypotheses: { ours: texts(ours), ...(!('missing' in peer) && { peer: texts(peer) }) },
  });
  return bleu;
}

async function compare(
  python: string,
  folder: ModelFolder,
  asked: readonly Asked[],
  { outputs }: Side,
): Promise<Measured['reference']> {
  const { path, spec } = folder;
  if (spec.task !== 'image-classification' && spec.task !== 'text-classification') return null;
  const work = await workFolder();
  try {
    const isText = spec.task === 'text-classification';
    const inputs = await Promise.all(
      asked.map(async ({ input }, index) => {
        if (isText) return Buffer.from(input.body).toString('utf8');
        const file = join(
          work.path,
          `${index}${input.contentType.endsWith('png') ? '.png' : extname('a.jpg')}`,
        );
        await writeFile(file, input.body);
        return file;
      }),
    );
    const said = await askPython(python, {
      ...{ folder: path, model: spec.model, task: spec.task, fold: spec.foldDequantize, inputs },
    });
    const same = asked.filter((_, index) => labelOf(outputs[index]) === said.labels?.[index]).length;
    return {
      sameLabel: same / asked.length,
      sameIds: isText ? await sameIds(folder, asked, said.ids ?? []) : null,
    };
  } finally {
    await work.remove();
  }
}

async function sameIds(
  { path }: ModelFolder,
  asked: readonly Asked[],
  ids: readonly (readonly number[])[],
): Promise<number> {
  const reader = await loadTextReader(path, JSON.parse(await readFile(join(path, 'config.json'), 'utf8')));
  const same = asked.filter(
    ({ input }, index) =>
      String(reader.encode(Buffer.from(input.body).toString('utf8')).ids) === String(ids[index]),
  );
  return same.length / asked.length;
}

function page(
  rows: readonly Measured[],
  machine: Awaited<ReturnType<typeof machineFacts>>,
  hasReference: boolean,
): string {
  const { cpu, cores, node, commit } = machine;
  const head = [
    'model',
    'size',
    'inputs',
    'measure',
    'ours',
    'transformers.js',
    'ours, ms',
    'transformers.js, ms',
    'times as fast',
  ];
  const body = rows.map(({ model, bytes, asked, measure: name, ours, peer }) => {
    const isThere = !('missing' in peer);
    return [
      `\`${model}\``,
      `${(bytes / 1e6).toFixed(2)} MB`,
      String(asked),
      name,
      shown(name, ours.accuracy),
      isThere ? shown(name, peer.accuracy) : '–',
      ours.medianMs.toFixed(2),
      isThere ? peer.medianMs.toFixed(2) : '–',
      isThere ? (peer.medianMs / ours.medianMs).toFixed(2) : '–',
    ];
  });
  const missing = rows.flatMap(({ model, peer }) =>
    'missing' in peer ? [`- \`${model}\`: transformers.js says “${peer.missing}”`] : [],
  );
  return [
    '# The starter models, measured',
    '',
    'Written by `npm run bench:models -- --data DIR --python PYTHON --page`. Each model by our runner and by transformers.js on the same files,',
    'one input at a time in turns, one thread each, times taken inside of the process that runs the model, from the encoded picture or text',
    'to the answer (medians of the first 400). Of larger sets the first `--limit` are asked: of CIFAR-10 these are its first classes, so that the',
    'accuracy of a whole set is the one on the model’s card. transformers.js has no class for the CNNs and the LSTM here: their graphs pass for',
    'those of a ViT and a BERT there. It leaves weight-only int8 folded and ours is unfolded at load: where two labels are level to the second',
    'digit, rounding decides, and an input or two more or less are right.',
    '',
    `${cpu}, ${cores} cores, Node ${node}, commit ${commit}.`,
    '',
    ...aligned([head, ...body]),
    '',
    ...(missing.length > 0 ? [...missing, ''] : []),
    ...(hasReference ? referenceLines(rows) : []),
  ].join('\n');
}

function referenceLines(rows: readonly Measured[]): string[] {
  const compared = rows.flatMap(({ model, asked, reference }) =>
    reference
      ? [
          [
            `\`${model}\``,
            String(asked),
            percent(reference.sameLabel),
            reference.sameIds === null ? '' : percent(reference.sameIds),
          ],
        ]
      : [],
  );
  return [
    '## Against the Python reference',
    '',
    'Pillow, transformers’ image processors and tokenizers, and ONNX Runtime in Python, on the same files.',
    '',
    ...aligned([['model', 'inputs', 'same best label', 'same token ids'], ...compared]),
    '',
  ];
}

const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;
const shown = (measure: string, value: number | null): string =>
  value === null ? '–' : measure === 'BLEU' ? value.toFixed(1) : percent(value);
