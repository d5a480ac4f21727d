/** What messages of topics become: numbers of channels for windows, or inputs as they are. */
import { matchesFilter } from '../../../shared/mqtt/topic-filter.ts';
import type { Clock } from '../../../shared/runtime/clock.ts';
import type { AppError } from '../../../shared/runtime/errors.ts';
import type { InputKind } from '../../../shared/tasks/task.ts';
import type { Inbox } from './inbox.ts';
import { documentOf, valueAt } from './json-path.ts';
import type { Sampler } from './sampler.ts';
import { Silence } from './silence.ts';

/** Taker of messages, on the way to an inbox. */
export interface Intake {
  message(topic: string, payload: Uint8Array): void;
  /** A message that nobody reads. */
  refuse(reason: string, why: string): void;
  /** Silence counts from now on. */
  listen(): void;
  /** Why nothing comes of it. */
  readonly stalled: AppError | undefined;
}

/** Place of a value: a topic, and where in its JSON; without a path the payload itself. */
export interface TopicPath {
  readonly topic: string;
  readonly path: string | undefined;
}

/** Numbers of channels, joined into windows. */
export class WindowIntake implements Intake {
  readonly #sampler: Sampler;
  readonly #inbox: Inbox;
  readonly #time: string | undefined;
  /** By topic: which channels it has, and where. */
  readonly #byTopic = new Map<string, { readonly channel: number; readonly path: string | undefined }[]>();

  /** @param of.time where in the JSON a message says its time; undefined: it is when it came */
  constructor(
    sampler: Sampler,
    inbox: Inbox,
    of: { readonly channels: readonly TopicPath[]; readonly time: string | undefined },
  ) {
    this.#sampler = sampler;
    this.#inbox = inbox;
    this.#time = of.time;
    for (const [channel, { topic, path }] of of.channels.entries())
      this.#byTopic.set(topic, [...(this.#byTopic.get(topic) ?? []), { channel, path }]);
  }

  message(topic: string, payload: Uint8Array): void {
    const places = this.#byTopic.get(topic) ?? [];
    const document = documentOf(payload);
    const needsJson = this.#time !== undefined || places.some(({ path }) => path !== undefined);
    if (needsJson && document === undefined) {
      this.refuse('not-json', `a message of ${topic} was no JSON`);
      return;
    }
    const values = places.map(({ channel, path }) => ({
      channel,
      value: path === undefined ? bare(document, payload) : valueAt(document, path),
    }));
    const time = this.#time === undefined ? undefined : valueAt(document, this.#time);
    for (const item of this.#sampler.take({ values, time })) this.#inbox.put(item);
  }

  refuse(reason: string, why: string): void {
    this.#sampler.refuse(reason, why);
  }

  listen(): void {
    this.#sampler.listen();
  }

  get stalled(): AppError | undefined {
    return this.#sampler.stalled;
  }
}

/** `21.5` and `"ON"` are JSON, `ON` is not. */
const bare = (document: unknown, payload: Uint8Array): unknown =>
  document === undefined ? Buffer.from(payload).toString('utf8') : document;

/** What a message becomes where a task takes one by itself. */
export interface MessageOptions {
  readonly sources: readonly TopicPath[];
  readonly kind: InputKind;
  readonly contentType: string;
  readonly stalledAfterMs: number;
  readonly clock: Clock;
  readonly onDropped: (reason: string) => void;
}

/** Messages, an input each. */
export class MessageIntake implements Intake {
  readonly #o: MessageOptions;
  readonly #inbox: Inbox;
  readonly #silence: Silence;
  #lastProblem: string | undefined;

  constructor(inbox: Inbox, options: MessageOptions) {
    this.#o = options;
    this.#inbox = inbox;
    this.#silence = new Silence(options);
  }

  message(topic: string, payload: Uint8Array): void {
    const { sources, contentType, kind } = this.#o;
    for (const { topic: filter, path } of sources) {
      if (!matchesFilter(filter, topic)) continue;
      const body = path === undefined ? payload : this.#bodyAt(payload, path, kind);
      if (body === undefined || body.length === 0)
        this.refuse('no-value', path === undefined ? 'the payload was empty' : `nothing stood at ${path}`);
      else {
        this.#silence.heard();
        this.#inbox.put({ input: { contentType, body }, label: topic });
      }
    }
  }

  refuse(reason: string, why: string): void {
    this.#lastProblem = why;
    this.#o.onDropped(reason);
  }

  listen(): void {
    this.#silence.heard();
  }

  get stalled(): AppError | undefined {
    const topics = this.#o.sources.map(({ topic }) => topic).join(', ');
    return this.#silence.after(`message of ${topics}`, this.#lastProblem);
  }

  #bodyAt(payload: Uint8Array, path: string, kind: InputKind): Buffer | undefined {
    const value = valueAt(documentOf(payload), path);
    if (value === undefined || value === null) return undefined;
    if (typeof value !== 'string') return Buffer.from(JSON.stringify(value));
    return Buffer.from(value, kind === 'image' || kind === 'audio' ? 'base64' : 'utf8');
  }
}
