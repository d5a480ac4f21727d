/** The interfaces between the agent's parts; types only. `main.ts` plugs them together, `pipeline.ts` speaks to them. */

import type { DiskKind } from '../shared/contract/disk-status.ts';
import type { FeedState } from '../shared/contract/feed-status.ts';
import type { LinkPurpose, LinkUse, ReplyError, ReplyTimingsMs } from '../shared/contract/messages.ts';
import type { ModelRef } from '../shared/contract/names.ts';
import type { CloudReason, EdgeReason, Result } from '../shared/contract/result.ts';
import type { RouteEvidence } from '../shared/contract/routing.ts';
import type { SentRecord } from '../shared/contract/sent.ts';
import type { SinkType } from '../shared/contract/sink-status.ts';
import type { ShrinkBelow, Shrinking } from '../shared/inference/runner/runner.ts';
import type { ModelFolder } from '../shared/release/folder/model-folder.ts';
import type { CloudCertificate } from '../shared/release/folder/model-spec.ts';
import type { AgentArchive, Delta, Release } from '../shared/release/release.ts';
import type { AppError, ErrorBody, ErrorCode } from '../shared/runtime/errors.ts';
import type { TaskInput, TaskName } from '../shared/tasks/tasks.ts';

/** One input as a feed yields it. */
export interface FeedItem {
  readonly input: TaskInput;
  /** How people know it: a file's name, a line's number. */
  readonly label: string | null;
}

/** Takes an input of a feed. @returns why there is no answer to it; undefined: it is answered, or safe for the cloud */
export type TakeInput = (item: FeedItem) => Promise<ErrorCode | undefined>;

/** How a feed says what it is doing; that its source is away it says by throwing. @param reason why it is stalled */
export type TellFeed = (
  state: Extract<FeedState, 'live' | 'still' | 'asleep' | 'stalled'>,
  reason?: AppError,
) => void;

/** Where inputs come from. A feed waits for `take` to return before it yields the next one. */
export interface Feed {
  /**
   * Runs until the feed ends (a folder gone through once) or the signal aborts.
   *
   * @throws FILE_UNREADABLE, NOT_A_FILE, or what else keeps its source away: it is run again later
   */
  run(take: TakeInput, signal: AbortSignal, tell?: TellFeed): Promise<void>;
  /** What it reads, for people; nothing secret. */
  readonly about?: string | undefined;
}

/** The local model of a pipeline. */
export interface LocalModel {
  /** null while no model is loaded. */
  readonly model: ModelRef | null;
  /**
   * @param shrink where it holds, the picture comes along, made smaller: one walk to the runner instead of two
   * @throws the input's own error, MODEL_NOT_LOADED, RUNNER_CRASHED, RUNNER_TIMEOUT
   */
  infer(input: TaskInput, shrink?: ShrinkBelow): Promise<LocalInference>;
  /** Brings a picture to a size; one that would grow by it stays as it is. @throws the picture's own error, MODEL_NOT_LOADED, RUNNER_* */
  shrink(input: TaskInput, to: Shrinking): Promise<TaskInput>;
}

/** Counts what each version of the models does, for the hub's rollouts. */
export interface VersionMeter {
  /** Another version answers from now on. */
  began(model: ModelRef): void;
  /** @param ms preprocessing and inference; null: measured beside another version, which tells nothing */
  answered(model: ModelRef, ms: number | null): void;
  /** It could not answer an input with which nothing was wrong. */
  failed(model: ModelRef): void;
  /** Its runner has ended, and nobody had asked for that; or it did not come up. */
  crashed(model: ModelRef): void;
  /** Its runner holds so many bytes of memory. */
  holds(model: ModelRef, residentBytes: number): void;
}

/** Counts how local answers compare with the cloud's, by the version that gave them. */
export interface RouteMeter {
  /** @param loss 0..1; null: the cloud was not asked @param probability that it would be */
  judged(edgeDigest: string, loss: number | null, probability: number): void;
  /** By a router that has seen enough. */
  routed(edgeDigest: string, isEscalated: boolean): void;
}

/** A version of a model that lies on this device, checked. */
export interface SlotVersion {
  readonly ref: ModelRef;
  readonly folder: ModelFolder;
}

/** How a trial ended. */
export type TrialEnd =
  | { readonly kind: 'passed' }
  | { readonly kind: 'failed'; readonly error: AppError }
  | { readonly kind: 'stopped' };

