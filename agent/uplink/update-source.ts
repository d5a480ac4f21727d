/**
 * Where model updates come from: the hub's signed metadata and files, over HTTP with the device's own credential. The root that
 * vouches for them is the one that came with the credential; a device that was enrolled before there were updates asks for it once.
 */
import { rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { enrollResponse } from '../../shared/contract/messages.ts';
import { UpdateVerifier } from '../../shared/release/tuf/verifier.ts';
import { readJson, writeJsonAtomic } from '../../shared/runtime/atomic-file.ts';
import type { Clock } from '../../shared/runtime/clock.ts';
import { AppError } from '../../shared/runtime/errors.ts';
import { sha256Hex } from '../../shared/runtime/ids.ts';
import type { Logger } from '../../shared/runtime/logger.ts';
import { makeFolder } from '../../shared/runtime/make-folder.ts';
import { BUILT_AT_MS } from '../../shared/runtime/version.ts';
import type { AgentBook, ReleaseBook, SelfUpdateSource, UpdateSource } from '../ports.ts';
import type { Credential } from './credential.ts';
import { askHub, fetchFromHub, type HubAddress, streamFromHub } from './hub-http.ts';

/** How the hub is found, and where verified metadata are kept. */
export interface HubUpdateSourceOptions {
  /** The trusted root and the metadata seen last. */
  readonly folder: string;
  /** undefined: no hub, or not enrolled yet. */
  readonly find: () => Promise<{ readonly hub: HubAddress; readonly credential: Credential } | undefined>;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** By which enrolment the root came: another enrolment brings another. */
const pinnedRoot = z.object({ tokenSha256: z.string(), root: z.string() });

/** Model updates from the hub, verified against the root that came with the credential. */
export class HubUpdateSource implements UpdateSource, SelfUpdateSource {
  readonly #o: HubUpdateSourceOptions;
  #book: { readonly root: string; readonly verifier: UpdateVerifier } | undefined;

  constructor(options: HubUpdateSourceOptions) {
    this.#o = options;
  }

  async book(): Promise<(ReleaseBook & AgentBook) | undefined> {
    const found = await this.#o.find();
    if (!found) return undefined;
    const root = await this.#rootOf(found);
    if (this.#book?.root !== root) this.#book = { root, verifier: this.#verifier(root) };
    return this.#book.verifier;
  }

  async open(path: string, offset: number, signal: AbortSignal): Promise<AsyncIterable<Uint8Array>> {
    const found = await this.#o.find();
    if (!found) throw new AppError('HUB_UNREACHABLE', 'this device is not enrolled');
    const bearer = found.credential.secret;
    return streamFromHub(found.hub, `/tuf/targets/${path}`, { bearer, offset, signal });
  }

  async collect(to: string): Promise<void> {
    const found = await this.#o.find();
    if (!found) throw new AppError('HUB_UNREACHABLE', 'this device is not enrolled');
    const part = `${to}.part`;
    const check = `${to}.check`;
    for (const one of [part, check]) await rm(one, { recursive: true, force: true });
    await makeFolder(part);
    try {
      // From the first root on: whoever verifies them may have seen none that came after it.
      const verifier = this.#verifier(await this.#rootOf(found), check, async (name, body) => {
        await writeFile(join(part, name), body);
      });
      await verifier.refresh();
      await rm(to, { recursive: true, force: true });
      await rename(part, to);
    } finally {
      for (const one of [part, check]) await rm(one, { recursive: true, force: true });
    }
  }

  /** @param note hears of each file that has come */
  #verifier(
    root: string,
    // Another root begins with nothing: what was seen under the old one says nothing of it.
    folder = join(this.#o.folder, sha256Hex(root).slice(0, 16)),
    note?: (name: string, body: Uint8Array) => Promise<void>,
  ): UpdateVerifier {
    const { find, clock, logger } = this.#o;
    return new UpdateVerifier({
      folder,
      trustedRoot: root,
      fetch: async (path, maxBytes) => {
        const found = await find();
        if (!found) throw new AppError('HUB_UNREACHABLE', 'this device is not enrolled');
        const body = await fetchFromHub(found.hub, `/tuf/metadata/${path}`, {
          bearer: found.credential.secret,
          maxBytes,
        });
        if (body) await note?.(path, body);
        return body;
      },
      clock,
      logger,
      buildAtMs: BUILT_AT_MS,
    });
  }

  /** Pinned once for each enrolment; what the hub says later does not change it. @throws HUB_FAILED where the hub publishes nothing */
  async #rootOf({ hub, credential }: { hub: HubAddress; credential: Credential }): Promise<string> {
    const path = join(this.#o.folder, 'root.json');
    const pinned = await readJson(path, pinnedRoot).catch(() => undefined);
    if (pinned?.tokenSha256 === credential.tokenSha256) return pinned.root;
    const root = credential.updateRoot ?? (await this.#ask(hub, credential));
    await writeJsonAtomic(path, { tokenSha256: credential.tokenSha256, root });
    return root;
  }

  async #ask(hub: HubAddress, { secret }: Credential): Promise<string> {
    const said = await askHub(hub, '/api/v1/devices/self/link', enrollResponse, { bearer: secret, body: {} });
    if (said.updateRoot === undefined) throw new AppError('HUB_FAILED', 'this hub publishes no updates');
    return said.updateRoot;
  }
}
