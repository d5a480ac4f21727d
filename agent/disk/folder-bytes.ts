/** What a folder takes, with all below it but what is counted elsewhere. */
import { lstat, readdir } from 'node:fs/promises';
import { join } from 'node:path';

/** More than an agent has; a loop or a stranger's tree ends here. */
const MAX_FILES = 100_000;

/**
 * Sum of the lengths of all files. A file of several names counts once; links are not followed; what goes meanwhile counts nothing.
 *
 * @param without paths that are left out, with all below them
 */
export async function folderBytes(folder: string, without: ReadonlySet<string>): Promise<number> {
  const seen = new Set<string>();
  const folders = [folder];
  let bytes = 0;
  let files = 0;
  for (let at = folders.pop(); at !== undefined; at = folders.pop()) {
    const names = await readdir(at, { withFileTypes: true }).catch(() => []);
    for (const entry of names) {
      const path = join(at, entry.name);
      if (without.has(path)) continue;
      if (entry.isDirectory()) {
        folders.push(path);
        continue;
      }
      if (!entry.isFile()) continue;
      if (++files > MAX_FILES) return bytes;
      const found = await lstat(path).catch(() => undefined);
      if (!found) continue;
      if (found.nlink > 1) {
        const id = `${found.dev}:${found.ino}`;
        if (seen.has(id)) continue;
        seen.add(id);
      }
      bytes += found.size;
    }
  }
  return bytes;
}
