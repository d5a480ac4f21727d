import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkInput, pictureFormat } from '../../../../../shared/inference/runner/input-check.ts';
import { AppError } from '../../../../../shared/runtime/errors.ts';
import { MAX_TEXT_BYTES } from '../../../../../shared/tasks/limits.ts';
import type { TaskName } from '../../../../../shared/tasks/tasks.ts';

function codeOf(task: TaskName, body: Uint8Array | string, parameters?: Record<string, unknown>): string {
  try {
    const bytes = typeof body === 'string' ? Buffer.from(body) : body;
    checkInput(task, { contentType: '', body: bytes, ...(parameters ? { parameters } : {}) });
    return 'ok';
  } catch (error) {
    assert.ok(error instanceof AppError);
    return error.code;
  }
}

const ftyp = (brand: string) =>
  Buffer.concat([Buffer.from([0, 0, 0, 24]), Buffer.from(`ftyp${brand}`), Buffer.alloc(16)]);
const PNG = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0, 0]);

test('pictures are known by their first bytes', () => {
  assert.equal(pictureFormat(Buffer.from([0xff, 0xd8, 0xff, 0xe0])), 'jpeg');
  assert.equal(pictureFormat(PNG), 'png');
  assert.equal(pictureFormat(Buffer.from('RIFF\0\0\0\0WEBPVP8 ')), 'webp');
  assert.equal(pictureFormat(ftyp('avif')), 'avif');
});

test('a picture task refuses what it cannot decode, each with its code', () => {
  const cases: [Uint8Array | string, string][] = [
    ['', 'INPUT_EMPTY'],
    ['<svg xmlns="http://www.w3.org/2000/svg"/>', 'IMAGE_UNSUPPORTED'],
    ['<?xml version="1.0"?>\n<!-- made by hand -->\n<svg width="1">', 'IMAGE_UNSUPPORTED'],
    [ftyp('heic'), 'IMAGE_UNSUPPORTED'],
    [ftyp('mif1'), 'IMAGE_UNSUPPORTED'],
    ['%PDF-1.7 …', 'IMAGE_UNSUPPORTED'],
    ['Is this a picture?', 'INPUT_KIND_WRONG'],
    ['BMW makes cars', 'INPUT_KIND_WRONG'],
    ['{"inputs": "x"}', 'INPUT_KIND_WRONG'],
    [Buffer.from([1, 2, 3, 0xfe, 0xff]), 'IMAGE_CORRUPT'],
    [Buffer.alloc(65 * 1024 * 1024, 1), 'INPUT_TOO_LARGE'],
    [PNG, 'ok'],
  ];
  for (const [body, code] of cases)
    assert.equal(codeOf('image-classification', body), code, String(body).slice(0, 30));
});

test('a text task refuses pictures and too long texts, and takes any other bytes to the tokenizer', () => {
  assert.equal(codeOf('text-classification', PNG), 'INPUT_KIND_WRONG');
  assert.equal(codeOf('text-classification', ftyp('heic')), 'INPUT_KIND_WRONG');
  assert.equal(codeOf('text-classification', '<svg>is what I wrote</svg>'), 'ok');
  assert.equal(codeOf('text-classification', Buffer.alloc(MAX_TEXT_BYTES + 1, 97)), 'INPUT_TOO_LARGE');
  assert.equal(codeOf('text-classification', 'fine'), 'ok');
});

test('parameters are checked by the task’s schema', () => {
  assert.equal(codeOf('text-classification', 'a', { top_k: 3 }), 'ok');
  assert.equal(codeOf('text-classification', 'a', { top_k: 0 }), 'PARAMETERS_INVALID');
  assert.equal(codeOf('text-classification', 'a', { topk: 3 }), 'PARAMETERS_INVALID');
});
