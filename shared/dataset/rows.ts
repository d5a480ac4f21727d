/** A capture as a row of a data set. Pure. */
import type { CaptureDetail } from '../contract/captures.ts';
import { tryParseJson } from '../runtime/json.ts';
import { detection } from '../tasks/object-detection/schema.ts';
import { TASKS } from '../tasks/tasks.ts';

/** Kind of file by its first bytes; `bin` for what is not known. */
export function extensionOf(body: Uint8Array): string {
  const start = Buffer.from(body.buffer, body.byteOffset, Math.min(16, body.byteLength)).toString('latin1');
  const found = SIGNATURES.find(([, pattern]) => pattern.test(start));
  return found?.[0] ?? 'bin';
}

const SIGNATURES: readonly (readonly [string, RegExp])[] = [
  ['jpg', /^\xff\xd8\xff/],
  ['png', /^\x89PNG/],
  ['webp', /^RIFF[\s\S]{4}WEBP/],
  ['gif', /^GIF8/],
  ['avif', /^[\s\S]{4}ftypavi/],
  ['tiff', /^(II\*\0|MM\0\*)/],
  ['wav', /^RIFF[\s\S]{4}WAVE/],
  ['flac', /^fLaC/],
  ['ogg', /^OggS/],
  ['mp3', /^(ID3|\xff[\xe0-\xff])/],
  ['json', /^\s*[[{]/],
];

/** Row of a data set, without its input. */
export type Row = Readonly<Record<string, unknown>>;

/** What both have said, where it comes from, and for how many requests it stands. */
export function rowOf(capture: CaptureDetail, split: string): Row {
  const { id, task, edge, cloud, answers, parameters, weight, seen, isSample } = capture;
  const isRanked = TASKS[task].ranks !== null;
  return {
    id,
    split,
    task,
    /** The cloud’s best label. */
    label: cloud.label,
    ...(isRanked ? { scores: answers.cloud } : { answer: answers.cloud }),
    edge: {
      model: edge.model ? `${edge.model.name}@${edge.model.version}` : null,
      label: edge.label,
      score: edge.score,
      ...(isRanked ? { scores: answers.edge } : { answer: answers.edge }),
    },
    cloud: `${cloud.model.name}@${cloud.model.version}`,
    cloud_digest: cloud.model.digest,
    loss: capture.loss,
    why: capture.why,
    ...{ weight, seen, sample: isSample },
    ...(parameters && { parameters }),
    pipeline: capture.pipeline,
    device: capture.deviceId,
    at: new Date(capture.atMs).toISOString(),
    input_sha256: capture.input.sha256,
    group: capture.group,
  };
}

/** The input in a row: a text, a JSON document, or the name of its file. */
export function inputOf(capture: CaptureDetail, body: Uint8Array, file: () => string): Row {
  const { inputKind } = TASKS[capture.task];
  if (inputKind === 'text') return { text: Buffer.from(body).toString('utf8') };
  const json = inputKind === 'json' || inputKind === 'tensors' ? tryParseJson(body) : undefined;
  return json === undefined ? { file: file() } : { inputs: json };
}

/** Line of an `imagefolder`'s metadata.jsonl: Hugging Face's words for boxes and captions. */
export function pictureFacts({ task, answers: { cloud } }: CaptureDetail): Row {
  if (task === 'object-detection') {
    const boxes = detection.array().safeParse(cloud).data ?? [];
    return {
      objects: {
        // COCO's: left, top, width, height in px.
        bbox: boxes.map(({ box }) => [box.xmin, box.ymin, box.xmax - box.xmin, box.ymax - box.ymin]),
        categories: boxes.map(({ label }) => label),
        scores: boxes.map(({ score }) => score),
      },
    };
  }
  const text = Array.isArray(cloud) ? (cloud[0] as { generated_text?: unknown })?.generated_text : undefined;
  return typeof text === 'string' ? { text } : { answer: JSON.stringify(cloud) };
}
