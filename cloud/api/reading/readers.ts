/** Readers of the bodies that the hub's faces take, by name: what is asked in them, checked, as the inputs of a task. */
import type { BodyReading } from '../../../shared/runtime/body-reading.ts';
import type { TaskName } from '../../../shared/tasks/tasks.ts';
import { readCompletion } from '../hugging-face/completions.ts';
import { readTaskRequest } from '../hugging-face/forms.ts';
import { readRerank } from '../hugging-face/rerank.ts';
import { readInference } from '../open-inference/forms.ts';
import { readChat } from '../openai/chat.ts';
import { readTextRequest } from '../openai/completions.ts';
import { readEmbeddingRequest } from '../openai/embeddings.ts';
import { readTranscription } from '../openai/transcriptions.ts';

/** One for each kind of body. */
export const HUB_READERS = {
  task: (body: Uint8Array, o: { readonly task: TaskName; readonly contentType: string | undefined }) =>
    readTaskRequest(o.task, body, o.contentType),
  completion: readCompletion,
  rerank: readRerank,
  inference: readInference,
  chat: readChat,
  text: readTextRequest,
  embedding: readEmbeddingRequest,
  transcription: readTranscription,
};

/** Bodies of the hub's faces, large ones in a thread. */
export type HubReading = BodyReading<typeof HUB_READERS>;
