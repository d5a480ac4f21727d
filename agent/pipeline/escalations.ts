/**
 * What one pipeline has asked the cloud and not had answered yet: deadlines, replies, expiry, and taking it all up again after a
 * restart. The outbox holds it; in memory stands only what somebody still waits for.
 *
 * escalation        | event                      -> state (Result given out)
 * asked             | reply                      -> done (final)
 * asked             | deadline, or link lost     -> provisional (local, `late` or `offline`), where a local answer may be given
 * asked             | expiry, dropped            -> done (EXPIRED, DROPPED)
 * provisional       | reply                      -> done (final)
 * provisional       | expiry, dropped            -> done (EXPIRED, DROPPED)
 * background audit  | reply that disagrees       -> done (final); any other reply, or expiry -> done (nothing)
 *
 * What ends without an answer is kept among the outbox's dead letters, unless it was an audit or a person dropped it.
 */
import type { Capture } from '../../shared/contract/capture.ts';
import type { Result } from '../../shared/contract/result.ts';
import type { Clock } from '../../shared/runtime/clock.ts';
import { AppError, type ErrorBody, toErrorBody } from '../../shared/runtime/errors.ts';
import type { Logger } from '../../shared/runtime/logger.ts';
import type { Metrics } from '../../shared/runtime/metrics.ts';
import { type LossOptions, USUAL_LOSS } from '../../shared/tasks/loss-options.ts';
import { TASKS, type TaskName } from '../../shared/tasks/tasks.ts';
import type { CloudReply, Outbox, OutboxAsk, OutboxRequest, Route, Router, Uplink } from '../ports.ts';
import type { ResultMaker, Subject } from './results.ts';

/** Pipeline whose requests go to the cloud: its outbox, its router, and who takes the Results. */
export interface EscalationsOptions {
  readonly pipeline: string;
  readonly task: TaskName;
  /** What counts as the same answer. */
  readonly loss?: LossOptions | undefined;
  /** Keeps what the router has learned from. */
  readonly capture?: ((capture: Capture) => void) | undefined;
  readonly deadlineMs: number;
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

/** Nobody has had a Result for it yet. */
interface Waiting {
  readonly subject: Subject;
  /** Kept where the local answer may have to be shown; the outbox has it too. */
  readonly ask: OutboxAsk | undefined;
  readonly onFirst: (result: Result) => void;
  cancelDeadline: () => void;
}

type Outcome = 'answered' | 'failed' | 'expired' | 'dropped';
/** What we gave up ourselves. */
const OUTCOMES = { EXPIRED: 'expired', DROPPED: 'dropped' } as const;

const ASK_AGAIN_MS = 10_000;
/**
 * After a crash the running time may be a minute behind. What is older than its deadline and this has had its local answer;
 * what is younger and not noted as shown may not have had it, and gets it.
 */
const MAYBE_UNSHOWN_MS = 90_000;
const nothing = (): void => undefined;

/** Open questions to the cloud of one pipeline, from acceptance to the final Result. */
export class Escalations {
  readonly #o: EscalationsOptions;
  readonly #waiting = new Map<string, Waiting>();
  /** Ids whose end is under way: a second reply of the same moment changes nothing. */
  readonly #ending = new Set<string>();
  readonly #work = new Set<Promise<void>>();
  readonly #stopping = new AbortController();

  constructor(options: EscalationsOptions) {
    this.#o = options;
  }

