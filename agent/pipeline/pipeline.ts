/**
 * One input, start to finish. READ THIS FIRST.
 *
 *   feed / HTTP -> local model -> router -> edge: the Result
 *                                       \-> cloud: escalations.ts (outbox on disk -> uplink -> reply -> Result)
 *
 * The first Result comes at the earliest of: routed local, the cloud's reply, the deadline. A provisional one is followed by
 * exactly one final one with the same id. What was accepted for the cloud ends in a reply or in its expiry, also across restarts.
 */
import type { Capture } from '../../shared/contract/capture.ts';
import type { EdgeReason, Result } from '../../shared/contract/result.ts';
import { pngOfPpm } from '../../shared/inference/runner/png-of-ppm.ts';
import { readPpm } from '../../shared/inference/runner/ppm.ts';
import type { ShrinkBelow, Shrinking } from '../../shared/inference/runner/runner.ts';
import type { Clock } from '../../shared/runtime/clock.ts';
import { AppError, ERRORS, type ErrorBody, toAppError, toErrorBody } from '../../shared/runtime/errors.ts';
import { newId } from '../../shared/runtime/ids.ts';
import type { Part } from '../../shared/runtime/lifecycle.ts';
import type { Logger } from '../../shared/runtime/logger.ts';
import type { Metrics } from '../../shared/runtime/metrics.ts';
import type { LossOptions } from '../../shared/tasks/loss-options.ts';
import { TASKS, type TaskInput, type TaskName, topLabel } from '../../shared/tasks/tasks.ts';
import type {
  Asked,
  CloudReply,
  DeadLetter,
  FeedItem,
  LinkMeter,
  LocalAnswer,
  LocalModel,
  Outbox,
  OutboxRequest,
  PipelineFace,
  PipelineStatus,
  Priority,
  Redactor,
  Route,
  RouteQuestion,
  Router,
  Uplink,
} from '../ports.ts';
import { Escalations } from './escalations.ts';
import { ResultMaker, type Subject } from './results.ts';

/** Local model, router, outbox and sinks that an input passes, and the times by which it is answered. */
export interface PipelineOptions {
  readonly name: string;
  readonly task: TaskName;
  /** The cloud model to ask; undefined: never escalates. */
  readonly cloud: string | undefined;
  /** The task's, for inputs that bring none of their own. */
  readonly parameters?: TaskInput['parameters'];
  /** What counts as the same answer. */
  readonly loss?: LossOptions | undefined;
  /** Keeps what the router has learned from. */
  readonly capture?: ((capture: Capture) => void) | undefined;
  readonly deadlineMs: number;
  readonly expiresMs: number;
  readonly local: LocalModel;
  readonly router: Router;
  readonly outbox: Outbox;
  readonly uplink: Uplink;
  readonly meter: Pick<LinkMeter, 'mayAccept'>;
  /** What the cloud model can use of a picture; undefined: inputs go as they came. */
  readonly shrinking: () => Shrinking | undefined;
  /** Keeps an input for sinks that show pictures; left out where there is none. */
  readonly keepInput?: (id: string, input: TaskInput) => void;
  /** Takes out of texts what is not to leave; undefined: nothing is. */
  readonly redactor?: Redactor | undefined;
  /** Takes out of an encoded picture what says where and by whom it was taken. */
  readonly bare?: (picture: Uint8Array) => Uint8Array;
  /** How a raw picture is encoded, at its own size, where that does not say it. */
  readonly encoding?: Pick<Shrinking, 'format' | 'quality'>;
  /** Sees each Result at once: waiting callers, the stream, the counters. */
  readonly show: (result: Result) => void;
  /** Resolves when every sink has the Result, or has dead-lettered it; rejects for an owed one when it could not before a stop. */
  readonly deliver: (result: Result, isOwed: boolean) => Promise<void>;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

/** Acceptance of an interactive input: its id at once, its Result to come. */
export interface Accepted {
  readonly id: string;
  /** The first Result; without a local answer it may be long in coming. */
  readonly first: Promise<Result>;
}

/** Below this there is little to be saved, and decoding costs time. */
const MIN_SHRINK_BYTES = 16 * 1024;
const LOSSLESS = { format: 'webp', quality: 'lossless' } as const;
/** What a raw picture will have about, encoded without loss, while nobody knows it yet: for budgets. */
const RAW_OVER_ENCODED = 3;

/** The local model has answered, or there is a reason why not. */
type LocalOutcome =
  | { readonly answer: LocalAnswer; readonly shrunk: TaskInput | undefined }
  | { readonly answer: null; readonly missing: 'no-edge-model' | 'edge-failed'; readonly error: AppError };

/** Pipeline from input to Result, at the edge or by way of the cloud. */
export class Pipeline implements Part, PipelineFace {
  readonly name: string;
  readonly task: TaskName;
  readonly deadlineMs: number;
  readonly #o: PipelineOptions;
  readonly #results: ResultMaker;
  readonly #escalations: Escalations;
  readonly #delivering = new Set<Promise<void>>();

