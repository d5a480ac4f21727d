/** A pool whose runners do as their inputs say, and which holds its callers to the rules of the port. */
import assert from 'node:assert/strict';
import type { ModelLease, RunnerPool } from '../../../../cloud/ports.ts';
import type { Inference, Outcome, Prepared } from '../../../../shared/inference/runner/runner.ts';
import { AppError } from '../../../../shared/runtime/errors.ts';
import type { TaskInput } from '../../../../shared/tasks/tasks.ts';

/** `bad`: its own error at prepare. `poison-*`: ends the runner there. `endless`: ends it by the time that it takes. */
export type Kind = 'ok' | 'bad' | 'poison-prepare' | 'poison-run' | 'endless';
export interface FakeInput {
  readonly id: number;
  readonly kind: Kind;
  readonly shape: string;
  readonly isLong?: boolean;
}

export const fakeInput = (input: FakeInput): TaskInput => ({
  contentType: 'application/json',
  body: Buffer.from(JSON.stringify(input)),
});
const inputOf = (input: TaskInput): FakeInput => JSON.parse(Buffer.from(input.body).toString()) as FakeInput;

export const FAKE_REF = { name: 'fake', version: '1', digest: 'f'.repeat(64) };
const CRASHED = () => new AppError('RUNNER_CRASHED');

export interface FakePoolOptions {
  readonly maxBatchSize: number;
  /** Runners of the model that may be borrowed at a time; one when left out. */
  readonly maxRunners?: number;
  /** Whether a request may go by one call; it may not when left out. */
  readonly isDirect?: boolean;
  /** When each step is done; a test's own order of events. */
  readonly step: (what: 'lease' | 'prepare' | 'run') => Promise<void>;
}

export class FakePool implements RunnerPool {
  readonly #options: FakePoolOptions;
  readonly leases: FakeLease[] = [];
  /** Of every batch, the ids in order. */
  readonly batches: number[][] = [];
  leaseError: AppError | undefined;

  constructor(options: FakePoolOptions) {
    this.#options = options;
  }

  async lease(): Promise<ModelLease> {
    await this.#options.step('lease');
    if (this.leaseError) throw this.leaseError;
    const lease = new FakeLease(this.#options, this.batches);
    this.leases.push(lease);
    return lease;
  }

  leaseAnother(): ModelLease | undefined {
    const held = this.leases.filter(({ isDead, isGivenBack }) => !isDead && !isGivenBack);
    if (held.length >= (this.#options.maxRunners ?? 1)) return undefined;
    const lease = new FakeLease(this.#options, this.batches);
    this.leases.push(lease);
    return lease;
  }

  /** Nothing prepared is left behind, nothing borrowed is kept. */
  assertClean(): void {
    for (const lease of this.leases) {
      assert.ok(lease.isGivenBack, 'a lease was kept');
      assert.ok(lease.isDead || lease.handles.size === 0, 'a prepared input was forgotten');
    }
  }
}

class FakeLease implements ModelLease {
  readonly ref = FAKE_REF;
  readonly maxBatchSize: number;
  readonly handles = new Map<number, FakeInput>();
  readonly #options: FakePoolOptions;
  readonly #batches: number[][];
  readonly #inFlight = new Set<(error: AppError) => void>();
  #nextHandle = 0;
  isDead = false;
  isGivenBack = false;
  stale = false;
  readonly infer?: NonNullable<ModelLease['infer']>;

  constructor(options: FakePoolOptions, batches: number[][]) {
    if (options.isDirect) this.infer = (input) => this.#direct(input);
    this.#options = options;
    this.#batches = batches;
    this.maxBatchSize = options.maxBatchSize;
  }

  async #direct(input: TaskInput): Promise<Inference> {
    const { handle } = await this.prepare(input);
    const [outcome] = await this.run([handle]);
    assert.ok(outcome?.ok);
    return outcome.value;
  }

  prepare(input: TaskInput): Promise<Prepared> {
    return this.#work('prepare', () => {
      const fake = inputOf(input);
      if (fake.kind === 'bad') throw new AppError('IMAGE_CORRUPT');
      if (fake.kind === 'poison-prepare') this.crash();
      const handle = this.#nextHandle++;
      this.handles.set(handle, fake);
      return { handle, shapeKey: fake.shape, ...(fake.isLong && { isLong: true }) };
    });
  }

  run(handles: readonly number[]): Promise<readonly Outcome[]> {
    const inputs = handles.map((handle) => {
      const input = this.handles.get(handle);
      assert.ok(input || this.isDead, 'a handle is unknown or was used before');
      this.handles.delete(handle);
      return input;
    });
    if (!this.isDead) {
      assert.ok(handles.length > 0 && handles.length <= this.maxBatchSize, `a batch of ${handles.length}`);
      assert.equal(new Set(inputs.map((input) => input?.shape)).size, 1, 'a batch of mixed shapes');
      this.#batches.push(inputs.map((input) => input?.id ?? -1));
    }
    return this.#work('run', () => {
      if (inputs.some((input) => input?.kind === 'poison-run')) this.crash();
      if (inputs.some((input) => input?.kind === 'endless')) {
        this.crash();
        throw new AppError('RUNNER_TIMEOUT');
      }
      return inputs.map((input): Outcome => {
        const value = { output: input?.id, routeScore: 0, timingsMs: { preprocess: 1, inference: 1 } };
        return { ok: true, value };
      });
    });
  }

  discard(handles: readonly number[]): void {
    for (const handle of handles)
      assert.ok(this.handles.delete(handle) || this.isDead, 'released what it has not');
  }

  async shrink(body: Uint8Array): Promise<Uint8Array> {
    return body;
  }

  isStale(): boolean {
    return this.stale;
  }

  giveBack(): void {
    assert.ok(!this.isGivenBack, 'given back twice');
    this.isGivenBack = true;
  }

  /** The runner's process ends. */
  crash(): void {
    this.isDead = true;
    for (const reject of this.#inFlight) reject(CRASHED());
  }

  #work<T>(what: 'prepare' | 'run', result: () => T): Promise<T> {
    if (this.isDead) return Promise.reject(CRASHED());
    assert.ok(!this.isGivenBack, 'used after it was given back');
    return new Promise((resolve, reject) => {
      this.#inFlight.add(reject);
      void this.#options.step(what).then(() => {
        this.#inFlight.delete(reject);
        try {
          const value = this.isDead ? undefined : result();
          if (this.isDead || value === undefined) reject(CRASHED());
          else resolve(value);
        } catch (error) {
          reject(error as AppError);
        }
      });
    });
  }
}
