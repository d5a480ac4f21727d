/** Script of the sensor bench: windows out of a file of CSV, `session.run`, a line each. CSV COUNT HOP FILE FOLDER */
import { appendFile, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as ort from 'onnxruntime-node';
import { z } from 'zod';
import { openModelFolder } from '../../../shared/release/folder/model-folder.ts';
import { sessionOptions } from '../bare-model.ts';

const recipe = z.object({ mean: z.array(z.number()), std: z.array(z.number()) });
const [csv = '', count = '', hop = '', file = '', path = ''] = process.argv.slice(2);
const { spec } = await openModelFolder(path);
const { id2label } = z
  .object({ id2label: z.record(z.string(), z.string()) })
  .parse(JSON.parse(await readFile(join(path, 'config.json'), 'utf8')));
const { mean, std } = recipe.parse(
  JSON.parse(await readFile(join(path, 'preprocessor_config.json'), 'utf8')),
);
const session = await ort.InferenceSession.create(join(path, spec.model), sessionOptions(1));
const [input = ''] = session.inputNames;
const [output = ''] = session.outputNames;
const rows = (await readFile(csv, 'utf8'))
  .trim()
  .split('\n')
  .slice(1)
  .map((row) => row.split(',').map(Number));

const length = Number(count);
for (let from = 0; from + length <= rows.length; from += Number(hop)) {
  const values = new Float32Array(mean.length * length);
  for (let at = 0; at < length; at++)
    for (const [channel, middle] of mean.entries())
      values[channel * length + at] = ((rows[from + at]?.[channel] ?? 0) - middle) / (std[channel] ?? 1);
  const tensor = new ort.Tensor('float32', values, [1, mean.length, length]);
  const outputs = await session.run({ [input]: tensor });
  const logits = Array.from((outputs[output]?.data ?? []) as Float32Array);
  const best = logits.indexOf(Math.max(...logits));
  await appendFile(file, `${JSON.stringify({ input: `row ${from}`, label: id2label[best] })}\n`);
}
// It is ended, as the agent is.
setInterval(() => undefined, 60_000);
