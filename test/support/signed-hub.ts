/** A repository that signs for real, a device that verifies it for real, and between them whoever a test wants to be. */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Release } from '../../shared/release/release.ts';
import { TufRepository } from '../../shared/release/tuf/repository.ts';
import type { Role } from '../../shared/release/tuf/roles.ts';
import { SigningKey } from '../../shared/release/tuf/signing-keys.ts';
import { UpdateVerifier } from '../../shared/release/tuf/verifier.ts';
import { type Clock, systemClock } from '../../shared/runtime/clock.ts';
import { sha256Hex } from '../../shared/runtime/ids.ts';
import { silentLogger } from '../../shared/runtime/logger.ts';

export class SignedHub {
  readonly root: string;
  /** What the network answers instead of the hub, by file name; null: 404. */
  readonly instead = new Map<string, Uint8Array | null | Error>();
  readonly asked: string[] = [];
  /** From now, for hub and device each: tuf-js has a clock of its own. */
  hubAheadMs = 0;
  deviceAheadMs = 0;
  repository!: TufRepository;

  private constructor(root: string) {
    this.root = root;
  }

  static async open(): Promise<SignedHub> {
    const hub = new SignedHub(await mkdtemp(join(tmpdir(), 'outrider-tuf-')));
    await hub.reopen();
    return hub;
  }

  get folder(): string {
    return join(this.root, 'hub');
  }

  get metadataFolder(): string {
    return join(this.folder, 'metadata');
  }

  get deviceFolder(): string {
    return join(this.root, 'device');
  }

  get clock(): Clock {
    return { ...systemClock, nowAtMs: () => Date.now() + this.hubAheadMs };
  }

  async reopen(folder = this.folder, isRestored = false): Promise<TufRepository> {
    const parts = { folder, isRestored, clock: this.clock, logger: silentLogger };
    this.repository = await TufRepository.open(parts);
    return this.repository;
  }

  device(options: { folder?: string; trustedRoot?: string; buildAtMs?: number } = {}): UpdateVerifier {
    return new UpdateVerifier({
      folder: this.deviceFolder,
      trustedRoot: this.repository.initialRoot(),
      buildAtMs: 0,
      ...options,
      fetch: async (path) => {
        this.asked.push(path);
        const instead = this.instead.get(path);
        if (instead instanceof Error) throw instead;
        if (instead !== undefined) return instead ?? undefined;
        return this.repository.metadata(path);
      },
      clock: { ...systemClock, nowAtMs: () => Date.now() + this.deviceAheadMs },
      logger: silentLogger,
    });
  }

  async key(role: Role): Promise<SigningKey> {
    return new SigningKey(await readFile(join(this.folder, 'keys', `${role}.pem`), 'utf8'));
  }

  async file(name: string): Promise<Uint8Array> {
    return readFile(join(this.metadataFolder, name));
  }

  async close(): Promise<void> {
    await this.repository.stop();
    await rm(this.root, { recursive: true, force: true });
  }
}

/** A version that nobody has to run. */
export function releaseOf(name: string, version: string): Release {
  return {
    ref: { name, version, digest: sha256Hex(`${name} ${version}`) },
    task: 'image-classification',
    minAgentVersion: undefined,
    files: ['onnx/model.onnx', 'outrider.json'].map((path) => ({
      path,
      sha256: sha256Hex(`${name} ${version} ${path}`),
      bytes: path.length,
    })),
  };
}
