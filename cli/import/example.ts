/** An input that the owner of a model gives (`--example`): it is asked in place of what would be made up, and becomes its golden input. */
import { readFile, stat, writeFile } from 'node:fs/promises';
import { dirname, extname, join } from 'node:path';
import { type GoldenInput, rounded } from '../../shared/inference/proof/golden.ts';
import type { ModelFolder } from '../../shared/release/folder/model-folder.ts';
import type { ModelSpec } from '../../shared/release/folder/model-spec.ts';
import { changeSpec } from '../../shared/release/folder/spec-document.ts';
import { AppError, unreadable } from '../../shared/runtime/errors.ts';
import { sha256Hex } from '../../shared/runtime/ids.ts';
import { tryParseJson } from '../../shared/runtime/json.ts';
import { makeFolder } from '../../shared/runtime/make-folder.ts';
import { MAX_IMAGE_BYTES } from '../../shared/tasks/limits.ts';
import { CONTENT_TYPES, TASKS } from '../../shared/tasks/tasks.ts';
import { DATATYPES, isElementType } from '../../shared/tasks/tensor/element-types.ts';
import { isNpy, readNpy } from './npy.ts';

/** What a file holds, as a runner is asked. */
export type Example = GoldenInput & {
  /** How its file is called in the folder, where it becomes one. */
  readonly ending: string;
};

/** Of a recorded answer in `outrider.json`, which every device reads. */
const MAX_ANSWER_BYTES = 1024 * 1024;

/** @throws FILE_UNREADABLE, USAGE (an array for a model of several inputs) */
export async function readExample(path: string, spec: ModelSpec): Promise<Example> {
  const bytes = await readBounded(path);
  const { inputKind } = TASKS[spec.task];
  const of = (body: Uint8Array, ending: string, parameters?: Record<string, unknown>): Example => ({
    name: path,
    ending,
    input: { contentType: CONTENT_TYPES[inputKind], body, ...(parameters && { parameters }) },
  });
  if (inputKind === 'tensors' && isNpy(bytes)) return of(fromNpy(path, bytes, spec), '.json');
  const isDocument = inputKind === 'json' || (inputKind === 'tensors' && !path.endsWith('.safetensors'));
  if (!isDocument) return of(bytes, extname(path).toLowerCase());
  const json = tryParseJson(bytes);
  if (json === undefined)
    throw new AppError(
      'FILE_UNREADABLE',
      `${path} is no JSON${inputKind === 'tensors' ? ', no array of NumPy (.npy) and no .safetensors' : ''}`,
    );
  // The whole of a request will do as well.
  const request = typeof json === 'object' && json !== null && 'inputs' in json ? json : undefined;
  const inputs: unknown = request ? request.inputs : json;
  const parameters =
    request && 'parameters' in request ? (request.parameters as Record<string, unknown>) : undefined;
  return of(Buffer.from(JSON.stringify(inputs)), '.json', parameters);
}

async function readBounded(path: string): Promise<Buffer> {
  const refuse = (error: unknown): never => {
    throw unreadable(path, error);
  };
  const { size } = await stat(path).catch(refuse);
  if (size > MAX_IMAGE_BYTES)
    throw new AppError(
      'FILE_UNREADABLE',
      `${path} has ${size} bytes; an example has ${MAX_IMAGE_BYTES} at most`,
    );
  return readFile(path).catch(refuse);
}

function fromNpy(path: string, bytes: Uint8Array, { signature }: ModelSpec): Uint8Array {
  const [input, ...others] = signature?.inputs ?? [];
  if (!input || others.length > 0)
    throw new AppError(
      'USAGE',
      `${path} is one array, and the model takes several: give them as JSON, each with its name`,
    );
  const { shape, elements } = readNpy(path, bytes);
  if (!isElementType(input.type)) throw new AppError('USAGE', `${input.name} is of type ${input.type}`);
  const data = elements.map((one) => (typeof one === 'number' && !Number.isFinite(one) ? String(one) : one));
  return Buffer.from(JSON.stringify([{ name: input.name, datatype: DATATYPES[input.type], shape, data }]));
}

/**
 * Makes an example the golden input of a folder, with the answer that was given to it.
 *
 * @returns whether it is one now: not where the answer is too large to be written down
 */
export async function recordExample(
  folder: ModelFolder,
  example: Example,
  answer: unknown,
): Promise<boolean> {
  const output = rounded(answer);
  if (JSON.stringify(output).length > MAX_ANSWER_BYTES) return false;
  const { inputKind } = TASKS[folder.spec.task];
  const { body, parameters } = example.input;
  const isFile = inputKind !== 'text' && inputKind !== 'json';
  const file = `golden/example${example.ending}`;
  if (isFile) {
    await makeFolder(dirname(join(folder.path, file)));
    await writeFile(join(folder.path, file), body);
  }
  const text = Buffer.from(body).toString('utf8');
  const input = isFile ? { file } : inputKind === 'text' ? { text } : { json: JSON.parse(text) };
  await changeSpec(folder.path, (document) => ({
    ...document,
    golden: [{ input, ...(parameters && { parameters }), output }],
    files: { ...(document.files as object), ...(isFile && { [file]: sha256Hex(body) }) },
  }));
  return true;
}
