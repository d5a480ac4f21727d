/**
 * What one pipeline has asked the cloud and not had answered yet: deadlines, replies, expiry, and taking it all up again after a
 * restart. Inputs stay in the outbox; here stands only what the next Result needs.
 *
 * escalation        | event                      -> state (Result given out)
 * asked             | reply                      -> done (final)
 * asked             | deadline, or link lost     -> provisional (local, `late` or `offline`), where a local answer may be given
 * asked             | expiry                     -> done (EXPIRED)
 * provisional       | reply                      -> done (final)
 * provisional       | expiry                     -> done (EXPIRED)
 * background audit  | reply that disagrees       -> done (final); any other reply, or expiry -> done (nothing)
 */
import type { Result } from '../shared/contract/result.ts';
import type { TaskName } from '../shared/contract/tasks.ts';
import type { Clock } from '../shared/runtime/clock.ts';
import { ERRORS } from '../shared/runtime/errors.ts';
import type { Logger } from '../shared/runtime/logger.ts';
import type { Metrics } from '../shared/runtime/metrics.ts';
import { lossOf } from './loss.ts';
import type { CloudReply, Outbox, OutboxEntry, OutboxRequest, Route, Router, Uplink } from './ports.ts';
import type { ResultMaker, Subject } from './results.ts';

export interface EscalationsOptions {
  readonly pipeline: string;
  readonly task: TaskName;
  readonly results: ResultMaker;
  readonly router: Router;
  readonly outbox: Outbox;
  readonly uplink: Uplink;
  readonly show: (result: Result) => void;
  readonly deliver: (result: Result, isOwed: boolean) => Promise<void>;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

/** An open escalation. */
interface Open {
  readonly subject: Subject;
  readonly request: Omit<OutboxRequest, 'input'>;
  /** A first Result has been given out, or none is owed. */
  shown: boolean;
  readonly onFirst: (result: Result) => void;
  cancelDeadline: () => void;
}

type Outcome = 'answered' | 'failed' | 'expired';
const EXPIRED: CloudReply = { ok: false, error: { code: 'EXPIRED', message: ERRORS.EXPIRED.meaning } };
const SWEEP_EVERY_MS = 1_000;
const ASK_AGAIN_MS = 10_000;
const nothing = (): void => undefined;

export class Escalations {
  readonly #o: EscalationsOptions;
  readonly #open = new Map<string, Open>();
  readonly #work = new Set<Promise<void>>();
  #cancelSweep = nothing;

  constructor(options: EscalationsOptions) {
    this.#o = options;
  }

  /** Takes up what an earlier run of the agent owes. */
  async start(): Promise<void> {
    for (const { id, pipeline } of [...this.#o.outbox.open()]) {
      if (pipeline === this.#o.pipeline) await this.#resume(id);
    }
    this.#sweep();
  }

  async stop(): Promise<void> {
    this.#cancelSweep();
    for (const { cancelDeadline } of this.#open.values()) cancelDeadline();
    await Promise.all(this.#work);
  }

  /** Entries that the cloud owes an answer, or whose answer a sink has not taken yet. */
  get owed(): number {
    let count = 0;
    for (const { pipeline } of this.#o.outbox.open()) if (pipeline === this.#o.pipeline) count++;
    return count;
  }

  /**
   * Puts the request on disk and asks.
   *
   * @param onFirst gets the first Result
   * @throws OUTBOX_FULL, DISK_FULL (nothing was accepted)
   */
  async ask(
    subject: Subject,
    request: OutboxRequest,
    meanwhile: Extract<Route, { to: 'cloud' }>['meanwhile'],
    onFirst: (result: Result) => void,
  ): Promise<void> {
    await this.#o.outbox.put(request);
    this.#count('outrider_escalations_total', { reason: request.reason });
    const open = this.#hold(subject, request, onFirst);
    this.#o.uplink.enqueue(request.id);
    if (meanwhile === 'now') this.#showLocal(open, 'offline');
    if (meanwhile === 'at-deadline') {
      const leftMs = request.deadlineMs - (this.#o.clock.nowMonoMs() - subject.startMonoMs);
      open.cancelDeadline = this.#o.clock.after(Math.max(0, leftMs), () => this.#showLocal(open, 'late'));
    }
  }

  /** A final reply of the hub, whenever it comes; one for another pipeline is not ours. */
  onReply(id: string, reply: CloudReply, roundTripMs: number): void {
    const open = this.#open.get(id);
    if (open) this.#inBackground(this.#takeReply(open, reply, roundTripMs));
  }

  /** The link was lost: nobody waits for it. */
  onOffline(): void {
    for (const open of this.#open.values()) this.#showLocal(open, 'offline');
  }

  #hold(
    subject: Subject,
    { input: _stays, ...request }: OutboxRequest,
    onFirst: (result: Result) => void,
  ): Open {
    const open: Open = { subject, request, shown: request.background, onFirst, cancelDeadline: nothing };
    this.#open.set(request.id, open);
    return open;
  }

  async #resume(id: string): Promise<void> {
    const entry = await this.#read(id);
    if (!entry) return;
    const { request, reply } = entry;
    const open = this.#hold(
      { id, label: request.label, startMonoMs: this.#o.clock.nowMonoMs() },
      request,
      nothing,
    );
    if (reply) {
      this.#inBackground(this.#deliverReply(open, reply, null));
      return;
    }
    // The provisional answer may or may not have reached the sinks: it is given again.
    this.#showLocal(open, 'late');
    this.#o.uplink.enqueue(id);
  }

  #showLocal(open: Open, reason: 'late' | 'offline'): void {
    if (open.shown || !open.request.local || !open.request.mayAnswerLocally) return;
    open.shown = true;
    open.cancelDeadline();
    const result = this.#o.results.local(open.subject, open.request.local, reason, true);
    this.#o.show(result);
    open.onFirst(result);
    this.#inBackground(this.#o.deliver(result, false));
  }

  async #takeReply(open: Open, reply: CloudReply, roundTripMs: number): Promise<void> {
    const { id } = open.request;
    this.#learn(open, reply);
    // People see it now; sinks get it once it is on disk, so that no restart can give them another one.
    this.#forget(open);
    const final = this.#finalResult(open, reply, roundTripMs);
    this.#showFinal(open, final);
    try {
      await this.#o.outbox.answer(id, reply);
    } catch (error) {
      // Not on disk (no space left even in reserve): the entry stays owed, and the hub is asked again later.
      this.#open.set(id, open);
      open.shown = true;
      open.cancelDeadline = this.#o.clock.after(ASK_AGAIN_MS, () => this.#o.uplink.enqueue(id));
      throw error;
    }
    await this.#end(id, final, outcomeOf(reply));
  }

  async #deliverReply(open: Open, reply: CloudReply, roundTripMs: number | null): Promise<void> {
    this.#forget(open);
    const final = this.#finalResult(open, reply, roundTripMs);
    this.#showFinal(open, final);
    await this.#end(open.request.id, final, outcomeOf(reply));
  }

  /**
   * On disk before anybody hears of it, as a reply is: after a crash the running time is up to a minute behind, the request would
   * be asked again, and a sink that has had EXPIRED would get the cloud's answer too.
   */
  async #expire(open: Open): Promise<void> {
    const { id } = open.request;
    this.#forget(open);
    try {
      await this.#o.outbox.answer(id, EXPIRED);
    } catch (error) {
      this.#o.clock.after(ASK_AGAIN_MS, () => this.#open.set(id, open));
      throw error;
    }
    this.#o.router.settle(id, null);
    await this.#deliverReply(open, EXPIRED, null);
  }

  #showFinal(open: Open, final: Result | undefined): void {
    if (!final) return;
    this.#o.show(final);
    open.onFirst(final);
  }

