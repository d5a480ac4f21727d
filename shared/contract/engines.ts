/** Engines on other servers: how an operator names one for a model, and how the hub shows it. */
import { z } from 'zod';
import { taskName } from '../tasks/tasks.ts';
import { modelName } from './names.ts';

/** `open-inference`: Triton, KServe, MLServer, another hub. `openai`: vLLM, SGLang, llama.cpp, Ollama. */
export const engineKind = z.enum(['open-inference', 'openai']);

/** `here`: the hub makes batches and sends each in one request. `there`: each input goes by itself, and the server makes them. */
const batching = z.enum(['here', 'there']);

const url = z
  .string()
  .max(2_048)
  .refine((text) => {
    if (!URL.canParse(text)) return false;
    const { protocol, username, password, search, hash } = new URL(text);
    return /^https?:$/.test(protocol) && `${username}${password}${search}${hash}` === '';
  }, 'must be http://host:port or https://host:port, without a name, a password or a query in it');

/** `PUT /models/{name}/engine`: where the model runs from now on. */
export const engineRequest = z.strictObject({
  kind: engineKind,
  /** Of the server: `http://10.0.0.5:8000`; of an `openai` one with or without `/v1`. */
  url,
  /** Of the model there; the same as here, when left out. */
  remoteName: z.string().min(1).max(256).optional(),
  /** Of the model there (`open-inference`); the one that the server runs, when left out. */
  version: z.string().min(1).max(64).nullish(),
  /** What it does; needed where the hub has no folder of this model. */
  task: taskName.optional(),
  /** Sent as Bearer, kept in a file of its own, and never shown again. */
  key: z
    .string()
    .regex(/^[\x21-\x7e]{1,4096}$/, 'must be of visible ASCII characters')
    .nullish(),
  /** PEM of the only authorities that are believed; the system’s, when left out. */
  ca: z.string().max(40_000).nullish(),
  /** For an answer; of a stream for its next piece. At most 50 where the graph alone runs there; 120 of an `openai` engine, else 30, when left out. */
  timeoutSeconds: z.number().min(0.1).max(600).optional(),
  /** A model of this hub and of the same task that answers where the engine fails. */
  fallback: modelName.nullish(),
  /** `here` where the graph alone runs there, else `there`, when left out. */
  batch: batching.optional(),
  /** Sends the key over a network in plain text. */
  insecurePlainText: z.boolean().default(false),
});
export type EngineRequest = z.input<typeof engineRequest>;

/** Engine of a model, as it was named. */
export const engineRecord = z.object({
  kind: engineKind,
  /** Of the server. */
  url: z.string(),
  /** Of the model there. */
  remoteName: z.string(),
  /** Of the model there; null: the one that the server runs. */
  version: z.string().nullable(),
  /** `graph`: pre- and postprocessing are the hub’s; `task`: all of it runs there. */
  runs: z.enum(['graph', 'task']),
  /** Whether a key is sent. */
  hasKey: z.boolean(),
  /** Whether it has authorities of its own. */
  hasCa: z.boolean(),
  /** For an answer; of a stream for its next piece. */
  timeoutSeconds: z.number(),
  /** A model of this hub that answers where the engine fails; null: none. */
  fallback: modelName.nullable(),
  batch: batching,
});
export type EngineRecord = z.infer<typeof engineRecord>;

/** State of an engine since the hub started. */
export const engineStatus = z.object({
  /** Of the circuit breaker: `open` is not asked, `half-open` is asked by one request. */
  breaker: z.enum(['closed', 'open', 'half-open']),
  /** When it was last seen to be well; null: not yet. */
  wellAtMs: z.number().nullable(),
  /** Its last failure; null: none. */
  failure: z.object({ code: z.string(), message: z.string(), atMs: z.number() }).nullable(),
  /** Requests that the engine has answered. */
  answered: z.int(),
  /** Requests, and looks at it, that it has failed. */
  failed: z.int(),
  /** Requests that were asked again. */
  retried: z.int(),
  /** Requests that the fallback has answered. */
  fellBack: z.int(),
});
export type EngineStatus = z.infer<typeof engineStatus>;