  /** Takes up what an earlier run of the agent owes. */
  start(): void {
    const { outbox, uplink, pipeline, deadlineMs } = this.#o;
    const answered: string[] = [];
    const maybeUnshown: string[] = [];
    for (const entry of outbox.open()) {
      if (entry.pipeline !== pipeline) continue;
      if (entry.answered) answered.push(entry.id);
      else uplink.enqueue(entry.id);
      if (!entry.answered && !entry.isShown && entry.ageMs <= deadlineMs + MAYBE_UNSHOWN_MS)
        maybeUnshown.push(entry.id);
    }
    this.#inBackground(this.#resume(answered, (id) => this.#deliverReply(id)));
    this.#inBackground(this.#resume(maybeUnshown, (id) => this.#resumeAsked(id)));
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    for (const { cancelDeadline } of this.#waiting.values()) cancelDeadline();
    await Promise.all(this.#work);
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
    const { input: _stays, ...whole } = request;
    const ask = request.local && request.mayAnswerLocally ? whole : undefined;
    if (!request.background)
      this.#waiting.set(request.id, { subject, ask, onFirst, cancelDeadline: nothing });
    this.#o.uplink.enqueue(request.id);
    if (meanwhile === 'at-deadline') this.#showLocalAtDeadline(subject, request);
    else if (meanwhile !== 'never') this.#showLocal(request.id, meanwhile);
  }

  /** A final reply of the hub to a request of this pipeline, whenever it comes, and maybe once more. */
  onReply(id: string, reply: CloudReply, roundTripMs: number): void {
    if (this.#isAsked(id)) this.#inBackground(this.#takeReply(id, reply, roundTripMs));
  }

  /** The link was lost: nobody waits for it. */
  onOffline(): void {
    for (const id of [...this.#waiting.keys()]) this.#showLocal(id, 'offline');
  }

  /** It has passed its expiry. */
  expire(id: string): void {
    if (this.#isAsked(id)) this.#inBackground(this.#giveUp(id, 'EXPIRED'));
  }

  /** A person wants no answer any more. */
  async drop(id: string): Promise<void> {
    if (this.#isAsked(id)) await this.#giveUp(id, 'DROPPED');
  }

  /** The local Result that was given while the cloud is asked; made again, since there may be very many. */
  async provisional(id: string): Promise<Result | undefined> {
    if (!this.#isAsked(id) || this.#waiting.has(id)) return undefined;
    const ask = await this.#o.outbox.readAsk(id);
    if (!ask?.local || (!ask.background && !ask.mayAnswerLocally)) return undefined;
    const subject = this.#subjectOf(ask);
    return this.#o.results.local(subject, ask.local, ask.background ? 'confident' : 'late', !ask.background);
  }

  /** An open one of this pipeline that no reply has come for. */
  #isAsked(id: string): boolean {
    const entry = this.#o.outbox.find(id);
    return entry?.pipeline === this.#o.pipeline && !entry.answered && !this.#ending.has(id);
  }

  #showLocalAtDeadline({ startMonoMs }: Subject, { id, deadlineMs }: OutboxRequest): void {
    const waiting = this.#waiting.get(id);
    if (!waiting?.ask) return;
    const leftMs = deadlineMs - (this.#o.clock.nowMonoMs() - startMonoMs);
    waiting.cancelDeadline = this.#o.clock.after(Math.max(0, leftMs), () => this.#showLocal(id, 'late'));
  }

  /** One by one: there may be very many. */
  async #resume(ids: readonly string[], take: (id: string) => Promise<void>): Promise<void> {
    for (const id of ids) {
      if (this.#stopping.signal.aborted) return;
      try {
        await take(id);
      } catch (error) {
        this.#o.logger.failure('escalations.unreadable', error, { requestId: id });
        // One that waits passes its expiry in time; of one that was answered nothing is left that could be given to anybody.
        if (this.#o.outbox.find(id)?.answered) await this.#end(id, undefined, 'failed', undefined);
      }
    }
  }

  async #resumeAsked(id: string): Promise<void> {
    const ask = await this.#o.outbox.readAsk(id);
    // Answered while the disk was read, or its audit's local Result stands.
    if (!ask?.local || !ask.mayAnswerLocally || ask.background || !this.#isAsked(id)) return;
    this.#waiting.set(id, { subject: this.#subjectOf(ask), ask, onFirst: nothing, cancelDeadline: nothing });
    this.#showLocal(id, 'late');
  }

  async #deliverReply(id: string): Promise<void> {
    const entry = await this.#o.outbox.read(id);
    if (!entry?.reply) return;
    this.#ending.add(id);
    const { input: _stays, ...ask } = entry.request;
    const { reply } = entry;
    const final = this.#finalResult(this.#subjectOf(ask), ask, reply, null);
    this.#showFinal(id, final);
    this.#inBackground(
      this.#end(id, final, outcomeOf(reply), asDeadLetter(ask, reply)).finally(() => this.#ending.delete(id)),
    );
  }

  #showLocal(id: string, reason: 'late' | 'offline'): void {
    const waiting = this.#waiting.get(id);
    if (!waiting?.ask?.local) return;
    this.#waiting.delete(id);
    waiting.cancelDeadline();
    const result = this.#o.results.local(waiting.subject, waiting.ask.local, reason, true);
    this.#o.show(result);
    waiting.onFirst(result);
    this.#inBackground(this.#deliverLocal(result));
  }

  /** On disk only after the sinks: killed in between, they get it twice rather than never. */
  async #deliverLocal(result: Result): Promise<void> {
    await this.#o.deliver(result, false);
    await this.#o.outbox.noteShown(result.id);
  }

  async #takeReply(id: string, reply: CloudReply, roundTripMs: number): Promise<void> {
    this.#ending.add(id);
    try {
      const { subject, ask } = await this.#known(id);
      this.#learn(subject, ask, reply, roundTripMs);
      const final = this.#finalResult(subject, ask, reply, roundTripMs);
      // People see it now; sinks get it once it is on disk, so that no restart can give them another one.
      this.#showFinal(id, final);
      await this.#o.outbox.answer(id, reply).catch((error: unknown) => this.#askAgainLater(id, error));
      await this.#end(id, final, outcomeOf(reply), asDeadLetter(ask, reply));
    } finally {
      this.#ending.delete(id);
    }
  }

  /**
   * On disk before anybody hears of it, as a reply is: after a crash the running time is up to a minute behind, the request would
   * be asked again, and a sink that has had EXPIRED would get the cloud's answer too.
   */
  async #giveUp(id: string, code: 'EXPIRED' | 'DROPPED'): Promise<void> {
    this.#ending.add(id);
    try {
      const error = toErrorBody(new AppError(code));
      const known = await this.#known(id).catch(() => undefined);
      const isAudit = known?.ask.background === true;
      const subject = known?.subject ?? this.#subjectOf({ id, label: null });
      const final = isAudit ? undefined : this.#o.results.failure(subject, error);
      await this.#o.outbox.answer(id, { ok: false, error });
      this.#o.router.settle(id, known?.ask.local?.model.digest ?? null, { kind: 'expired' });
      this.#showFinal(id, final);
      const letter = isAudit || code === 'DROPPED' ? undefined : error;
      await this.#end(id, final, OUTCOMES[code], letter);
    } finally {
      this.#ending.delete(id);
    }
  }

  /** No space for the reply, not even in reserve: the entry stays owed. */
  #askAgainLater(id: string, error: unknown): never {
    const asking = this.#o.clock
      .sleep(ASK_AGAIN_MS, this.#stopping.signal)
      .then(() => this.#o.uplink.enqueue(id), nothing);
    this.#inBackground(asking);
    throw error;
  }

  #showFinal(id: string, final: Result | undefined): void {
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    waiting?.cancelDeadline();
    if (!final) return;
    this.#o.show(final);
    waiting?.onFirst(final);
  }

  /** From memory while somebody waits, else from disk. @throws DATA_CORRUPT */
  async #known(id: string): Promise<{ readonly subject: Subject; readonly ask: OutboxAsk }> {
    const waiting = this.#waiting.get(id);
    const ask = waiting?.ask ?? (await this.#o.outbox.readAsk(id));
    if (!ask) throw new AppError('INVARIANT_BROKEN', 'an open request has left the outbox');
    return { subject: waiting?.subject ?? this.#subjectOf(ask), ask };
  }

  /** @param letter keep the request among the dead letters, for this reason */
  async #end(
    id: string,
    final: Result | undefined,
    outcome: Outcome,
    letter: ErrorBody | undefined,
  ): Promise<void> {
    this.#count('outrider_escalations_ended_total', { outcome });
    // Not taken before a stop: the entry stays, and the next start delivers it.
    if (final) await this.#o.deliver(final, true);
    if (letter) await this.#o.outbox.bury(id, letter);
    else await this.#o.outbox.close(id);
  }

  /** As if it had been accepted now, less the time that it has waited. */
  #subjectOf({ id, label }: Pick<OutboxAsk, 'id' | 'label'>): Subject {
    const ageMs = this.#o.outbox.find(id)?.ageMs ?? 0;
    return { id, label, startMonoMs: this.#o.clock.nowMonoMs() - ageMs };
  }

  #learn({ startMonoMs }: Subject, ask: OutboxAsk, reply: CloudReply, roundTripMs: number): void {
    const { router, clock } = this.#o;
    const { id, task, local, background } = ask;
    if (reply.ok) router.cloudModelSeen(reply.model);
    const edgeDigest = local?.model.digest ?? null;
    if (!reply.ok) {
      router.settle(id, edgeDigest, { kind: 'failed' });
      return;
    }
    const loss = local ? this.#lossOf(local.output, reply.output) : 0;
    const weight = router.settle(id, edgeDigest, {
      kind: 'answered',
      loss,
      waitedMs: background ? null : clock.nowMonoMs() - startMonoMs,
      roundTripMs: background ? null : roundTripMs,
    });
    if (weight === null || !local) return;
    const answers = { local: local.output, cloud: reply.output };
    this.#o.capture?.({ id, task, score: local.routeScore, ...answers, loss, weight, atMs: clock.nowAtMs() });
  }

  /** @returns undefined where nothing new is to be said: an audit that agreed or failed */
  #finalResult(
    subject: Subject,
    { local, background, reason }: OutboxAsk,
    reply: CloudReply,
    roundTripMs: number | null,
  ): Result | undefined {
    const { results } = this.#o;
    if (reply.ok) {
      if (background && local && this.#lossOf(local.output, reply.output) === 0) return undefined;
      return results.cloud(subject, reply, reason, roundTripMs);
    }
    if (background) return undefined;
    if (reply.error.code in OUTCOMES) return results.failure(subject, reply.error);
    return local ? results.local(subject, local, 'cloud-failed') : results.failure(subject, reply.error);
  }

  #lossOf(local: unknown, cloud: unknown): number {
    return TASKS[this.#o.task].judge.lossOf(local, cloud, this.#o.loss ?? USUAL_LOSS);
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

/** What the hub has refused for good is kept for people; of an audit nobody waits for. */
function asDeadLetter({ background }: OutboxAsk, reply: CloudReply): ErrorBody | undefined {
  if (reply.ok || background || reply.error.code === 'DROPPED') return undefined;
  return { code: reply.error.code, message: reply.error.message };
}

function outcomeOf(reply: CloudReply): Outcome {
  if (reply.ok) return 'answered';
  const { code } = reply.error;
  return code === 'EXPIRED' || code === 'DROPPED' ? OUTCOMES[code] : 'failed';
}