  async #end(id: string, final: Result | undefined, outcome: Outcome): Promise<void> {
    this.#count('outrider_escalations_ended_total', { outcome });
    // Not taken before a stop: the entry stays, and the next start delivers it.
    if (final) await this.#o.deliver(final, true);
    await this.#o.outbox.close(id);
  }

  #forget(open: Open): void {
    this.#open.delete(open.request.id);
    open.cancelDeadline();
  }

  #learn({ request }: Open, reply: CloudReply): void {
    if (reply.ok) this.#o.router.cloudModelSeen(reply.model);
    const loss = reply.ok && request.local ? lossOf(request.task, request.local.output, reply.output) : null;
    this.#o.router.settle(request.id, loss);
  }

  /** @returns undefined where nothing new is to be said: an audit that agreed or failed */
  #finalResult(
    { subject, request }: Open,
    reply: CloudReply,
    roundTripMs: number | null,
  ): Result | undefined {
    const { results } = this.#o;
    const { local, background, reason, task } = request;
    if (reply.ok) {
      if (background && local && lossOf(task, local.output, reply.output) === 0) return undefined;
      return results.cloud(subject, reply, reason, roundTripMs);
    }
    if (background) return undefined;
    if (reply.error.code === 'EXPIRED') return results.failure(subject, reply.error);
    return local ? results.local(subject, local, 'cloud-failed') : results.failure(subject, reply.error);
  }

  /** Gives up what has passed its expiry. */
  #sweep(): void {
    for (const open of [...this.#open.values()]) {
      if ((this.#o.outbox.msUntilExpiry(open.request.id) ?? 0) <= 0) this.#inBackground(this.#expire(open));
    }
    this.#cancelSweep = this.#o.clock.after(SWEEP_EVERY_MS, () => this.#sweep());
  }

  async #read(id: string): Promise<OutboxEntry | undefined> {
    try {
      return await this.#o.outbox.read(id);
    } catch (error) {
      this.#o.logger.failure('escalations.unreadable', error, { requestId: id });
      return undefined;
    }
  }

  #inBackground(work: Promise<void>): void {
    const watched = work.catch((error: unknown) =>
      this.#o.logger.failure('escalations.failed', error, { pipeline: this.#o.pipeline }),
    );
    this.#work.add(watched);
    void watched.finally(() => this.#work.delete(watched));
  }

  #count(name: string, labels: Record<string, string>): void {
    this.#o.metrics.count(name, { pipeline: this.#o.pipeline, ...labels });
  }
}

function outcomeOf(reply: CloudReply): Outcome {
  if (reply.ok) return 'answered';
  return reply.error.code === 'EXPIRED' ? 'expired' : 'failed';
}
