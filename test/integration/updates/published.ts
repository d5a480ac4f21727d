/** A hub's signed updates on a real disk and a real socket, with hooks for whoever stands in between. */
import { createReadStream } from 'node:fs';
import { cp, mkdir, readFile, writeFile } from 'node:fs/promises';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { dirname, join } from 'node:path';
import type { TestContext } from 'node:test';
import { BlobStore } from '../../../shared/release/blob-store.ts';
import {
  type ModelFolder,
  openModelFolder,
  versionFilesOf,
} from '../../../shared/release/folder/model-folder.ts';
import { TufRepository } from '../../../shared/release/tuf/repository.ts';
import { systemClock } from '../../../shared/runtime/clock.ts';
import { sha256Hex } from '../../../shared/runtime/ids.ts';
import { silentLogger } from '../../../shared/runtime/logger.ts';
import { temporaryFolder } from '../../support/fixed.ts';
import { fixtureFolder } from '../runner/fixture-models.ts';

export const MODEL = 'colours';

/** What a stranger on the way does to an answer; false: nothing. */
export type Tamper = (path: string, response: ServerResponse) => Promise<boolean> | boolean;

/**
 * A version of the model `colours`, made of one of the fixture folders.
 *
 * @param changes files with other contents than there
 */
export async function makeVersion(
  folder: string,
  fixture: string,
  changes: Readonly<Record<string, string | Uint8Array>> = {},
  golden: readonly unknown[] = [],
): Promise<ModelFolder> {
  await cp(fixtureFolder(fixture), folder, { recursive: true });
  const path = join(folder, 'outrider.json');
  const spec = JSON.parse(await readFile(path, 'utf8')) as { name: string; files: Record<string, string> };
  for (const [file, content] of Object.entries(changes)) {
    await mkdir(dirname(join(folder, file)), { recursive: true });
    await writeFile(join(folder, file), content);
    spec.files[file] = sha256Hex(content);
  }
  await writeFile(path, JSON.stringify({ ...spec, name: MODEL, golden }));
  return openModelFolder(folder);
}

export async function publishing(t: TestContext) {
  const folder = await temporaryFolder(t);
  const openRepository = (name: string) =>
    TufRepository.open({ folder: join(folder, name), clock: systemClock, logger: silentLogger });
  const repository = await openRepository('tuf');
  const blobs = new BlobStore(join(folder, 'blobs'));
  const hooks: { tamper: Tamper } = { tamper: () => false };
  const asked: string[] = [];
  const server = createServer((request, response) => {
    const path = decodeURIComponent(request.url ?? '');
    asked.push(`${path}${request.headers.range ? ` ${request.headers.range}` : ''}`);
    void (async () => {
      if (request.headers.authorization !== 'Bearer the-device') response.writeHead(401).end();
      else if (!(await hooks.tamper(path, response))) await serve(path, request.headers.range, response);
    })();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });

  async function serve(path: string, range: string | undefined, response: ServerResponse): Promise<void> {
    const metadata = /^\/tuf\/metadata\/([^/]+)$/.exec(path)?.[1];
    const body = metadata && (await repository.metadata(metadata));
    if (body) return void response.writeHead(200).end(body);
    const target = repository.target(path.replace('/tuf/targets/', ''));
    if (!target) return void response.writeHead(404).end();
    const start = Number(/^bytes=(\d+)-$/.exec(range ?? '')?.[1] ?? 0);
    response.writeHead(start > 0 ? 206 : 200);
    createReadStream(blobs.path(target.sha256), { start }).pipe(response);
  }

  async function publish(version: string, model: ModelFolder) {
    const files = await versionFilesOf(model);
    for (const { path, sha256 } of files) await blobs.takeIn(sha256, join(model.path, path));
    const ref = { name: MODEL, version, digest: model.digest };
    await repository.add([{ ref, task: model.spec.task, minAgentVersion: undefined, files }]);
    return ref;
  }

  return {
    folder,
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    repository,
    openRepository,
    hooks,
    asked,
    publish,
  };
}
