/**
 * What can be told about an input without decoding it: its kind by the first bytes, its size, its parameters.
 * Pure and cheap, so that a serving process turns a hopeless input away before it costs anything.
 */

import { AppError } from '../../runtime/errors.ts';
import type { InputKind } from '../../tasks/task.ts';
import { MAX_INPUT_BYTES, TASKS, type TaskInput, type TaskName } from '../../tasks/tasks.ts';
import { readPpm } from './ppm.ts';

/** The picture formats that are decoded here. */
export type PictureFormat = 'jpeg' | 'png' | 'gif' | 'webp' | 'tiff' | 'avif' | 'ppm';
/** Known, and refused: the remedy is to convert them. */
type RefusedFormat = 'svg' | 'heic' | 'pdf' | 'bmp' | 'jxl' | 'ico';
type Sniffed =
  | { readonly kind: 'picture'; readonly format: PictureFormat }
  | { readonly kind: 'refused'; readonly format: RefusedFormat }
  | { readonly kind: 'text' }
  | { readonly kind: 'unknown' };

/** Enough for a byte-order mark, an XML declaration and a comment before `<svg`. */
const SNIFF_BYTES = 1_024;

/**
 * Refuses what can be refused by a look.
 *
 * @throws INPUT_EMPTY, INPUT_TOO_LARGE, INPUT_KIND_WRONG, IMAGE_UNSUPPORTED, IMAGE_CORRUPT, PARAMETERS_INVALID (also where the
 * task can't do without)
 */
export function checkInput(task: TaskName, input: TaskInput): void {
  const { inputKind } = TASKS[task];
  const { body } = input;
  if (body.length === 0) throw new AppError('INPUT_EMPTY');
  const maxBytes = MAX_INPUT_BYTES[inputKind];
  if (body.length > maxBytes)
    throw new AppError('INPUT_TOO_LARGE', `the input has ${body.length} bytes, the limit is ${maxBytes}`);
  if (inputKind === 'image') pictureFormat(body);
  // Which sounds and tensors can be read, their readers know.
  else if (inputKind !== 'tensors') refusePicture(task, body);
  checkParameters(task, input.parameters);
}

/** @throws PARAMETERS_INVALID naming each parameter and what was expected */
function checkParameters(task: TaskName, parameters: TaskInput['parameters']): void {
  const { needsParameters, parameters: schema } = TASKS[task];
  if (parameters === undefined && !needsParameters) return;
  const parsed = schema.safeParse(parameters ?? {});
  if (parsed.success) return;
  const problems = parsed.error.issues.map(
    (issue) => `${issue.path.join('.') || 'parameters'}: ${issue.message}`,
  );
  throw new AppError('PARAMETERS_INVALID', problems.join('; '));
}

/**
 * The format of a picture by its first bytes; the content type is advice only.
 *
 * @throws INPUT_KIND_WRONG for text, IMAGE_UNSUPPORTED for SVG, HEIC, PDF and the like, IMAGE_CORRUPT for anything else
 */
export function pictureFormat(body: Uint8Array): PictureFormat {
  const sniffed = sniff(body);
  switch (sniffed.kind) {
    case 'picture':
      return sniffed.format;
    case 'refused':
      throw new AppError(
        'IMAGE_UNSUPPORTED',
        `${sniffed.format.toUpperCase()} is not supported; convert it to JPEG, PNG or WebP`,
      );
    case 'text':
      throw new AppError('INPUT_KIND_WRONG', 'this task takes a picture, the input is text');
    case 'unknown':
      throw new AppError('IMAGE_CORRUPT', 'the input is not a picture in a known format');
  }
}

const TAKES: Readonly<Record<InputKind, string>> = {
  image: 'a picture',
  audio: 'a sound',
  text: 'text',
  json: 'JSON',
  tensors: 'tensors',
};

function refusePicture(task: TaskName, body: Uint8Array): void {
  const sniffed = sniff(body);
  // An SVG is text: a text task may well be asked about one.
  if (sniffed.kind === 'picture' || (sniffed.kind === 'refused' && sniffed.format !== 'svg'))
    throw new AppError(
      'INPUT_KIND_WRONG',
      `${task} takes ${TAKES[TASKS[task].inputKind]}, the input is ${sniffed.format.toUpperCase()}`,
    );
}

function sniff(body: Uint8Array): Sniffed {
  const picture = pictureBySignature(body);
  if (picture !== undefined) return { kind: 'picture', format: picture };
  const refused = refusedBySignature(body);
  if (refused !== undefined) return { kind: 'refused', format: refused };
  const start = textStart(body);
  if (start === undefined) return { kind: 'unknown' };
  if (/^\uFEFF?\s*(<\?xml[^>]*>\s*)?(<!--[\s\S]*?-->\s*)*(<!DOCTYPE\s+svg|<svg[\s>])/i.test(start))
    return { kind: 'refused', format: 'svg' };
  return { kind: 'text' };
}

function pictureBySignature(body: Uint8Array): PictureFormat | undefined {
  if (startsWith(body, [0xff, 0xd8, 0xff])) return 'jpeg';
  if (startsWith(body, [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a])) return 'png';
  const first4 = ascii(body, 0, 4);
  if (first4 === 'GIF8') return 'gif';
  if (first4 === 'RIFF' && ascii(body, 8, 12) === 'WEBP') return 'webp';
  if (first4 === 'II*\0' || first4 === 'MM\0*') return 'tiff';
  // ISO/IEC 14496-12 4.3: `ftyp` box with the major brand.
  if (ascii(body, 4, 8) === 'ftyp' && /^avi[fs]$/.test(ascii(body, 8, 12))) return 'avif';
  if (readPpm(body) !== undefined) return 'ppm';
  return undefined;
}

function refusedBySignature(body: Uint8Array): RefusedFormat | undefined {
  if (ascii(body, 4, 8) === 'ftyp' && /^(hei[cmsx]|hev[cmsx]|mif[12]|msf1)$/.test(ascii(body, 8, 12)))
    return 'heic';
  if (ascii(body, 0, 5) === '%PDF-') return 'pdf';
  // A BMP states its own size at byte 2: the two letters alone may begin a sentence.
  if (ascii(body, 0, 2) === 'BM' && body.length >= 26 && uint32(body, 2) === body.length) return 'bmp';
  if (startsWith(body, [0xff, 0x0a]) || ascii(body, 4, 8) === 'JXL ') return 'jxl';
  if (startsWith(body, [0, 0, 1, 0]) && body.length > 22) return 'ico';
  return undefined;
}

/** The first characters, if they can be text: valid UTF-8 (a cut last character aside) without control codes. */
function textStart(body: Uint8Array): string | undefined {
  try {
    const start = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(
      body.subarray(0, SNIFF_BYTES),
      {
        stream: true,
      },
    );
    return /(?!\s)\p{Cc}/u.test(start) ? undefined : start;
  } catch {
    return undefined;
  }
}

const startsWith = (body: Uint8Array, bytes: readonly number[]): boolean =>
  bytes.every((byte, index) => body[index] === byte);

const ascii = (body: Uint8Array, from: number, to: number): string =>
  String.fromCharCode(...body.subarray(from, to));

const uint32 = (body: Uint8Array, at: number): number =>
  new DataView(body.buffer, body.byteOffset, body.byteLength).getUint32(at, true);