/** The place of one model, as the updater sees it. What answers meanwhile is never missing. */
export interface UpdatableSlot {
  /** What answers now; null while nothing does. */
  readonly model: ModelRef | null;
  /** The hub calls what is active by this number; a ref of another digest is ignored. */
  rename(ref: ModelRef): void;
  /**
   * Starts a new version and tests it; nobody is answered by it yet.
   *
   * @returns by what it was tested
   * @throws MODEL_INVALID, MODEL_SELF_TEST_FAILED, RUNNER_* (its runner is gone then), STOPPING
   */
  prepare(version: SlotVersion): Promise<'golden' | 'smoke'>;
  /** From now on it answers. */
  startTrial(): { readonly ended: Promise<TrialEnd>; readonly answers: number };
  /** It stays; the one before is let finish and goes. */
  commit(): Promise<void>;
  /** It goes, and the one before answers again. */
  discard(): Promise<void>;
}

/** The hub's signed metadata, checked. */
export interface ReleaseBook {
  /** @throws UPDATE_UNTRUSTED, UPDATE_EXPIRED, UPDATE_OLDER, HUB_UNREACHABLE, HUB_FAILED; what was known stays */
  refresh(): Promise<void>;
  /** undefined when it is not listed */
  release(name: string, version: string): Release | undefined;
  /** Every delta that is listed. */
  deltas(): readonly Delta[];
}

/** Source of model updates: signed metadata, and the files that they list. */
export interface UpdateSource {
  /** undefined: there is no hub to ask, or no credential yet. @throws HUB_UNREACHABLE, HUB_FAILED */
  book(): Promise<ReleaseBook | undefined>;
  /**
   * The bytes of a signed target from `offset` on, as they come.
   *
   * @param path consistent path below the targets
   * @throws HUB_UNREACHABLE, DOWNLOAD_INCOMPLETE, or what the hub says
   */
  open(path: string, offset: number, signal: AbortSignal): Promise<AsyncIterable<Uint8Array>>;
}

/** Releases of the agent that the signed metadata list. */
export interface AgentBook {
  /** @throws as of `ReleaseBook` */
  refresh(): Promise<void>;
  /** undefined when none is listed for this platform. @throws what has come in the way of whoever may list it */
  archive(version: string, platform: string): AgentArchive | undefined;
}

/** Source of updates of the agent itself. */
export interface SelfUpdateSource extends Pick<UpdateSource, 'open'> {
  /** undefined: there is no hub to ask, or no credential yet. @throws HUB_UNREACHABLE, HUB_FAILED */
  book(): Promise<AgentBook | undefined>;
  /** Brings the signed metadata as they are now, whole, for somebody else to verify from the first root on. @throws as `refresh`, DISK_FULL */
  collect(to: string): Promise<void>;
}

/** Answer of the local model, with the score by which it is routed. */
export interface LocalAnswer {
  readonly output: unknown;
  /** Unbounded, higher is surer. */
  readonly routeScore: number;
  /** The input is longer than the model reads: it has answered a part of it. */
  readonly isCut?: boolean | undefined;
  readonly model: ModelRef;
  readonly timingsMs: { readonly preprocess: number; readonly inference: number };
}

/** A local answer, and maybe its picture as the cloud is to get it. */
export interface LocalInference extends LocalAnswer {
  readonly shrunk?: TaskInput;
}

/** Facts of one request by which the router decides. */
export interface RouteQuestion {
  /** null: there is no local answer (no model, or it failed). */
  readonly routeScore: number | null;
  /** Digest of the local model that gave the score: another version may answer the next one. */
  readonly edgeDigest: string | null;
  /** What the local model says, where that is a label. */
  readonly label: string | null;
  readonly noLocalAnswer?: 'no-edge-model' | 'edge-failed';
  /** The local model has read a part of the input only. */
  readonly isCut?: boolean | undefined;
  readonly online: boolean;
  /** Size of the input. */
  readonly requestBytes: number;
  /** Since it was accepted. */
  readonly elapsedMs: number;
  readonly forced?: 'edge' | 'cloud';
  /** The bytes of the day are used up. */
  readonly isOverBudget?: boolean;
}

