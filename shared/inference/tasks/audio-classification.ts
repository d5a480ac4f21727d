/** `audio-classification`: a sound to labels with scores (Wav2Vec2, HuBERT, WavLM, Audio Spectrogram Transformer). */
import { join } from 'node:path';
import { classifierConfig, readModelJson } from '../../release/folder/model-files.ts';
import { graphEnd } from '../../release/import/graph-end.ts';
import { AppError } from '../../runtime/errors.ts';
import type { ClassificationParameters } from '../../tasks/forms/labels.ts';
import { scoreByChance } from '../../tasks/random-score.ts';
import { sizeOf, type Tensors } from '../../tasks/tensor/element-types.ts';
import type { TensorSpec } from '../../tasks/tensor/signature.ts';
import { mixesRows } from '../graph/batch-safety.ts';
import { answerEach } from '../graph/finite.ts';
import { seenEnd } from '../graph/seen-end.ts';
import { loadSession, type Session } from '../graph/session.ts';
import { ClassificationHead, parametersOf } from '../labels/classification-head.ts';
import type { ModelSource, TaskModel } from '../runner/task-model.ts';
import { type HeardSound, soundConfig, soundRecipe } from '../sound/sound-recipe.ts';
import { readSound } from '../speech/read-sound.ts';
import { type Floats, floatsOf, mainOutput, rowOf } from '../tensor/floats.ts';

const MASK = 'attention_mask';

interface PreparedSound {
  readonly sound: HeardSound;
  readonly parameters: ClassificationParameters;
  readonly chance: number;
}

/** @throws MODEL_INVALID */
export async function loadAudioClassification(source: ModelSource): Promise<TaskModel<PreparedSound>> {
  const { folder, spec } = source;
  const config = await readModelJson(folder, 'config.json', classifierConfig);
  const recipe = soundRecipe(await readModelJson(folder, 'preprocessor_config.json', soundConfig));
  const modelPath = join(folder, spec.model);
  const session = await loadSession({ ...source, modelPath, foldDequantize: spec.foldDequantize });
  const input = soundInput(session);
  const output = mainOutput(session.outputs, spec.output);
  const isBatchSafe = spec.batch.safe && input.dims[0] === null && !(await mixesRows(modelPath));
  const hear = (samples: Float32Array): HeardSound => fitted(recipe.hear(samples), input);
  /** f32[N,C] */
  const logitsOfAll = async (sounds: readonly HeardSound[]): Promise<Floats> => {
    const made = await session.run(feedsOf(session, input, sounds), [output]);
    const logits = floatsOf(made, output);
    if (logits.dims[0] === sounds.length) return logits;
    throw new AppError('MODEL_INVALID', `the graph gives [${logits.dims}] for ${sounds.length} sounds`);
  };
  const ask = async (samples: Float32Array): Promise<Floats> => rowOf(await logitsOfAll([hear(samples)]), 0);
  const tone = (hz: number): Float32Array =>
    Float32Array.from({ length: recipe.samplingRate / 2 }, (_, at) =>
      Math.sin((2 * Math.PI * hz * at) / recipe.samplingRate),
    );
  // The first run allocates.
  const first = await ask(tone(440));
  const end =
    (await graphEnd(modelPath, output)) ?? (await seenEnd([async () => first, () => ask(tone(90))]));
  const head = new ClassificationHead(source, config, end);

  const model: TaskModel<PreparedSound> = {
    maxBatchSize: isBatchSafe ? spec.batch.maxSize : 1,
    executionProvider: session.executionProvider,
    async prepare(task) {
      const parameters = parametersOf(task);
      const sound = hear(readSound(task.body, recipe.samplingRate));
      return { sound, parameters, chance: scoreByChance(task.body) };
    },
    // Without a mask a graph would hear its neighbour's padding: only equal lengths meet.
    shapeKey: ({ sound }) => sound.dims.join('x'),
    async run(batch) {
      const logits = await logitsOfAll(batch.map(({ sound }) => sound));
      return answerEach(batch, ({ sound, parameters, chance }, index) =>
        head.answer(rowOf(logits, index), { parameters, isUnsure: false, isCut: sound.isCut, chance }),
      );
    },
  };
  // Shows whether graph and labels fit together; what is not finite is said when somebody asks.
  answerEach([first], (row) => head.answer(row, { parameters: {}, isUnsure: false, chance: 0 }));
  return model;
}

/** @throws MODEL_INVALID */
function soundInput({ inputs }: Session): TensorSpec {
  const [input, ...others] = inputs.filter(({ name }) => name !== MASK);
  if (input?.type === 'float32' && others.length === 0) return input;
  const given = inputs.map(({ name, type, dims }) => `${name} ${type}[${dims.map((dim) => dim ?? '?')}]`);
  throw new AppError('MODEL_INVALID', `the graph takes ${given.join(', ')}; a sound is one input of float32`);
}

/** Of the length that the graph takes, where it takes but one. @throws MODEL_INVALID */
function fitted(sound: HeardSound, { name, dims }: TensorSpec): HeardSound {
  const wanted = dims.slice(1);
  const fits =
    wanted.length === sound.dims.length && wanted.every((dim, at) => dim === null || dim === sound.dims[at]);
  if (fits) return sound;
  const [length] = wanted;
  if (wanted.length !== 1 || sound.dims.length !== 1 || typeof length !== 'number')
    throw new AppError(
      'MODEL_INVALID',
      `the graph takes ${name} [${dims.map((dim) => dim ?? '?')}], preprocessor_config.json makes [?,${sound.dims}]`,
    );
  const data = new Float32Array(length);
  data.set(sound.data.subarray(0, length));
  return { data, dims: [length], isCut: sound.isCut || sound.data.length > length };
}

function feedsOf({ inputs }: Session, input: TensorSpec, sounds: readonly HeardSound[]): Tensors {
  const own = sounds[0]?.dims ?? [];
  const size = sizeOf(own);
  const data = new Float32Array(sounds.length * size);
  for (const [index, sound] of sounds.entries()) data.set(sound.data, index * size);
  const dims = [sounds.length, ...own];
  const feeds = { [input.name]: { type: 'float32' as const, data, dims } };
  if (!inputs.some(({ name }) => name === MASK)) return feeds;
  // All of it is sound.
  const heard = [sounds.length, own[0] ?? 0];
  const mask = new BigInt64Array(sizeOf(heard)).fill(1n);
  return { ...feeds, [MASK]: { type: 'int64', data: mask, dims: heard } };
}
