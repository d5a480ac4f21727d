/** Model versions as files on disk, for tests that move them about without running them. */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { VersionFile } from '../../shared/contract/admin.ts';
import { type ModelFolder, openModelFolder } from '../../shared/release/folder/model-folder.ts';
import { consistentPath, type Release, targetPath } from '../../shared/release/release.ts';
import { sha256Hex } from '../../shared/runtime/ids.ts';

/** A folder that passes every check but that of ONNX Runtime; `content` makes it the version that it is. */
export async function writeModelFolder(path: string, name: string, content: string): Promise<ModelFolder> {
  const files: Record<string, string> = {
    'config.json': '{"id2label":{"0":"cat"}}',
    'onnx/model.onnx': `weights of ${content}`.repeat(1_000),
  };
  const spec = {
    schema: 1,
    name,
    task: 'image-classification',
    model: 'onnx/model.onnx',
    precision: 'float32',
    files: Object.fromEntries(Object.entries(files).map(([file, text]) => [file, sha256Hex(text)])),
  };
  for (const [file, text] of Object.entries({ ...files, 'outrider.json': JSON.stringify(spec) })) {
    await mkdir(dirname(join(path, file)), { recursive: true });
    await writeFile(join(path, file), text);
  }
  return openModelFolder(path);
}

export const VERSION_PATHS = ['config.json', 'onnx/model.onnx', 'outrider.json'] as const;

/** The same as the hub publishes it, with the content of each target by its consistent path. */
export async function releaseOf(
  folder: ModelFolder,
  version: string,
): Promise<{ release: Release; targets: Map<string, Uint8Array> }> {
  const ref = { name: folder.spec.name, version, digest: folder.digest };
  const files: VersionFile[] = [];
  const targets = new Map<string, Uint8Array>();
  for (const path of VERSION_PATHS) {
    const content = await readFile(join(folder.path, path));
    const sha256 = sha256Hex(content);
    files.push({ path, sha256, bytes: content.length });
    targets.set(consistentPath(targetPath(ref, path), sha256), content);
  }
  return { release: { ref, task: folder.spec.task, minAgentVersion: undefined, files }, targets };
}
