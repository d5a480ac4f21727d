/** The models of a folder and nothing more: for a hub that answers devices and keeps no records. */
import type { ModelRef } from '../../shared/contract/names.ts';
import type { ModelFolder } from '../../shared/release/folder/model-folder.ts';
import { AppError } from '../../shared/runtime/errors.ts';
import type { TaskName } from '../../shared/tasks/tasks.ts';
import type { ModelCatalog } from '../ports.ts';

/** Models as their folders lie there, for a hub without records. */
export class FolderCatalog implements ModelCatalog {
  readonly #folders: ReadonlyMap<string, ModelFolder>;

  constructor(folders: readonly ModelFolder[]) {
    this.#folders = new Map(folders.map((folder) => [folder.spec.name, folder]));
  }

  resolve(name: string): { folder: string; ref: ModelRef; task: TaskName; bytes: number } {
    const found = this.#folders.get(name);
    if (!found) throw new AppError('MODEL_UNKNOWN', 'there is no model of this name');
    // Versions are numbered by the hub that keeps the records; the digest says which one it is.
    const { path, digest, bytes, spec } = found;
    return { folder: path, ref: { name, version: '0', digest }, task: spec.task, bytes };
  }
}