  constructor(options: PipelineOptions) {
    this.name = options.name;
    this.task = options.task;
    this.deadlineMs = options.deadlineMs;
    this.#o = options;
    this.#results = new ResultMaker({ ...options, pipeline: options.name });
    this.#escalations = new Escalations({ ...options, pipeline: options.name, results: this.#results });
  }

  start(): void {
    this.#escalations.start();
  }

  async stop(): Promise<void> {
    await this.#escalations.stop();
    await Promise.all(this.#delivering);
  }

  status(): PipelineStatus {
    const { local, cloud = null, router } = this.#o;
    return {
      name: this.name,
      task: this.task,
      edge: local.model,
      cloud,
      router: router.status(),
      owed: this.#o.outbox.waiting(this.name).entries,
    };
  }

  /**
   * For feeds: resolves with the first Result. A bad input is a Result too, never an exception.
   *
   * @param signal who is told to stop need not wait for the cloud: undefined then, and the outbox has the input
   */
  process(item: FeedItem): Promise<Result>;
  process(item: FeedItem, signal: AbortSignal): Promise<Result | undefined>;
  async process(item: FeedItem, signal?: AbortSignal): Promise<Result | undefined> {
    const { first } = await this.accept(item, { priority: 'feed' });
    return signal ? unlessAborted(first, signal) : first;
  }

  /** What people may see of a text. */
  shown(text: string): string {
    return this.#o.redactor?.text(text) ?? text;
  }

  /** Resolves once the input is safe: answered, or on disk for the cloud. */
  async accept(given: FeedItem, asked: Asked = {}): Promise<Accepted> {
    const { parameters = this.#o.parameters, ...bare } = given.input;
    const item = { ...given, input: { ...bare, ...(parameters && { parameters }) } };
    const { forced, priority = 'interactive' } = asked;
    const label = item.label === null ? null : this.shown(item.label);
    const subject: Subject = { id: newId(), label, startMonoMs: this.#o.clock.nowMonoMs() };
    this.#o.metrics.count('outrider_inputs_total', { pipeline: this.name });
    this.#o.keepInput?.(subject.id, item.input);
    const shrink = this.#shrinkBelow(item.input, forced);
    const local = await this.#askLocal(item.input, shrink);
    if (local.answer === null && ERRORS[local.error.code].kind === 'caller') {
      return this.#done(subject, this.#results.failure(subject, toErrorBody(local.error)));
    }
    const route = this.#o.router.choose(subject.id, this.#question(subject, item.input, local, forced));
    return route.to === 'edge'
      ? this.#stayLocal(subject, item.input, local, route)
      : this.#askCloud(subject, item.input, local, { ...route, priority });
  }

  /** Asks the cloud again about a request that was given up, under a new id: the old one has its final Result. @throws OUTBOX_FULL, DISK_FULL */
  async retry({ request }: DeadLetter): Promise<string> {
    const { clock, expiresMs } = this.#o;
    const subject: Subject = { id: newId(), label: request.label, startMonoMs: clock.nowMonoMs() };
    const input = this.#asItLeaves(request.input);
    const again = { ...request, input, id: subject.id, acceptedAtMs: clock.nowAtMs(), expiresMs };
    await this.#escalations.ask(subject, again, 'never', () => undefined);
    this.#asked(again.input, again);
    return subject.id;
  }

  provisional(id: string): Promise<Result | undefined> {
    return this.#escalations.provisional(id);
  }

  /** Ends an open request without an answer, because a person says so. */
  drop(id: string): Promise<void> {
    return this.#escalations.drop(id);
  }

  /** Its expiry has passed. */
  expire(id: string): void {
    this.#escalations.expire(id);
  }

  /** A reply of the hub to a request of this pipeline. */
  onReply(id: string, reply: CloudReply, roundTripMs: number): void {
    this.#escalations.onReply(id, reply, roundTripMs);
  }

  onOffline(): void {
    this.#escalations.onOffline();
  }

  /** What the runner is to do in one walk: a picture whose answer will hardly stay local comes back as the cloud is to get it. */
  #shrinkBelow(input: TaskInput, forced: 'edge' | 'cloud' | undefined): ShrinkBelow | undefined {
    const to = this.#shrinkingOf(input);
    if (!to || !this.#o.uplink.online) return undefined;
    const below = this.#o.router.askedBelow(forced);
    return below === undefined ? undefined : { to, below };
  }

  /** undefined: the input goes as it came, which a raw picture never does. */
  #shrinkingOf({ body }: TaskInput): Shrinking | undefined {
    if (TASKS[this.task].inputKind !== 'image') return undefined;
    const raw = readPpm(body);
    if (!raw) return body.length >= MIN_SHRINK_BYTES ? this.#o.shrinking() : undefined;
    const asItIs = { resize: { kind: 'warp', ...raw.size }, kernel: 'linear', always: true } as const;
    return this.#o.shrinking() ?? { ...asItIs, ...(this.#o.encoding ?? LOSSLESS) };
  }

  async #askLocal(input: TaskInput, shrink: ShrinkBelow | undefined): Promise<LocalOutcome> {
    try {
      const { shrunk, ...answer } = await this.#o.local.infer(input, shrink);
      const { preprocess, inference } = answer.timingsMs;
      this.#o.metrics.observeSeconds(
        'outrider_inference_seconds',
        { pipeline: this.name },
        (preprocess + inference) / 1000,
      );
      return { answer, shrunk };
    } catch (thrown) {
      const error = toAppError(thrown);
      const missing =
        error.code === 'MODEL_NOT_LOADED' && this.#o.local.model === null ? 'no-edge-model' : 'edge-failed';
      if (missing === 'edge-failed') {
        this.#o.metrics.count('outrider_edge_failures_total', { pipeline: this.name, code: error.code });
        this.#o.logger.failure('pipeline.edge_failed', error, { pipeline: this.name });
      }
      return { answer: null, missing, error };
    }
  }

