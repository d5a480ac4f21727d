/** In memory and in a temporary folder: the ports behind publishing, updates and the gallery, as the HTTP API needs them. */
import { mkdirSync } from 'node:fs';
import { appendFile, readFile, rename, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type {
  BlobShelf,
  ModelCatalog,
  ModelDescriptions,
  ModelShelf,
  PinBook,
  Publisher,
  ResultGallery,
  SignedUpdates,
  SigningDesk,
} from '../../cloud/ports.ts';
import type { BoardEntry, DevicePins, ModelLoad, ModelRecord } from '../../shared/contract/admin.ts';
import { type ModelSpec, modelSpec } from '../../shared/release/folder/model-spec.ts';
import { AppError } from '../../shared/runtime/errors.ts';
import { sha256Hex } from '../../shared/runtime/ids.ts';

/** Real files, without the care that the real one takes. */
export class FolderBlobs implements BlobShelf {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
    mkdirSync(folder, { recursive: true });
  }

  path(sha256: string): string {
    return join(this.#folder, sha256);
  }

  async size(sha256: string): Promise<number | undefined> {
    return (await stat(this.path(sha256)).catch(() => undefined))?.size;
  }

  async partialBytes(sha256: string): Promise<number> {
    return (await stat(`${this.path(sha256)}.part`).catch(() => undefined))?.size ?? 0;
  }

  async append(
    sha256: string,
    offset: number,
    source: AsyncIterable<Uint8Array>,
    maxBytes: number,
  ): Promise<number> {
    if ((await this.partialBytes(sha256)) !== offset) throw new AppError('PRECONDITION_FAILED');
    let bytes = offset;
    await appendFile(`${this.path(sha256)}.part`, '');
    for await (const chunk of source) {
      bytes += chunk.length;
      if (bytes > maxBytes) throw new AppError('INPUT_TOO_LARGE');
      await appendFile(`${this.path(sha256)}.part`, chunk);
    }
    return bytes;
  }

  async finish(sha256: string): Promise<void> {
    const part = `${this.path(sha256)}.part`;
    const bytes = await readFile(part);
    if (sha256Hex(bytes) !== sha256) {
      await writeFile(part, '');
      throw new AppError('MODEL_DIGEST_MISMATCH');
    }
    await rename(part, this.path(sha256));
  }

  /** @returns its digest */
  async put(content: Uint8Array): Promise<string> {
    const sha256 = sha256Hex(content);
    await writeFile(this.path(sha256), content);
    return sha256;
  }
}

type Shelved = Omit<ModelRecord, keyof ModelLoad>;

/** The models of a catalog, with changes on top that live as long as this. */
export class MemoryShelf implements ModelShelf, ModelCatalog, ModelDescriptions {
  /** By name; none has one unless a test says so. */
  readonly signatures = new Map<string, ModelSpec['signature']>();
  /** Of every model. */
  readonly labelNames: readonly string[] = ['bird', 'cat', 'dog'];
  readonly #models: Pick<ModelShelf, 'list'> & ModelCatalog;
  readonly #changes = new Map<string, Partial<Shelved>>();

  constructor(models: Pick<ModelShelf, 'list'> & ModelCatalog) {
    this.#models = models;
  }

  resolve(name: string): ReturnType<ModelCatalog['resolve']> {
    return this.#models.resolve(name);
  }

  async spec(name: string): Promise<ModelSpec> {
    const { ref, task } = this.resolve(name);
    const signature = this.signatures.get(name);
    return modelSpec.parse({
      ...{ schema: 1, name: ref.name, task, model: 'onnx/model.onnx', precision: 'float32' },
      ...{ files: { 'onnx/model.onnx': ref.digest }, batch: { safe: true, maxSize: 8 } },
      ...(signature && { signature }),
    });
  }

  async labels(): Promise<readonly string[]> {
    return this.labelNames;
  }

  list(): Shelved[] {
    return this.#models.list().map((one) => ({ ...one, ...this.#changes.get(one.name) }));
  }

  change: ModelShelf['change'] = async (name, change, isExpected) => {
    const { policy, deployed, keepLoaded, maxQueue } = change;
    const now = this.list().find((one) => one.name === name);
    if (!now) throw new AppError('MODEL_UNKNOWN');
    if (!isExpected(now)) throw new AppError('PRECONDITION_FAILED');
    if (deployed !== undefined && !now.versions.some(({ version }) => version === deployed))
      throw new AppError('UPDATE_NOT_LISTED');
    this.#changes.set(name, {
      ...this.#changes.get(name),
      ...(policy !== undefined && { policy }),
      ...(deployed !== undefined && { deployed }),
      ...(keepLoaded !== undefined && { keepLoaded }),
      ...(maxQueue !== undefined && { maxQueue }),
    });
  };
}

