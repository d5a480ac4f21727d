/** What a model that hears is to its task; of either kind. */
import type { SpeechParameters } from '../../tasks/automatic-speech-recognition/schema.ts';
import type { Answer, RunControl } from '../runner/task-model.ts';

/** A loaded speech model, CTC or Whisper. */
export interface Listener {
  readonly executionProvider: string;
  /** Of the samples that it wants. */
  readonly samplingRate: number;
  /** Refuses what the model cannot do, before anything is heard. @throws PARAMETERS_INVALID */
  check(parameters: SpeechParameters): void;
  /** @param samples f32[S] -1..1 @throws EXPIRED (aborted), MODEL_INVALID */
  hear(samples: Float32Array, parameters: SpeechParameters, control?: RunControl): Promise<Answer>;
}
