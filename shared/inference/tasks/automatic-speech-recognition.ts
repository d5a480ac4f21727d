/** `automatic-speech-recognition`: a sound to its text; by models that write (Whisper), or name each frame's letter (CTC). */
import { z } from 'zod';
import { readModelJson } from '../../release/folder/model-files.ts';
import { type SpeechParameters, speechParameters } from '../../tasks/automatic-speech-recognition/schema.ts';
import type { Answer, ModelSource, TaskModel } from '../runner/task-model.ts';
import { loadCtc } from '../speech/ctc.ts';
import { readSound } from '../speech/read-sound.ts';
import { loadWhisper } from '../speech/whisper.ts';

interface PreparedSound {
  /** f32[S] -1..1 at the model's rate. */
  readonly samples: Float32Array;
  readonly parameters: SpeechParameters;
}

/** @throws MODEL_INVALID */
export async function loadSpeechRecognition(source: ModelSource): Promise<TaskModel<PreparedSound>> {
  const { model_type: kind } = await readModelJson(
    source.folder,
    'config.json',
    z.looseObject({ model_type: z.string() }),
  );
  const listener = kind === 'whisper' ? await loadWhisper(source) : await loadCtc(source);
  const { samplingRate, executionProvider } = listener;
  const model: TaskModel<PreparedSound> = {
    // One at a time, as all that generates; a CTC graph without a mask would hear its neighbour's padding.
    maxBatchSize: 1,
    executionProvider,
    async prepare({ body, parameters: given = {} }) {
      const parameters = speechParameters.parse(given);
      listener.check(parameters);
      return { samples: readSound(body, samplingRate), parameters };
    },
    shapeKey: () => 'one',
    async run(batch, control) {
      const answers: Answer[] = [];
      for (const { samples, parameters } of batch)
        answers.push(await listener.hear(samples, parameters, control));
      return answers;
    },
  };
  // The first run allocates, and shows whether graphs, tokenizer and settings fit together.
  await model.run([{ samples: new Float32Array(samplingRate / 2), parameters: {} }]);
  return model;
}
