/** `outrider doctor <model>`: tries one model on this machine, in a throw-away process, and prints its card. Nothing is kept. */
import { mkdtemp, readdir, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { modelName } from '../../shared/contract/names.ts';
import { openModelFolder, SPEC_FILE } from '../../shared/release/folder/model-folder.ts';
import { AppError } from '../../shared/runtime/errors.ts';
import { orNearest } from '../../shared/runtime/near.ts';
import { readExample } from '../import/example.ts';
import { cardText, type ModelCard, measureModel } from '../import/model-card.ts';
import { type DescribeOptions, stageModel } from '../import/stage-model.ts';
import { print } from '../output.ts';

/** Flags of `outrider doctor <model>`. */
export interface DoctorModelOptions extends DescribeOptions {
  /** Where models lie that are named instead of shown the way to. */
  readonly models: string;
  readonly json?: boolean;
}

/** Beside the processor, which always works. */
const OTHER_PROVIDERS = ['cuda', 'webgpu'] as const;

/** @param model a folder, an .onnx file, `hf:org/name`, or the name of one of ours @throws as `models pull`, MODEL_UNKNOWN */
export async function doctorModel(model: string, options: DoctorModelOptions): Promise<void> {
  const ours = await ourFolder(model, options.models);
  if (ours !== undefined) {
    const folder = await openModelFolder(ours);
    const example =
      options.example === undefined ? undefined : await readExample(options.example, folder.spec);
    const { card } = await measureModel(folder, { providers: OTHER_PROVIDERS, example });
    print(options.json, card, () => cardText(card));
    return;
  }
  const stage = await mkdtemp(join(tmpdir(), 'outrider-doctor-'));
  try {
    const { card, imported } = await stageModel(model, stage, {
      ...options,
      isShown: options.json !== true,
      providers: OTHER_PROVIDERS,
    });
    const shown: ModelCard = { ...card, folder: model };
    print(options.json, { ...shown, notes: imported.notes }, () =>
      [cardText(shown), '', ...imported.notes].join('\n'),
    );
  } finally {
    await rm(stage, { recursive: true, force: true });
  }
}

/** Folders of models, as far as they can be listed. */
const namesIn = (models: string): Promise<string[]> => readdir(models).catch(() => []);

/** @returns undefined for what somebody else has made @throws MODEL_UNKNOWN */
async function ourFolder(model: string, models: string): Promise<string | undefined> {
  const isThere = async (path: string): Promise<boolean> =>
    (await stat(path).catch(() => undefined)) !== undefined;
  if (await isThere(join(model, SPEC_FILE))) return resolve(model);
  if (model.startsWith('hf:') || (await isThere(model))) return undefined;
  const named = join(models, model);
  if (modelName.safeParse(model).success && (await isThere(join(named, SPEC_FILE)))) return named;
  throw new AppError(
    'MODEL_UNKNOWN',
    `there is neither a folder nor a file ${model}, nor a model of this name in ${models}${orNearest(model, await namesIn(models))}`,
  );
}
