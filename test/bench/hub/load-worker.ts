/**
 * The load generator: connections that are kept, requests that were written beforehand, and a reader of HTTP/1.1 that looks at no more
 * than the length of an answer, so that what is measured is the server. A process of its own; its processor time is told.
 */
import { connect, type Socket } from 'node:net';
import { answerParent } from '../worker.ts';
import { type GroupAnswer, type LoadAnswer, type LoadTask, loadTask } from './load-tasks.ts';

answerParent((message) => load(loadTask.parse(message)));

const HEAD_END = Buffer.from('\r\n\r\n');
const LAST_CHUNK = Buffer.from('\r\n0\r\n\r\n');

async function load(task: LoadTask): Promise<LoadAnswer> {
  const begun = performance.now() + task.warmMs;
  const ended = begun + task.ms;
  let cpuBefore = process.cpuUsage();
  const warm = setTimeout(() => {
    cpuBefore = process.cpuUsage();
  }, task.warmMs);
  const groups = await Promise.all(
    task.groups.map(async ({ clients, requests, worth }) => {
      const found: GroupAnswer = { timesMs: [], worth: 0, failed: 0, failure: null };
      const worthOf = worth === null ? undefined : new RegExp(worth);
      await Promise.all(
        Array.from({ length: clients }, (_, client) =>
          ask({ task, requests, first: client * 7, worthOf, found, begun, ended }),
        ),
      );
      return found;
    }),
  );
  clearTimeout(warm);
  const { user, system } = process.cpuUsage(cpuBefore);
  return { groups, seconds: task.ms / 1_000, cpuSeconds: (user + system) / 1e6 };
}

async function ask(o: {
  readonly task: LoadTask;
  readonly requests: readonly Uint8Array[];
  readonly first: number;
  readonly worthOf: RegExp | undefined;
  readonly found: GroupAnswer;
  readonly begun: number;
  readonly ended: number;
}): Promise<void> {
  const { task, requests, found, begun, ended } = o;
  let connection: Connection | undefined;
  for (let at = o.first; performance.now() < ended; at++) {
    const request = requests[at % requests.length];
    if (!request) return;
    connection ??= new Connection(task.host, task.port);
    const sentMonoMs = performance.now();
    const answer = await connection.ask(request);
    const gotMonoMs = performance.now();
    if (answer === undefined || answer.isLast) {
      connection.end();
      connection = undefined;
    }
    if (gotMonoMs < begun || gotMonoMs > ended) continue;
    if (answer?.status === 200) {
      found.timesMs.push(gotMonoMs - sentMonoMs);
      found.worth += o.worthOf ? Number(o.worthOf.exec(answer.text())?.[1] ?? 0) : 1;
    } else {
      found.failed += 1;
      found.failure ??= answer ? `${answer.status} ${answer.text().slice(0, 300)}` : 'the connection ended';
      // As a client that is refused would.
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
  connection?.end();
}

interface Answer {
  readonly status: number;
  /** The server ends the connection after it. */
  readonly isLast: boolean;
  text(): string;
}

class Connection {
  readonly #socket: Socket;
  #got: Buffer = Buffer.alloc(0);
  #onAnswer: ((answer: Answer | undefined) => void) | undefined;

  constructor(host: string, port: number) {
    this.#socket = connect({ host, port, noDelay: true });
    this.#socket.on('data', (chunk) => this.#take(chunk));
    this.#socket.on('error', () => this.#tell(undefined));
    this.#socket.on('close', () => this.#tell(undefined));
  }

  ask(request: Uint8Array): Promise<Answer | undefined> {
    return new Promise((resolve) => {
      this.#onAnswer = resolve;
      if (this.#socket.destroyed) this.#tell(undefined);
      else this.#socket.write(request);
    });
  }

  end(): void {
    this.#socket.destroy();
  }

  #tell(answer: Answer | undefined): void {
    const tell = this.#onAnswer;
    this.#onAnswer = undefined;
    tell?.(answer);
  }

  #take(chunk: Buffer): void {
    this.#got = this.#got.length === 0 ? chunk : Buffer.concat([this.#got, chunk]);
    const headEnd = this.#got.indexOf(HEAD_END);
    if (headEnd < 0) return;
    const head = this.#got.toString('latin1', 0, headEnd).toLowerCase();
    const from = headEnd + HEAD_END.length;
    const length = /\r\ncontent-length: *(\d+)/.exec(head)?.[1];
    if (length === undefined) {
      if (!this.#got.subarray(from - 2).includes(LAST_CHUNK)) return;
    } else if (this.#got.length < from + Number(length)) return;
    const body = this.#got.subarray(from);
    this.#got = Buffer.alloc(0);
    this.#tell({
      status: Number(head.slice(9, 12)),
      isLast: /\r\nconnection: *close/.test(head),
      text: () => body.toString('utf8'),
    });
  }
}