  #question(
    { startMonoMs }: Subject,
    input: TaskInput,
    local: LocalOutcome,
    forced: 'edge' | 'cloud' | undefined,
  ): RouteQuestion {
    const requestBytes = bytesToSend(input, local.answer ? local.shrunk : undefined);
    return {
      routeScore: local.answer?.routeScore ?? null,
      edgeDigest: local.answer?.model.digest ?? null,
      label: topLabel(local.answer?.output),
      isCut: local.answer?.isCut,
      ...(local.answer === null && { noLocalAnswer: local.missing }),
      online: this.#o.uplink.online,
      requestBytes,
      elapsedMs: this.#o.clock.nowMonoMs() - startMonoMs,
      isOverBudget: !this.#o.meter.mayAccept(this.name, requestBytes),
      ...(forced && { forced }),
    };
  }

  async #stayLocal(
    subject: Subject,
    input: TaskInput,
    local: LocalOutcome,
    route: Extract<Route, { to: 'edge' }>,
  ): Promise<Accepted> {
    if (local.answer === null)
      return this.#done(subject, this.#results.failure(subject, noAnswer(local.error, route.reason)));
    if (route.audit) await this.#audit(subject, input, local, route.probability);
    return this.#done(subject, this.#results.local(subject, local.answer, route.reason));
  }

  async #askCloud(
    subject: Subject,
    input: TaskInput,
    local: LocalOutcome,
    route: Extract<Route, { to: 'cloud' }> & { readonly priority: Priority },
  ): Promise<Accepted> {
    const request = this.#request(subject, await this.#forTheCloud(input, local), local.answer, {
      reason: route.reason,
      background: false,
      priority: route.priority,
      mayAnswerLocally: route.meanwhile !== 'never',
      probability: route.probability,
    });
    let onFirst: (result: Result) => void = () => undefined;
    const first = new Promise<Result>((resolve) => {
      onFirst = resolve;
    });
    try {
      await this.#escalations.ask(subject, request, route.meanwhile, onFirst);
      this.#asked(input, request);
      return { id: subject.id, first };
    } catch (error) {
      this.#o.logger.failure('pipeline.not_accepted', error, { pipeline: this.name });
      this.#notAccepted(request);
      const { results, answer } = { results: this.#results, answer: local.answer };
      return this.#done(
        subject,
        answer ? results.local(subject, answer, 'outbox-full') : results.failure(subject, toErrorBody(error)),
      );
    }
  }

  /** No larger than the cloud's model can use; as it came where that cannot be had, and encoded in any case. */
  async #forTheCloud(input: TaskInput, local: LocalOutcome): Promise<TaskInput> {
    const raw = readPpm(input.body);
    const sent = await this.#shrunk(input, local);
    if (!raw) {
      const savedBytes = input.body.length - sent.body.length;
      if (savedBytes > 0)
        this.#o.metrics.count('outrider_shrunk_bytes_total', { pipeline: this.name }, savedBytes);
      return sent;
    }
    // Without a runner nobody encodes it better.
    return sent === input
      ? { ...input, contentType: 'image/png', body: await pngOfPpm(input.body, raw) }
      : sent;
  }

  async #shrunk(input: TaskInput, local: LocalOutcome): Promise<TaskInput> {
    const to = this.#shrinkingOf(input);
    if (!to) return input;
    try {
      return (local.answer && local.shrunk) ?? (await this.#o.local.shrink(input, to));
    } catch (error) {
      // The cloud says what is wrong with it.
      this.#o.logger.failure('pipeline.not_shrunk', error, { pipeline: this.name });
      return input;
    }
  }

  /** An audit is not worth an error: without room for it, the answer stands unaudited. */
  async #audit(
    subject: Subject,
    input: TaskInput,
    local: LocalOutcome,
    probability: number | undefined,
  ): Promise<void> {
    const request = this.#request(subject, await this.#forTheCloud(input, local), local.answer, {
      reason: 'audit',
      background: true,
      priority: 'background',
      mayAnswerLocally: false,
      probability,
    });
    try {
      await this.#escalations.ask(subject, request, 'never', () => undefined);
      this.#asked(input, request);
    } catch (error) {
      this.#o.logger.failure('pipeline.audit_not_accepted', error, { pipeline: this.name });
      this.#notAccepted(request);
    }
  }

  #asked({ body }: TaskInput, { local, input }: OutboxRequest): void {
    const ofRequest = readPpm(body) ? input.body.length : body.length;
    const bytes = { ofRequest, sent: input.body.length };
    this.#o.router.asked(local?.model.digest ?? null, bytes);
  }

  #notAccepted({ id, local }: OutboxRequest): void {
    this.#o.router.settle(id, local?.model.digest ?? null, { kind: 'not-accepted' });
  }

  #request(
    subject: Subject,
    input: TaskInput,
    local: LocalAnswer | null,
    how: Pick<OutboxRequest, 'reason' | 'background' | 'priority' | 'mayAnswerLocally' | 'probability'>,
  ): OutboxRequest {
    const { cloud = '', deadlineMs, expiresMs, clock } = this.#o;
    const { id, label } = subject;
    const acceptedAtMs = clock.nowAtMs();
    return {
      id,
      pipeline: this.name,
      task: this.task,
      model: cloud,
      input: this.#asItLeaves(input),
      label,
      ...how,
      local,
      acceptedAtMs,
      deadlineMs,
      expiresMs,
    };
  }

  #asItLeaves(input: TaskInput): TaskInput {
    const redacted = this.#o.redactor?.input(input) ?? input;
    if (TASKS[this.task].inputKind !== 'image' || !this.#o.bare) return redacted;
    return { ...redacted, body: this.#o.bare(redacted.body) };
  }

  /** A Result that needs no cloud: given out, and on its way to the sinks. */
  #done(subject: Subject, result: Result): Accepted {
    this.#o.show(result);
    const delivering = this.#o
      .deliver(result, false)
      .catch((error: unknown) =>
        this.#o.logger.failure('pipeline.not_delivered', error, { pipeline: this.name }),
      );
    this.#delivering.add(delivering);
    void delivering.finally(() => this.#delivering.delete(delivering));
    return { id: subject.id, first: Promise.resolve(result) };
  }
}

/** Routed to an edge that has no answer: say what stands in the way. */
function noAnswer(error: AppError, reason: EdgeReason): ErrorBody {
  if (reason === 'too-large-for-uplink')
    return {
      code: 'INPUT_TOO_LARGE',
      message: 'the input is too large for the uplink, and there is no local answer',
    };
  if (reason === 'over-budget') return toErrorBody(new AppError('OVER_BUDGET'));
  return toErrorBody(error);
}

/** What the link will carry, as far as that is known before it is asked. */
function bytesToSend({ body }: TaskInput, shrunk: TaskInput | undefined): number {
  if (!readPpm(body)) return body.length;
  return shrunk?.body.length ?? Math.ceil(body.length / RAW_OVER_ENCODED);
}

/** What the promise resolves with, where it has; or undefined as soon as the signal aborts. */
function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T | undefined> {
  return new Promise((resolve, reject) => {
    const end = (): void => resolve(undefined);
    // Before the signal is asked: a failure that is there already must not look like an input that the cloud will answer.
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', end));
    if (signal.aborted) void Promise.resolve().then(end);
    else signal.addEventListener('abort', end, { once: true });
  });
}
