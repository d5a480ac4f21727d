/** `outrider captures export`: captures as a data set for training programs. */
import { resolve } from 'node:path';
import { captureDetail, captureList } from '../../shared/contract/captures.ts';
import { type DatasetFormat, writeDataset } from '../../shared/dataset/dataset.ts';
import { parseSplits } from '../../shared/dataset/split.ts';
import { AppError } from '../../shared/runtime/errors.ts';
import { type FilterFlags, queryOf } from '../captures/filter-flags.ts';
import { HubClient, type HubOptions } from '../hub-client.ts';
import { print } from '../output.ts';
import { progressBar } from '../progress-bar.ts';

type Options = HubOptions &
  FilterFlags & { readonly json?: boolean; readonly format?: string; readonly split?: string };

/** Writes the folder, whole or not at all. */
export async function exportCaptures(folder: string, options: Options): Promise<void> {
  const format = formatOf(options.format);
  const splits = options.split === undefined ? undefined : parseSplits(options.split);
  const query = queryOf(options);
  const hub = await HubClient.find(options);
  const captures = await hub.getAll(`/api/v1/captures${query}`, captureList, 'captures');
  const bar = progressBar('exports', captures.length);
  let said = 0;
  const made = await writeDataset({
    ...{ out: resolve(folder), captures, format, splits },
    detailOf: (id) => hub.get(`/api/v1/captures/${id}`, captureDetail),
    inputOf: (id) => hub.bytes(`/api/v1/captures/${id}/input`),
    onProgress: (done) => {
      bar.increment(done - said);
      said = done;
    },
  }).finally(() => bar.stop());
  print(options.json, { folder: resolve(folder), ...made }, () => {
    const parts = Object.entries(made.splits).map(([name, count]) => `${count} ${name}`);
    const gone = made.gone === 0 ? '' : `; ${made.gone} were erased meanwhile`;
    return `${made.examples} captures of ${made.task} are in ${folder} as ${made.format}: ${parts.join(', ')}${gone}`;
  });
}

function formatOf(text: string | undefined): DatasetFormat | undefined {
  if (text === undefined || text === 'imagefolder' || text === 'jsonl') return text;
  throw new AppError('USAGE', `--format is imagefolder or jsonl, not “${text}”`);
}