/**
 * Route of a request: which side answers. `edge` may be chosen where there is no local answer: then the input fails.
 * `audit`: the local answer stands, the cloud is asked in the background by lot.
 * `meanwhile`: when the asker gets the local answer while the cloud's is under way; `offline` and `late`: at once, for that reason.
 */
export type Route =
  | {
      readonly to: 'edge';
      readonly reason: EdgeReason;
      readonly audit: boolean;
      /** That it would be audited, where it is. */
      readonly probability?: number;
    }
  | {
      readonly to: 'cloud';
      readonly reason: CloudReason;
      readonly meanwhile: 'at-deadline' | 'offline' | 'late' | 'never';
      /** That it would be asked, where the lot has said so. */
      readonly probability?: number;
    };

/** Outcome of a request that was to be asked. */
export type AskOutcome =
  | {
      readonly kind: 'answered';
      /** 0..1, how much the local answer differs from the cloud's. */
      readonly loss: number;
      /** From acceptance to the answer; null: nobody waited. */
      readonly waitedMs: number | null;
      /** From the last publish to the reply; null: in the background, or in an earlier run. */
      readonly roundTripMs: number | null;
    }
  /** Refused by the hub for good; given up (by its expiry or by a person); no room for it. */
  | { readonly kind: 'failed' | 'expired' | 'not-accepted' };

/** Decides, and learns from replies. Pure but for its own state. */
export interface Router {
  /** @param id the request's id, by which `settle` names it later */
  choose(id: string, question: RouteQuestion): Route;
  /** Calibrated probability 0..1 that the cloud would say the same as this local answer; null without evidence. */
  agreementAt(answer: Pick<LocalAnswer, 'routeScore' | 'model' | 'output'>): number | null;
  /**
   * Route score below which a local answer will hardly stay; null: none will; undefined: all will, or it cannot be told. Known before
   * the answer is, and no more than a hint: lot, budget and link have their say in `choose`.
   */
  askedBelow(forced: 'edge' | 'cloud' | undefined): number | null | undefined;
  /** A request is on disk for the cloud. @param edgeDigest the version that gave the local answer; null: there is none */
  asked(edgeDigest: string | null, bytes: { readonly ofRequest: number; readonly sent: number }): void;
  /**
   * What became of an escalation or audit sample, in whatever order replies come.
   *
   * @returns 1 / probability of having been asked, where the answer teaches; else null
   */
  settle(id: string, edgeDigest: string | null, outcome: AskOutcome): number | null;
  /** Which cloud model answers now; evidence about another is none. */
  cloudModelSeen(model: ModelRef): void;
  /** Which version of the local model answers now, and what it was certified for. */
  edgeModelSeen(digest: string, certificate: CloudCertificate | undefined): void;
  /** What the status page, telemetry and metrics show. */
  status(): RouteEvidence;
}

/** Order of sending: a caller that waits, a feed, an audit in the background. */
export type Priority = 'interactive' | 'feed' | 'background';

/** Everything that must survive a power cut between accepting a request and answering it. */
export interface OutboxRequest {
  readonly id: string;
  readonly pipeline: string;
  readonly task: TaskName;
  /** The cloud model that is asked. */
  readonly model: string;
  readonly input: TaskInput;
  readonly label: string | null;
  readonly reason: CloudReason;
  /** Whether the local answer already stands and only a different reply counts. */
  readonly background: boolean;
  readonly priority: Priority;
  /** False: there is no answer until the cloud's comes (`whenOffline: queue`). */
  readonly mayAnswerLocally: boolean;
  readonly local: LocalAnswer | null;
  /** That it would be asked, given its score, 0..1; left out where that is not known. */
  readonly probability?: number | undefined;
  readonly acceptedAtMs: number;
  readonly deadlineMs: number;
  readonly expiresMs: number;
}

/** A request without its input. */
export type OutboxAsk = Omit<OutboxRequest, 'input'>;

/** The hub's answer, as it is kept. */
export type CloudReply =
  | {
      readonly ok: true;
      readonly output: unknown;
      readonly model: ModelRef;
      readonly timingsMs: ReplyTimingsMs;
    }
  | { readonly ok: false; readonly error: ReplyError };

/** An accepted request that is not closed yet, as it is read back from disk. */
export interface OutboxEntry {
  readonly request: OutboxRequest;
  /** Set once its reply is on disk. */
  readonly reply: CloudReply | undefined;
}

