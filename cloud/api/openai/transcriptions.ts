/** Transcriptions: `POST /v1/audio/transcriptions`, a form with a sound file; the answer as JSON, as text, or as subtitles. */
import { z } from 'zod';
import { readParameters } from '../../../shared/contract/http-input.ts';
import { modelName } from '../../../shared/contract/names.ts';
import { AppError } from '../../../shared/runtime/errors.ts';
import { type Recognized, recognized } from '../../../shared/tasks/automatic-speech-recognition/schema.ts';
import type { TaskInput } from '../../../shared/tasks/tasks.ts';
import type { InferenceReply } from '../../ports.ts';
import { binary } from '../frame/endpoint.ts';
import { refused } from './asked.ts';
import { parsed } from './parameters.ts';

/** What surrounds the file in its form. */
const FORM_BYTES = 64 * 1024;
/** Bytes of the form's body. @param maxFileBytes of its file */
export const maxFormBytes = (maxFileBytes: number): number => maxFileBytes + FORM_BYTES;

const format = z.enum(['json', 'text', 'verbose_json', 'srt', 'vtt']);
type Format = z.infer<typeof format>;

/** The form's fields beside `file`. */
const fields = {
  model: modelName,
  /** Of the speech (`en`); heard by the model, when left out. */
  language: z.string().min(1).max(32).optional(),
  response_format: format.optional(),
  /** 0: always the likeliest token. */
  temperature: z.coerce.number().min(0).max(1).optional(),
};
const request = z.strictObject(fields);

/** The form, as the document says it. */
export const transcriptionForm = z.object({
  file: binary,
  ...fields,
  temperature: z.number().min(0).max(1).optional(),
});

const seconds = z.number();
/** Answer as `json`. */
export const transcription = z.object({
  text: z.string(),
  usage: z.object({ type: z.literal('duration'), seconds }),
});
/** Answer as `verbose_json`. */
export const verboseTranscription = z.object({
  task: z.literal('transcribe'),
  /** In English, as OpenAI has it; `unknown` where the model does not say. */
  language: z.string(),
  duration: seconds,
  text: z.string(),
  segments: z.array(z.object({ id: z.int(), start: seconds, end: seconds, text: z.string() })),
  usage: z.object({ type: z.literal('duration'), seconds }),
});

/** A form that has been read. */
export interface TranscriptionInput {
  readonly model: string;
  readonly input: TaskInput;
  readonly format: Format;
}

/** Fields that are not done here, with the values at which they change nothing. */
const NEUTRAL: Readonly<Record<string, readonly string[]>> = {
  ...{
    prompt: [''],
    stream: ['false'],
    chunking_strategy: ['auto'],
    'timestamp_granularities[]': ['segment'],
  },
  ...{ timestamp_granularities: ['segment'], 'include[]': [], 'known_speaker_names[]': [] },
};

/** @throws BAD_REQUEST, PARAMETERS_INVALID, INPUT_EMPTY, MODEL_UNKNOWN (no name of a model) */
export async function readTranscription(
  body: Uint8Array,
  contentType: string | undefined,
): Promise<TranscriptionInput> {
  const form = await readForm(body, contentType);
  const file = form.get('file');
  if (!(file instanceof File)) throw refused('file', 'the form needs a file of this name');
  const texts: Record<string, string> = {};
  for (const [name, value] of form) {
    if (name === 'file') continue;
    if (typeof value !== 'string') throw refused(name, 'is no file');
    const neutral = Object.hasOwn(NEUTRAL, name) ? NEUTRAL[name] : undefined;
    if (neutral?.includes(value)) continue;
    if (neutral)
      throw refused(
        name,
        `not done here${neutral.length > 0 ? `, but for ${neutral.join(' or ') || 'none'}` : ''}`,
        false,
      );
    texts[name] = value;
  }
  const asked = parsed(request, texts);
  const { model, language, response_format: wanted = 'json', temperature = 0 } = asked;
  const bytes = new Uint8Array(await file.arrayBuffer());
  if (bytes.length === 0) throw new AppError('INPUT_EMPTY', undefined, { details: { param: 'file' } });
  const parameters = readParameters('automatic-speech-recognition', {
    ...(language !== undefined && { language }),
    ...(wanted !== 'json' && wanted !== 'text' && { return_timestamps: true }),
    ...(temperature > 0 && { generation_parameters: { do_sample: true, temperature } }),
  });
  const type =
    file.type.startsWith('audio/') && file.type.length < 100 ? file.type : 'application/octet-stream';
  return { model, input: { contentType: type, body: bytes, parameters }, format: wanted };
}

