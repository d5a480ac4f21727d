/** Puts load on a server from a process of its own, and sums up what came of it. */
import { AppError } from '../../../shared/runtime/errors.ts';
import { quantile } from '../harness.ts';
import { Worker } from '../worker.ts';
import { type LoadAnswer, type LoadTask, loadAnswer } from './load-tasks.ts';

/** What a group of clients got. */
export interface Point {
  readonly clients: number;
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly failed: number;
  /** Cores that the generator took, all groups together. */
  readonly generatorCores: number;
}

/** The generator's process. */
export class Load extends Worker<LoadAnswer> {
  constructor() {
    super('./hub/load-worker.ts', loadAnswer);
  }

  /** A point for each group, in their order. @throws CHILD_FAILED where a group got no answer at all */
  async put(task: LoadTask): Promise<Point[]> {
    const { groups, seconds, cpuSeconds } = await this.ask(task);
    return groups.map(({ timesMs, worth, failed, failure }, index) => {
      if (timesMs.length === 0) throw new AppError('CHILD_FAILED', `no answer: ${failure ?? 'too slow'}`);
      if (failure !== null) console.error(`${failed} failed, the first with ${failure}`);
      return {
        clients: task.groups[index]?.clients ?? 0,
        perSecond: worth / seconds,
        p50Ms: quantile(timesMs, 0.5),
        p99Ms: quantile(timesMs, 0.99),
        failed,
        generatorCores: cpuSeconds / seconds,
      };
    });
  }
}

/** A whole request of HTTP/1.1. */
export function httpRequest(
  path: string,
  body: Uint8Array,
  headers: Readonly<Record<string, string>>,
): Uint8Array {
  const lines = Object.entries({ host: '127.0.0.1', 'content-length': String(body.length), ...headers });
  const head = `POST ${path} HTTP/1.1\r\n${lines.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n`;
  return Buffer.concat([Buffer.from(head), body]);
}