/** Open entry of the outbox as it is kept in memory; inputs stay on disk. */
export interface OpenEntry {
  readonly id: string;
  readonly pipeline: string;
  readonly priority: Priority;
  /** Of the input. */
  readonly bodyBytes: number;
  readonly answered: boolean;
  /** Every sink has had its provisional Result. */
  readonly isShown: boolean;
  readonly acceptedAtMs: number;
  /** Milliseconds of the agent's running time since it was accepted. */
  readonly ageMs: number;
  /** Milliseconds of the agent's running time until it may be given up; negative when it may. */
  readonly expiresMs: number;
}

/** A request that was given up, with the reason. */
export interface DeadLetter {
  readonly request: OutboxRequest;
  readonly error: ErrorBody;
  readonly atMs: number;
}

/** Dead letter without its input. */
export interface DeadLetterNote extends Omit<DeadLetter, 'request'> {
  readonly ask: OutboxAsk;
  /** Of the input. */
  readonly bodyBytes: number;
}

/** Durable waiting room: what it has accepted is on disk. */
export interface Outbox {
  /** On disk when it returns. @throws OUTBOX_FULL, DISK_FULL (nothing was accepted) */
  put(request: OutboxRequest): Promise<void>;
  /** Records the reply; on disk when it returns. A second reply, or one for an unknown id, is ignored: false. */
  answer(id: string, reply: CloudReply): Promise<boolean>;
  /** Every sink has had its provisional Result: no restart gives it again. A power cut may forget it, a kill does not. */
  noteShown(id: string): Promise<void>;
  /** The results have been taken by every sink, or nothing more is owed: the entry goes. */
  close(id: string): Promise<void>;
  /** Closes it as well, and keeps the request among the dead letters. */
  bury(id: string, error: ErrorBody): Promise<void>;
  /** Reads an open entry back. @throws DATA_CORRUPT */
  read(id: string): Promise<OutboxEntry | undefined>;
  /** Reads it without its input, however large that is. @throws DATA_CORRUPT */
  readAsk(id: string): Promise<OutboxAsk | undefined>;
  /** undefined when it is not open. */
  find(id: string): OpenEntry | undefined;
  /** All open entries, oldest first. */
  open(): Iterable<OpenEntry>;
  has(id: string): boolean;
  /** Open entries of a pipeline, and the bytes of their inputs. */
  waiting(pipeline: string): { readonly entries: number; readonly bytes: number };
  /** Ids of the requests that were given up, oldest first. */
  deadLetters(): readonly string[];
  /** @throws DATA_CORRUPT */
  describeDeadLetter(id: string): Promise<DeadLetterNote | undefined>;
  /** @throws DATA_CORRUPT */
  readDeadLetter(id: string): Promise<DeadLetter | undefined>;
  /** @returns false when there is none of this id */
  dropDeadLetter(id: string): Promise<boolean>;
  readonly depth: OutboxDepth;
}

/** Fill of the outbox: open entries, their bytes, and the oldest of them. */
export interface OutboxDepth {
  readonly entries: number;
  readonly bytes: number;
  readonly oldestAtMs: number | null;
  readonly deadLetters: number;
}

/** Count of the bytes over the link, and whether more may go. */
export interface LinkMeter {
  /** @param pipeline null: for none of them */
  count(pipeline: string | null, purpose: LinkPurpose, direction: 'up' | 'down', bytes: number): void;
  /** False once the day's cap for the whole link is reached. */
  mayTransmit(): boolean;
  /** Whether a request of this size is within the day's caps of the link and of its pipeline. */
  mayAccept(pipeline: string, bytes: number): boolean;
  /** The day's use so far. */
  today(): { readonly day: string; readonly capBytes: number | undefined; readonly use: readonly LinkUse[] };
}

/** The link to the hub. */
export interface Uplink {
  /** A broker is connected and a hub is present. */
  readonly online: boolean;
  /** The largest input that the link takes, in one message or in chunks. */
  readonly maxRequestBytes: number;
  /** Sends, or sends again, as soon as the link allows; returns at once. */
  enqueue(id: string): void;
  /** Sends it at once, however long it should have waited before the next try. */
  hurry(id: string): void;
  /** A final reply has come (possibly once more); `roundTripMs` from the last publish. */
  onReply(take: (id: string, reply: CloudReply, roundTripMs: number) => void): void;
  /** `online` has changed. */
  onChange(take: (online: boolean) => void): void;
}