/** @throws BAD_REQUEST */
async function readForm(body: Uint8Array, contentType: string | undefined): Promise<FormData> {
  const headers = { 'content-type': contentType ?? '' };
  try {
    return await new Response(body as Uint8Array<ArrayBuffer>, { headers }).formData();
  } catch (error) {
    throw new AppError(
      'BAD_REQUEST',
      'the body must be a form (multipart/form-data) with the fields file and model',
      {
        cause: error,
      },
    );
  }
}

/** The answer's body with its media type. */
export function toTranscription(
  { output, read }: InferenceReply,
  { format: wanted }: TranscriptionInput,
): { readonly contentType: string; readonly body: string } {
  const { text, chunks = [] } = recognized.parse(output);
  const duration = Number((read?.seconds ?? 0).toFixed(2));
  const usage = { type: 'duration', seconds: duration };
  const segments = segmentsOf(chunks, duration);
  const plain = 'text/plain; charset=utf-8';
  switch (wanted) {
    case 'json':
      return { contentType: 'application/json', body: JSON.stringify({ text: text.trim(), usage }) };
    case 'text':
      return { contentType: plain, body: `${text.trim()}\n` };
    case 'verbose_json': {
      const language = languageName(read?.language);
      const whole = { task: 'transcribe', language, duration, text: text.trim(), segments, usage };
      return { contentType: 'application/json', body: JSON.stringify(whole) };
    }
    case 'srt':
      return { contentType: plain, body: cues(segments, ',', (id) => `${id + 1}\n`) };
    case 'vtt':
      return { contentType: 'text/vtt; charset=utf-8', body: `WEBVTT\n\n${cues(segments, '.', () => '')}` };
  }
}

interface Segment {
  readonly id: number;
  /** In seconds. */
  readonly start: number;
  readonly end: number;
  readonly text: string;
}

/** The last one ends with the sound where it has no end of its own; what is heard in the silence after it ends where it began. */
const segmentsOf = (chunks: NonNullable<Recognized['chunks']>, duration: number): Segment[] =>
  chunks.map(({ timestamp: [from, to], text }, id) => {
    const start = from ?? 0;
    return { id, start, end: to ?? Math.max(start, duration), text: text.trim() };
  });

function cues(segments: readonly Segment[], comma: string, head: (id: number) => string): string {
  // An empty line would end the cue.
  const oneBlock = (text: string): string => text.replaceAll(/\s*\n\s*/g, ' ');
  return segments
    .map(
      ({ id, start, end, text }) =>
        `${head(id)}${clockOf(start, comma)} --> ${clockOf(end, comma)}\n${oneBlock(text).replaceAll('-->', '->')}\n`,
    )
    .join('\n');
}

/** `00:01:02,345` */
function clockOf(at: number, comma: string): string {
  const ms = Math.round(at * 1000);
  const two = (value: number): string => String(Math.floor(value)).padStart(2, '0');
  const rest = String(ms % 1000).padStart(3, '0');
  return `${two(ms / 3_600_000)}:${two((ms / 60_000) % 60)}:${two((ms / 1000) % 60)}${comma}${rest}`;
}

/** `english` of `en`. */
function languageName(code: string | undefined): string {
  try {
    return code === undefined
      ? 'unknown'
      : (new Intl.DisplayNames('en', { type: 'language' }).of(code)?.toLowerCase() ?? code);
  } catch {
    // No language tag: the model's own name for it.
    return code ?? 'unknown';
  }
}
