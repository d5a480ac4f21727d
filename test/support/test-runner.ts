/** A runner without a process, for tests of what is done with runners. */
import assert from 'node:assert/strict';
import type { Inference, Runner } from '../../shared/inference/runner/runner.ts';
import { AppError } from '../../shared/runtime/errors.ts';
import type { TaskInput } from '../../shared/tasks/tasks.ts';
import { EDGE_MODEL } from './fixed.ts';

export const INFERENCE: Inference = {
  output: [],
  routeScore: 1,
  timingsMs: { preprocess: 1, inference: 2 },
};

const never = (): never => assert.fail('nobody asks for this here');

/** A runner that lives until it is told otherwise. */
export class TestRunner implements Runner {
  readonly facts: Runner['facts'] = {
    name: EDGE_MODEL.name,
    task: 'image-classification',
    digest: EDGE_MODEL.digest,
    maxBatchSize: 1,
    canBeLong: false,
    executionProvider: 'cpu',
  };
  readonly pid = 1;
  isUp = true;
  stops = 0;
  readonly ended: Runner['ended'];
  #end: (how: { expected: boolean; reason: string }) => void = () => undefined;

  constructor() {
    this.ended = new Promise((resolve) => {
      this.#end = resolve;
    });
  }

  /** What it answers; a test may put another in its place. */
  answer: () => Promise<Inference> = () => Promise.resolve(INFERENCE);

  /** What a picture becomes where its caller wants it smaller. */
  shrunk: Uint8Array | undefined;

  async infer(
    _input: TaskInput,
    { shrink }: Parameters<Runner['infer']>[1] = {},
  ): Promise<Inference & { readonly shrunk?: Uint8Array }> {
    if (!this.isUp) throw new AppError('RUNNER_CRASHED');
    return { ...(await this.answer()), ...(shrink && this.shrunk && { shrunk: this.shrunk }) };
  }

  crash(): void {
    this.isUp = false;
    this.#end({ expected: false, reason: 'SIGKILL' });
  }

  async stop(): Promise<void> {
    this.stops++;
    this.isUp = false;
    this.#end({ expected: true, reason: 'stopped' });
  }

  prepare = never;
  run = never;
  discard = never;
  shrink = never;
}
