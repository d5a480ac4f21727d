/**
 * Messages of MQTT topics: joined into windows where the task takes windows, else an input each. The connection is kept for as long as
 * the feed is; that the broker is away is said once for each reason, and what comes again goes on where it was.
 */
import type { MqttConnection } from '../../../shared/mqtt/connect.ts';
import type { Clock } from '../../../shared/runtime/clock.ts';
import { AppError } from '../../../shared/runtime/errors.ts';
import type { Feed, TakeInput, TellFeed } from '../../ports.ts';
import { Inbox } from './inbox.ts';
import type { Intake } from './intake.ts';
import { serve } from './serve.ts';

/** Connection to a broker, and what its messages become. */
export interface MqttFeedOptions {
  /** Comes back at once and connects in the background. */
  readonly connect: () => Promise<MqttConnection>;
  /** Topics, or filters of them. */
  readonly filters: readonly string[];
  readonly intake: (inbox: Inbox) => Intake;
  readonly inbox: ConstructorParameters<typeof Inbox>[0];
  /** Of a message; larger ones are passed over. */
  readonly maxBytes: number;
  readonly clock: Clock;
  readonly onDropped: (reason: string) => void;
}

/** Feed of MQTT topics. */
export class MqttFeed implements Feed {
  readonly #o: MqttFeedOptions;
  readonly #inbox: Inbox;
  readonly #intake: Intake;
  #connection: MqttConnection | undefined;
  /** Why it is not connected, or may not read. */
  #trouble: AppError | undefined;
  /** What the last run has thrown: not again while nothing has changed. */
  #thrown: string | undefined;

  constructor(options: MqttFeedOptions) {
    this.#o = options;
    this.#inbox = new Inbox(options.inbox);
    this.#intake = options.intake(this.#inbox);
  }

  /** @throws BROKER_UNREACHABLE, HUB_UNTRUSTED, LINK_REFUSED, CONFIG_INVALID */
  async run(take: TakeInput, signal: AbortSignal, tell: TellFeed = () => undefined): Promise<void> {
    try {
      this.#connection ??= await this.#connect(signal);
      while (!signal.aborted) {
        await this.#connected(signal);
        await serve(
          {
            inbox: this.#inbox,
            stalled: () => this.#intake.stalled,
            isOver: () => this.#trouble !== undefined,
            clock: this.#o.clock,
          },
          { take, tell, signal },
        );
      }
    } finally {
      if (signal.aborted) await this.#connection?.end();
    }
  }

  /** Resolves when messages can come. @throws the reason why they cannot, where it is another one than before */
  async #connected(signal: AbortSignal): Promise<void> {
    while (!signal.aborted && (this.#trouble !== undefined || !this.#connection?.connected)) {
      if (this.#trouble && this.#trouble.message !== this.#thrown) {
        this.#thrown = this.#trouble.message;
        throw this.#trouble;
      }
      await this.#inbox.wait(this.#o.clock, WAIT_MS, signal);
    }
    this.#thrown = undefined;
  }

  async #connect(signal: AbortSignal): Promise<MqttConnection> {
    const connection = await this.#o.connect();
    // Not at the end of a run: a stop may come while the feed waits to be run again.
    signal.addEventListener('abort', () => void connection.end().catch(() => undefined), { once: true });
    const trouble = (error: AppError | undefined): void => {
      this.#trouble = error;
      this.#inbox.wake();
    };
    connection.onConnect(() => {
      this.#intake.listen();
      trouble(undefined);
    });
    connection.onFailure(trouble);
    connection.onDisconnect((reason) =>
      trouble(new AppError('BROKER_UNREACHABLE', `the MQTT broker is gone: ${reason}`)),
    );
    connection.onMessage((topic, payload, isRetained) => this.#take(topic, payload, isRetained));
    // Not connected yet: it is remembered.
    await connection.subscribe(this.#o.filters);
    return connection;
  }

  #take(topic: string, payload: Uint8Array, isRetained: boolean): void {
    const { maxBytes, onDropped } = this.#o;
    // What a broker keeps for newcomers may be of last year.
    if (isRetained) onDropped('retained');
    else if (payload.length > maxBytes)
      this.#intake.refuse('too-large', `a message had ${payload.length} bytes, the limit is ${maxBytes}`);
    else this.#intake.message(topic, payload);
  }
}

/** Something wakes it earlier. */
const WAIT_MS = 60_000;
