/** What publishes on a hub, over a real disk with real signatures; who tries a version, and what fails, a test says. */
import { cp, mkdir, mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { FleetStarts } from '../../cloud/ports.ts';
import {
  type Listing,
  VersionPublisher,
  type VersionPublisherOptions,
} from '../../cloud/publishing/publisher.ts';
import type { ShelvedModel } from '../../cloud/registry/models.ts';
import { Registry } from '../../cloud/registry/registry.ts';
import type { DeployPolicy, HubEvent, PublishedVersion, VersionFile } from '../../shared/contract/admin.ts';
import { BlobStore } from '../../shared/release/blob-store.ts';
import { openModelFolder, versionFilesOf } from '../../shared/release/folder/model-folder.ts';
import type { Release } from '../../shared/release/release.ts';
import { TufRepository } from '../../shared/release/tuf/repository.ts';
import { signTargets } from '../../shared/release/tuf/sign-targets.ts';
import { readSigningKey, type SigningKey } from '../../shared/release/tuf/signing-keys.ts';
import { systemClock as clock } from '../../shared/runtime/clock.ts';
import { newSecret, sha256Hex } from '../../shared/runtime/ids.ts';
import { silentLogger as logger } from '../../shared/runtime/logger.ts';
import { onnxFile } from './onnx-file.ts';

export type Changes = (parts: VersionPublisherOptions) => Partial<VersionPublisherOptions>;

/** The same, but for what a test changes. */
export const listingWith = (updates: Listing, changes: Partial<Listing>): Listing => ({
  canList: updates.canList,
  add: (releases) => updates.add(releases),
  putTargets: (body, ifMatch) => updates.putTargets(body, ifMatch),
  putDelegated: (role, body, ifMatch) => updates.putDelegated(role, body, ifMatch),
  apply: (change) => updates.apply(change),
  release: (name, version) => updates.release(name, version),
  ...changes,
});

export class PublishingHub {
  readonly root: string;
  policy: DeployPolicy = 'manual';
  /** What the fleet gives devices to start from, from the next start on. */
  fleet: FleetStarts | undefined;
  readonly events: HubEvent[] = [];
  readonly changed: ShelvedModel[] = [];
  /** How often devices would have been told. */
  told = 0;
  registry!: Registry;
  blobs!: BlobStore;
  updates!: TufRepository;
  publisher!: VersionPublisher;

  private constructor(root: string) {
    this.root = root;
  }

  static async open(changes?: Changes): Promise<PublishingHub> {
    const hub = new PublishingHub(await mkdtemp(join(tmpdir(), 'outrider-publishing-')));
    await hub.start(changes);
    return hub;
  }

  get folder(): string {
    return join(this.root, 'hub');
  }

  /** As after a kill: everything from disk. */
  async start(changes: Changes = () => ({})): Promise<void> {
    this.registry = await Registry.open({
      folder: this.folder,
      policy: this.policy,
      onDesiredChange: () => {
        this.told++;
      },
      onModelChange: (model) => this.changed.push(model),
      ...(this.fleet && { fleet: this.fleet }),
      clock,
      logger,
    });
    this.updates = await TufRepository.open({ folder: join(this.folder, 'tuf'), clock, logger });
    this.blobs = new BlobStore(join(this.folder, 'blobs'));
    const parts: VersionPublisherOptions = {
      models: this.registry.models,
      blobs: this.blobs,
      updates: this.updates,
      rehearse: async () => 'golden',
      folder: join(this.folder, 'models'),
      events: { publish: (event) => this.events.push(event) },
      clock,
      logger,
    };
    this.publisher = new VersionPublisher({ ...parts, ...changes(parts) });
    await this.publisher.restore();
  }

  /** A folder that is valid, and that no runner could load. */
  async makeFolder(name: string, seed: string, spec: Record<string, unknown> = {}): Promise<string> {
    const path = join(this.root, 'made', `${name.replace('/', '_')}-${seed}`);
    await mkdir(join(path, 'onnx'), { recursive: true });
    const graph = onnxFile({ producer: `weights ${seed}` });
    await writeFile(join(path, 'onnx', 'model.onnx'), graph);
    await writeFile(join(path, 'README.md'), `about ${seed}`);
    const document = {
      schema: 1,
      ...{ name, task: 'text-classification', model: 'onnx/model.onnx', precision: 'float32' },
      files: { 'onnx/model.onnx': sha256Hex(graph) },
      ...spec,
    };
    await writeFile(join(path, 'outrider.json'), JSON.stringify(document));
    return path;
  }

  /** As the command line does before it asks to publish. */
  async upload(path: string): Promise<VersionFile[]> {
    const files = await versionFilesOf(await openModelFolder(path));
    for (const file of files) {
      await this.blobs.append(file.sha256, 0, [await readFile(join(path, file.path))], file.bytes);
      await this.blobs.finish(file.sha256);
    }
    return files;
  }

  async push(name: string, seed: string, force = false): Promise<PublishedVersion> {
    return this.pushFolder(name, await this.makeFolder(name, seed), force);
  }

  async pushFolder(name: string, path: string, force = false): Promise<PublishedVersion> {
    return this.publisher.publish(name, { files: await this.upload(path), force });
  }

  async takeIn(path: string): Promise<string> {
    const [ref] = await this.publisher.takeIn([await openModelFolder(path)], (_, error) => {
      throw error;
    });
    return ref?.version ?? 'none';
  }

  /** A device that has reported that it runs, or wants to run, this model. */
  async addDevice(id: string, edgeModel: string): Promise<void> {
    const { token } = await this.registry.devices.createToken({});
    await this.registry.devices.enroll({ token, deviceId: id, secret: newSecret() });
    this.registry.devices.reported(id, {
      agentVersion: '0.1.0',
      pipelines: [{ name: 'gate', task: 'text-classification', edge: null, edgeModel, cloud: null }],
    });
  }

  /** Which versions a device is told to run, by name. */
  wanted(deviceId: string): Record<string, string> {
    const models = this.registry.desired.of(deviceId)?.models ?? [];
    return Object.fromEntries(models.map(({ name, version }) => [name, version]));
  }

  /** From the next start on this hub signs no targets itself. @returns the key with which somebody else does */
  async moveKeysAway(): Promise<SigningKey> {
    for (const role of ['root', 'targets'])
      await rename(join(this.folder, 'tuf', 'keys', `${role}.pem`), join(this.root, `${role}.pem`));
    return readSigningKey(join(this.root, 'targets.pem'));
  }

  async moveKeysBack(): Promise<void> {
    for (const role of ['root', 'targets'])
      await rename(join(this.root, `${role}.pem`), join(this.folder, 'tuf', 'keys', `${role}.pem`));
  }

  /** The targets that list this version too, as who keeps the key signs them. */
  signed(
    key: SigningKey,
    { name, version, digest }: PublishedVersion,
    changes: Partial<Release> = {},
  ): Buffer {
    const stored = this.registry.models.stored({ name, version });
    if (!stored) throw new Error(`${name} ${version} is not recorded`);
    const { task, files } = stored;
    const release = { ref: { name, version, digest }, task, minAgentVersion: undefined, files, ...changes };
    const body = signTargets(this.updates.targets().body, release, { key, clock });
    if (!body) throw new Error(`${name} ${version} is listed already`);
    return body;
  }

  listed(): string[] {
    return this.updates
      .releases()
      .map(({ ref }) => `${ref.name} ${ref.version}`)
      .sort();
  }

  copy(to: string): Promise<void> {
    return cp(this.folder, join(this.root, to), { recursive: true });
  }

  async close(): Promise<void> {
    await rm(this.root, { recursive: true, force: true, maxRetries: 5 });
  }
}
