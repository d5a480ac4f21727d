/** A child of a bench that is given a task and gives back its own times: both ends. */
import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { AppError } from '../../shared/runtime/errors.ts';
import type { Part } from '../../shared/runtime/lifecycle.ts';
import { tsxFlags } from '../support/from-source.ts';

export const workerAnswer = z.object({ timesMs: z.array(z.number()), labels: z.array(z.string()) });
export type WorkerAnswer = z.infer<typeof workerAnswer>;

export class Worker<Answer> implements Part {
  readonly #file: string;
  readonly #schema: z.ZodType<Answer>;
  #child: ChildProcess | undefined;

  /** @param file from here */
  constructor(file: string, schema: z.ZodType<Answer>) {
    this.#file = file;
    this.#schema = schema;
  }

  start(): void {
    this.#child = fork(fileURLToPath(new URL(this.#file, import.meta.url)), [], {
      execArgv: tsxFlags(),
      serialization: 'advanced',
      env: { ...process.env, ORT_DISABLE_TELEMETRY: '1' },
    });
  }

  /** Sends one message and waits for its answer. */
  ask(message: object): Promise<Answer> {
    const child = this.#child;
    if (!child) throw new AppError('INVARIANT_BROKEN', 'the worker was not started');
    return new Promise((resolve, reject) => {
      const onExit = (): void => reject(new AppError('CHILD_FAILED', `${this.#file} ended`));
      child.once('exit', onExit);
      child.once('message', (raw) => {
        child.off('exit', onExit);
        resolve(this.#schema.parse(raw));
      });
      child.send(message);
    });
  }

  async stop(): Promise<void> {
    const child = this.#child;
    if (!child?.connected) return;
    // Not `close`, which Node does not always tell where the parent disconnects.
    const gone = new Promise((resolve) => child.once('exit', resolve));
    child.disconnect();
    await gone;
  }
}

/** The child's end: answers each message; a failure ends it, and so the bench. */
export function answerParent(answerTo: (message: unknown) => Promise<object>): void {
  process.on('disconnect', () => process.exit(0));
  process.on('message', (message) => {
    answerTo(message).then(
      (given) => process.send?.(given),
      (error: unknown) => {
        console.error(error);
        process.exit(1);
      },
    );
  });
}