export class MemoryPins implements PinBook {
  readonly #isDevice: (id: string) => boolean;
  readonly #pins = new Map<string, DevicePins['pins']>();

  constructor(isDevice: (id: string) => boolean) {
    this.#isDevice = isDevice;
  }

  pinsOf(deviceId: string): DevicePins['pins'] {
    if (!this.#isDevice(deviceId)) throw new AppError('DEVICE_UNKNOWN');
    return this.#pins.get(deviceId) ?? {};
  }

  pin: PinBook['pin'] = async (deviceId, pins, isExpected) => {
    if (!isExpected(this.pinsOf(deviceId))) throw new AppError('PRECONDITION_FAILED');
    this.#pins.set(deviceId, pins);
  };
}

/** Numbers what it is given, and tests nothing. */
export class MemoryPublisher implements Publisher {
  readonly #known = new Map<string, string>();
  /** Held up by a test. */
  wait: Promise<void> = Promise.resolve();
  readonly #updates: MemoryUpdates;

  constructor(updates: MemoryUpdates) {
    this.#updates = updates;
  }

  putTargets: Publisher['putTargets'] = (body, ifMatch) => this.#updates.putTargets(body, ifMatch);

  putDelegated: Publisher['putDelegated'] = async (role) => {
    throw new AppError('NOT_FOUND', `there is no delegation ${role}`);
  };

  applyChange: Publisher['applyChange'] = async () => {
    throw new AppError('UPDATE_UNTRUSTED');
  };

  publish: Publisher['publish'] = async (name, { files }) => {
    await this.wait;
    const digest = sha256Hex(JSON.stringify(files));
    const before = this.#known.get(digest);
    const version = before ?? String(this.#known.size + 1);
    this.#known.set(digest, version);
    const created = before === undefined;
    const test = created ? 'smoke' : null;
    return { name, version, digest, created, published: true, deployed: false, test };
  };
}

export class MemoryUpdates implements SignedUpdates {
  readonly isDevelopment = true;
  readonly files = new Map<string, Uint8Array>();
  readonly listed = new Map<string, { sha256: string; bytes: number }>();
  #targets: Uint8Array = Buffer.from('{"signed":{"version":1}}');

  initialRoot(): string {
    return '{"signed":{}}';
  }

  async metadata(name: string): Promise<Uint8Array | undefined> {
    return this.files.get(name);
  }

  target(path: string): { sha256: string; bytes: number } | undefined {
    return this.listed.get(path);
  }

  targets(): { etag: string; body: Uint8Array } {
    return { etag: sha256Hex(this.#targets), body: this.#targets };
  }

  root(): { etag: string; body: Uint8Array } {
    return { etag: '"root"', body: Buffer.from(this.initialRoot()) };
  }

  delegated(): undefined {
    return undefined;
  }

  async putTargets(body: Uint8Array, ifMatch: string): Promise<string> {
    if (ifMatch !== this.targets().etag) throw new AppError('PRECONDITION_FAILED');
    if (!Buffer.from(body).includes('signed')) throw new AppError('UPDATE_UNTRUSTED');
    this.#targets = Buffer.from(body);
    return this.targets().etag;
  }
}

export class MemoryGallery implements ResultGallery {
  entries: BoardEntry[] = [];
  readonly thumbnails = new Map<string, Uint8Array>();

  list(): BoardEntry[] {
    return this.entries;
  }

  thumbnail(requestId: string): Uint8Array | undefined {
    return this.thumbnails.get(requestId);
  }
}

/** A hub that holds one key. */
export const MEMORY_SIGNING: SigningDesk = {
  status: () => ({
    isDevelopment: true,
    roles: [
      {
        ...{ role: 'root', version: 1, keys: [{ id: 'a'.repeat(64), kind: 'ed25519', isHere: true }] },
        ...{ threshold: 1, expiresAtMs: 1e12, renewsItself: true, level: 'ok', todo: null },
      },
    ],
    toList: [],
    toDelist: [],
  }),
  nextKey: async (role) => {
    if (role !== 'snapshot') throw new AppError('NOT_FOUND');
    return { role, id: 'b'.repeat(64), publicKey: 'PEM' };
  },
};
