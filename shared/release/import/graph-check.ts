/**
 * Whether the graphs of a model folder may be loaded at all: no operator that needs code from elsewhere, no weights from outside of
 * the folder. Done before any runner sees them, by whoever brings a model in and by the hub that publishes it.
 */
import { basename, dirname, join, posix } from 'node:path';
import { innerPath } from '../../contract/names.ts';
import { AppError } from '../../runtime/errors.ts';
import type { ModelSpec } from '../folder/model-spec.ts';
import { type OnnxGraph, readOnnxGraph } from './onnx-graph.ts';

/** What ONNX Runtime brings along itself. */
const KNOWN_DOMAINS = new Set([
  'ai.onnx.ml',
  'com.microsoft',
  'com.microsoft.nchwc',
  'ai.onnx.preview.training',
]);
const MAX_NAMED = 5;

/** Reads and checks every graph of a folder. @returns by its path @throws MODEL_INVALID, FILE_UNREADABLE */
export async function checkGraphs(
  folder: string,
  { model, graphs }: Pick<ModelSpec, 'model' | 'graphs'>,
): Promise<Map<string, OnnxGraph>> {
  const checked = new Map<string, OnnxGraph>();
  for (const file of [model, ...graphs]) {
    const graph = await readOnnxGraph(join(folder, file));
    checkOperators(file, graph);
    externalFilesOf(file, graph);
    checked.set(file, graph);
  }
  return checked;
}

/** @throws MODEL_INVALID naming the operators */
export function checkOperators(file: string, { operators, functions }: OnnxGraph): void {
  const custom = [...operators].filter((name) => {
    const [domain] = name.split(':');
    return name.includes(':') && !KNOWN_DOMAINS.has(domain ?? '') && !functions.has(name);
  });
  if (custom.length === 0) return;
  const named = custom.slice(0, MAX_NAMED).join(', ');
  const more = custom.length > MAX_NAMED ? ` and ${custom.length - MAX_NAMED} more` : '';
  throw new AppError(
    'MODEL_INVALID',
    `${basename(file)} needs custom operators, which would be code from elsewhere: ${named}${more}`,
  );
}

/**
 * The files with weights that a graph names, as paths in the folder.
 *
 * @param file path of the graph in the folder
 * @throws MODEL_INVALID for one that is not in the folder
 */
export function externalFilesOf(file: string, { externalFiles }: OnnxGraph): string[] {
  return [...externalFiles].map((location) => {
    const path = posix.join(dirname(file), location);
    if (innerPath.safeParse(location).success && innerPath.safeParse(path).success) return path;
    throw new AppError(
      'MODEL_INVALID',
      `${basename(file)} takes weights from “${location.slice(0, 200)}”, which is outside of its folder`,
    );
  });
}
