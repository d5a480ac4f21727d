/**
 * The best that one bare process does with all inputs at hand: decoded or tokenized in batches, the next ones while the graph runs where
 * the libraries can, texts in the order of their length. No server, no queue, nobody who waits. The same folded graph as the hub's runner.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Tokenizer } from '@huggingface/tokenizers';
import * as ort from 'onnxruntime-node';
import sharp from 'sharp';
import { z } from 'zod';
import { answerParent } from '../worker.ts';

const job = z.object({
  kind: z.enum(['pictures', 'sentences']),
  folder: z.string(),
  bodies: z.array(z.custom<Uint8Array>()),
  threads: z.int(),
  batch: z.int(),
  ms: z.number(),
});
type Job = z.infer<typeof job>;
type Feeds = Record<string, ort.Tensor>;

sharp.concurrency(1);
sharp.cache(false);

let open: { readonly key: string; readonly session: ort.InferenceSession } | undefined;

answerParent(async (message) => {
  const task = job.parse(message);
  const key = `${task.folder} ${task.threads}`;
  if (open?.key !== key) {
    await open?.session.release();
    open = { key, session: await sessionOf(task) };
  }
  const { session } = open;
  const prepare = task.kind === 'pictures' ? await picturePreparer() : await textPreparer(task);
  const batches = await batchesOf(task, prepare.sizeOf);
  await session.run(await prepare.feeds(batches[0] ?? []));
  let answered = 0;
  const begun = performance.now();
  let next = prepare.feeds(batches[0] ?? []);
  for (let at = 1; performance.now() - begun < task.ms; at++) {
    const feeds = await next;
    next = prepare.feeds(batches[at % batches.length] ?? []);
    const { logits } = await session.run(feeds);
    answered += logits?.dims[0] ?? 0;
  }
  await next;
  return { perSecond: (1_000 * answered) / (performance.now() - begun) };
});

const sessionOf = ({ folder, threads }: Job): Promise<ort.InferenceSession> =>
  ort.InferenceSession.create(join(folder, 'onnx/model_quantized.onnx'), {
    executionProviders: ['cpu'],
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
    logSeverityLevel: 3,
    extra: { session: { disable_quant_qdq: '1', intra_op: { allow_spinning: '0' } } },
  });

async function batchesOf(
  { bodies, batch }: Job,
  sizeOf: (body: Uint8Array) => number,
): Promise<Uint8Array[][]> {
  const repeated = Array.from(
    { length: Math.ceil(Math.max(batch * 4, bodies.length) / batch) * batch },
    (_, at) => bodies[at % bodies.length] ?? new Uint8Array(),
  ).sort((a, b) => sizeOf(a) - sizeOf(b));
  return Array.from({ length: repeated.length / batch }, (_, at) =>
    repeated.slice(at * batch, (at + 1) * batch),
  );
}

interface Preparer {
  /** Inputs of like size share a batch. */
  sizeOf(body: Uint8Array): number;
  feeds(batch: readonly Uint8Array[]): Promise<Feeds>;
}

/** f32[N,3,32,32], mean and deviation of one half, as the folder's preprocessor says. */
async function picturePreparer(): Promise<Preparer> {
  const area = 32 * 32;
  return {
    sizeOf: () => 0,
    async feeds(batch) {
      const values = new Float32Array(batch.length * 3 * area);
      await Promise.all(
        batch.map(async (body, index) => {
          const pixels = await sharp(body)
            .resize(32, 32, { fit: 'cover', kernel: 'cubic' })
            .toColourspace('srgb')
            .raw()
            .toBuffer();
          for (let plane = 0; plane < 3; plane++)
            for (let at = 0; at < area; at++)
              values[(index * 3 + plane) * area + at] = (pixels[3 * at + plane] ?? 0) / 127.5 - 1;
        }),
      );
      return { pixel_values: new ort.Tensor('float32', values, [batch.length, 3, 32, 32]) };
    },
  };
}

/** i64[N,S] ids, mask and types, padded to the longest. */
async function textPreparer({ folder }: Job): Promise<Preparer> {
  const read = async (name: string): Promise<object> =>
    JSON.parse(await readFile(join(folder, name), 'utf8')) as object;
  const tokenizer = new Tokenizer(await read('tokenizer.json'), await read('tokenizer_config.json'));
  const encode = (body: Uint8Array): number[] =>
    tokenizer.encode(Buffer.from(body).toString('utf8')).ids.slice(0, 128);
  return {
    sizeOf: (body) => encode(body).length,
    async feeds(batch) {
      const rows = batch.map(encode);
      const width = Math.max(...rows.map(({ length }) => length));
      const ids = new BigInt64Array(rows.length * width);
      const mask = new BigInt64Array(rows.length * width);
      for (const [row, values] of rows.entries())
        for (const [at, value] of values.entries()) {
          ids[row * width + at] = BigInt(value);
          mask[row * width + at] = 1n;
        }
      const dims = [rows.length, width];
      return {
        input_ids: new ort.Tensor('int64', ids, dims),
        attention_mask: new ort.Tensor('int64', mask, dims),
        token_type_ids: new ort.Tensor('int64', new BigInt64Array(rows.length * width), dims),
      };
    },
  };
}