/** Receiver of a pipeline’s Results. */
export interface Sink {
  readonly name: string;
  /** Kind of it, where a Fanout speaks for it. */
  readonly type?: SinkType;
  /** Whether it is given this one; asked once for each, in the order in which they come. All, when left out. */
  wants?(result: Result): boolean;
  /** Resolves when the result is safe there. @throws anything: it is tried again, then dead-lettered */
  put(result: Result): Promise<void>;
  /** How it says what becomes of its Results, where `put` is not the end of it; then nobody says it in its place. */
  readonly tell?: TellSink;
}

/** How a sink says what it is doing; each call is counted. */
export interface TellSink {
  /** A Result has got there. */
  delivered(): void;
  /** A Result was not taken, and is tried again. */
  refused(why: AppError): void;
  /** Results that will not get there. */
  dropped(
    outcome: 'dead-lettered' | 'lost' | 'over-bytes' | 'over-age' | 'disabled' | 'no-picture',
    by?: number,
  ): void;
  /** The other side wants nothing any more. */
  disabled(why: AppError): void;
}

/** How the picture of a Result is to look. */
export interface PictureWish {
  /** Of its longer side, px; none is enlarged. */
  readonly longestPx: number;
  /** With the boxes and labels of the answer drawn into it. */
  readonly annotate: boolean;
  /** One that is larger is not given. */
  readonly maxBytes: number;
}

/** The picture that a Result is about, as a JPEG; undefined where it is gone. @throws RUNNER_*, or what is wrong with it */
export type PictureOf = (result: Result, wish: PictureWish) => Promise<Uint8Array | undefined>;

/** Takes what names people out of texts before they leave a pipeline. */
export interface Redactor {
  text(text: string): string;
  /** Every text of an input that is a text or JSON; anything else as it came. */
  input(input: TaskInput): TaskInput;
  /** Every text of an answer. */
  result(result: Result): Result;
}

/** Something on the disk that can be given back when there is no room. */
export interface Kept {
  readonly kind: Exclude<DiskKind, 'requests' | 'state'>;
  /** Where it lies, whether it is there yet or not: its file system counts. */
  readonly path: string;
  /** What it takes, and how old the oldest of it is that can be given back; null: none can. */
  look(): Promise<{ readonly bytes: number; readonly oldestAtMs: number | null }>;
  /** Gives the oldest back until so many bytes are free, or nothing is left. @returns bytes that were freed @throws as the system says */
  giveBack(bytes: number): Promise<number>;
}

/** Something has left the device. */
export interface SentNote {
  readonly what: SentRecord['what'];
  /** Of the request or Result. */
  readonly id?: string;
  readonly pipeline?: string | null;
  readonly bytes: number;
  /** Host and port. */
  readonly to: string;
  readonly topic?: string;
  readonly why?: string;
}

/** Hears of everything that leaves the device. */
export type NoteSent = (note: SentNote) => void;

/** How an input is to be treated. */
export interface Asked {
  readonly forced?: 'edge' | 'cloud';
  /** Interactive when left out. */
  readonly priority?: Priority;
}

/** A pipeline as the device's own API sees it. */
export interface PipelineFace {
  readonly name: string;
  readonly task: TaskName;
  readonly deadlineMs: number;
  accept(item: FeedItem, asked?: Asked): Promise<{ readonly id: string; readonly first: Promise<Result> }>;
  status(): PipelineStatus;
  /** The Result that has been given for an open request meanwhile; undefined where there was none. */
  provisional(id: string): Promise<Result | undefined>;
  /** Asks again about a dead letter. @returns its new id @throws OUTBOX_FULL, DISK_FULL */
  retry(letter: DeadLetter): Promise<string>;
  /** Ends an open request without an answer. */
  drop(id: string): Promise<void>;
}

/** State of one pipeline for people: its models, its router, and what is owed. */
export interface PipelineStatus {
  readonly name: string;
  readonly task: TaskName;
  readonly edge: ModelRef | null;
  readonly cloud: string | null;
  readonly router: RouteEvidence;
  /** Requests that the cloud still owes an answer, or whose answer a sink has not taken yet. */
  readonly owed: number;
}
