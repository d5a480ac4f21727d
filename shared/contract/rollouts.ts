/** Rollouts: how an operator brings a version to a fleet in stages, and what the hub says of it. */
import { z } from 'zod';
import { deviceId, digest, modelName } from './names.ts';
import { AGENT_NAME, subjectVersion } from './releases.ts';

const atMs = z.number();

const answersCount = z.int().min(0).max(1_000_000_000);

/** Whom a stage reaches: so many devices, or a share of all that the selector matches; at least one. */
const askedStage = z
  .strictObject({
    /** So many in all. */
    devices: z.int().min(1).max(100_000).optional(),
    /** Share of those that the selector matches, at least one. */
    share: z.number().gt(0).max(1).optional(),
    /** The least time that a stage takes once its first device runs the version. */
    minMinutes: z.number().min(0).max(100_000).default(10),
    /** The least number of answers by the version in this stage, of all its devices together; left out, 200 of a model, none of the agent. */
    minAnswers: answersCount.optional(),
  })
  .refine(
    ({ devices, share }) => (devices === undefined) !== (share === undefined),
    'a stage has devices or share',
  );

/** Stage of a rollout of a model. */
export const rolloutStage = askedStage.safeExtend({ minAnswers: answersCount.default(200) });
export type RolloutStage = z.infer<typeof rolloutStage>;

/** Stage of the agent, which answers nothing itself: that it runs and is reached is what counts. */
const agentStage = askedStage.safeExtend({ minAnswers: answersCount.default(0) });

/** The gates of a rollout, by name. */
export const ROLLOUT_GATES = [
  'agreement',
  'escalation',
  'errors',
  'latencyP95',
  'crashes',
  'memory',
  'link',
] as const;
/** Name of a gate. */
const rolloutGateName = z.enum(ROLLOUT_GATES);
export type RolloutGateName = z.infer<typeof rolloutGateName>;

const drop = z.strictObject({
  /** The most that it may fall by: 0.02 is two points. */
  maxDrop: z.number().gt(0).max(1),
});
const rise = z.strictObject({
  /** The most that it may rise by, as a share of all. */
  maxRise: z.number().gt(0).max(1),
});
const ratio = z.strictObject({
  /** The most that it may be, as a multiple of what it was. */
  maxRatio: z.number().gt(1).max(100),
});
const troubled = z.strictObject({
  /** Of the devices that have tried it. */
  maxShare: z.number().min(0).max(1),
});

/**
 * What a version may be worse by, against the same devices before and the others now; null: not looked at. A stage is passed when the
 * version is shown to be worse by no more than that, and the rollout fails when it is shown to be worse by more than half of it.
 */
export const rolloutGates = z.strictObject({
  /** Agreement with the cloud model. */
  agreement: drop.nullable().default({ maxDrop: 0.02 }),
  /** Requests that are escalated. */
  escalation: rise.nullable().default({ maxRise: 0.1 }),
  /** Inputs that it can't answer. */
  errors: rise.nullable().default({ maxRise: 0.02 }),
  /** Time that the slowest twentieth of the answers takes at least. */
  latencyP95: ratio.nullable().default({ maxRatio: 1.5 }),
  /** Devices on which it crashes or is rolled back. A plain limit; of the agent: on which it ends and nobody had asked for that. */
  crashes: troubled.nullable().default({ maxShare: 0.05 }),
  /** Memory of its process, at the median over the devices. A plain limit. */
  memory: ratio.nullable().default({ maxRatio: 1.5 }),
  /** Devices that were told of it, have been away for a quarter of an hour since, and were here before. A plain limit, asked of the agent alone. */
  link: troubled.nullable().default({ maxShare: 0.05 }),
  /** Probability that no good version is stopped and none worse than allowed is let through by chance, all gates together. */
  confidence: z.number().min(0.5).max(0.9999).default(0.95),
});
export type RolloutGates = z.infer<typeof rolloutGates>;

/**
 * What a gate says now. `passed`: shown to be within its limit; `waiting`: not shown yet; `failed`: shown to be over half of it (a plain
 * limit: over it); `unmeasured`: nobody can tell, and nothing waits for it (no device asks the cloud; there is nothing to compare with).
 */
export const gateVerdict = z.object({
  gate: rolloutGateName,
  state: z.enum(['passed', 'waiting', 'failed', 'unmeasured']),
  /** In a sentence, with figures. */
  detail: z.string(),
  /** How much worse the version is, in the unit of the gate's limit, and between which bounds it is; null: not known. */
  worse: z.number().nullable(),
  atLeast: z.number().nullable(),
  atMost: z.number().nullable(),
  /** What it rests on: of the version, of the same devices before, and of the others now. */
  evidence: z.object({ version: z.number(), before: z.number(), rest: z.number() }),
});
export type GateVerdict = z.infer<typeof gateVerdict>;

/** A gate that will have nothing to say by a plan on a fleet. */
const unmeasurableGate = z.object({
  gate: rolloutGateName,
  /** Why, and what to do about it, in a sentence. */
  why: z.string(),
});
export type UnmeasurableGate = z.infer<typeof unmeasurableGate>;

/** By which version a rollout goes ahead of the others of its model. */
const ifBusy = z.enum(['refuse', 'wait', 'replace']);

const DEFAULT_STAGES = [{ devices: 1 }, { share: 0.1 }, { share: 0.5 }, { share: 1 }];

/** Plan of a rollout without its version: what a model with the policy `staged` keeps for the next one. */
export const rolloutPlan = z.strictObject({
  /** Which devices, as Kubernetes writes label selectors: `site=north,line in (1,2),!old,agent>=0.2.0`; all, when empty. */
  selector: z.string().max(1_000).default(''),
  /** Each reaches more devices than the one before it; the last should reach all. */
  stages: z
    .array(rolloutStage)
    .min(1)
    .max(20)
    .default(() => DEFAULT_STAGES.map((stage) => rolloutStage.parse(stage))),
  gates: rolloutGates.default(() => rolloutGates.parse({})),
  /** When a device may try it, as a cron expression of the minutes that are good, in the device's own time zone: `* 1-4 * * *`; at any time, when left out. */
  window: z.string().max(100).nullable().default(null),
  /** What a failed gate does: every device goes back to the version deployed (`roll-back`), or stays as it is until somebody decides (`hold`). */
  onFailure: z.enum(['roll-back', 'hold']).default('roll-back'),
});
export type RolloutPlan = z.infer<typeof rolloutPlan>;

/** The same of the agent. */
export const agentRolloutPlan = rolloutPlan.extend({
  /** Each reaches more devices than the one before it; the last should reach all. */
  stages: z
    .array(agentStage)
    .min(1)
    .max(20)
    .default(() => DEFAULT_STAGES.map((stage) => agentStage.parse(stage))),
});

/** @param subject a model's name, or `outrider-agent` */
export const planFor = (subject: string): typeof rolloutPlan | typeof agentRolloutPlan =>
  subject === AGENT_NAME ? agentRolloutPlan : rolloutPlan;

/** `POST /rollouts`. */
export const rolloutRequest = rolloutPlan.extend({
  /** Each reaches more devices than the one before it; the last should reach all. Left out: one device, a tenth, half, all. */
  stages: z.array(askedStage).min(1).max(20).optional(),
  /** A model's name, or `outrider-agent`: the agent itself. Of that the gates `agreement`, `escalation` and `latencyP95` are not asked. */
  model: modelName,
  /** A published version of it: a number; of the agent, `0.2.0`. */
  version: subjectVersion,
  /** While another rollout of the model is under way: this one is refused, waits for its end, or takes its place. */
  ifBusy: ifBusy.default('refuse'),
  /** Why, for people. */
  note: z.string().max(500).default(''),
});
export type RolloutRequest = z.input<typeof rolloutRequest>;

/** An order to begin a rollout, with all of its plan. */
export type PlannedRollout = Omit<z.output<typeof rolloutRequest>, 'stages'> & Pick<RolloutPlan, 'stages'>;

/** Fills in what the order does not say of its stages, as of a model or of the agent. */
export function plannedRollout(wish: RolloutRequest): PlannedRollout {
  const request = rolloutRequest.parse(wish);
  const { stages } = planFor(request.model).parse({ stages: request.stages });
  return { ...request, stages };
}

/**
 * State of a rollout. `waiting`: for the end of another one of its model; `running`; `paused`: nobody new, by an operator; `halted`:
 * nobody new, by a gate; `aborted`: ended, devices keep what they have; `rolled-back`: ended, all go back to the version deployed;
 * `done`: it is the version deployed.
 */
export const rolloutState = z.enum([
  'waiting',
  'running',
  'paused',
  'halted',
  'aborted',
  'rolled-back',
  'done',
]);
export type RolloutState = z.infer<typeof rolloutState>;

/** What becomes of a rollout whose model gets another version: it holds no device, and where it was under way it has ended. */
export function superseded<R extends { readonly state: RolloutState; readonly holds: boolean }>(
  one: R,
  reason: string,
  nowAtMs: number,
): R {
  const ended = isUnderWay(one.state) && { state: 'aborted' as const, reason, endedAtMs: nowAtMs };
  return { ...one, ...ended, holds: false };
}

/** Whether a rollout in this state may still change by itself, or be gone on with. */
export const isUnderWay = (state: RolloutState): boolean =>
  ['waiting', 'running', 'paused', 'halted'].includes(state);

/** How far a device of a rollout is. `told`: it has been told, and has not begun. */
const rolloutDeviceState = z.enum(['told', 'updating', 'trial', 'running', 'rolled-back', 'left']);

/** A device in a rollout. */
export const rolloutDevice = z.object({
  id: deviceId,
  /** Counted from 0. */
  stage: z.int().nonnegative(),
  state: rolloutDeviceState,
  /** When it came in. */
  atMs,
  /** What it ran before; null: nothing of this model. */
  before: z.object({ version: subjectVersion, digest }).nullable(),
  /** Why it took the version back, or what stands in its way; null: nothing. */
  error: z.object({ code: z.string(), message: z.string() }).nullable(),
});
export type RolloutDevice = z.infer<typeof rolloutDevice>;

/** Line of a rollout's history. */
export const rolloutNote = z.object({
  atMs,
  /** What happened. */
  event: z.enum([
    'started',
    'waiting',
    'stage',
    'gate-failed',
    'paused',
    'resumed',
    'halted',
    'aborted',
    'rolled-back',
    'done',
    'device-rolled-back',
    'changed',
  ]),
  /** In a sentence. */
  detail: z.string(),
  /** Id of the key of who did it; null: the hub itself. */
  by: z.string().nullable(),
});
export type RolloutNote = z.infer<typeof rolloutNote>;

/** Rollout as the hub shows it. */
export const rolloutRecord = rolloutPlan.extend({
  id: z.string().regex(/^[a-z0-9-]{1,64}$/),
  model: modelName,
  version: subjectVersion,
  digest,
  /** Version deployed when it started; null: none. */
  from: subjectVersion.nullable(),
  note: z.string(),
  state: rolloutState,
  /** Why it is in this state, in a sentence. */
  reason: z.string(),
  /** Stage under way, counted from 0. */
  stage: z.int().nonnegative(),
  stageSinceAtMs: atMs,
  createdAtMs: atMs,
  endedAtMs: atMs.nullable(),
  /** Devices that the selector matches now, without those that are pinned. */
  matched: z.int().nonnegative(),
  /** How many of its devices are in each state. */
  devices: z.partialRecord(rolloutDeviceState, z.int().nonnegative()),
  /** Answers by the version so far, of all its devices together. */
  answers: z.number().nonnegative(),
  /** What the gates say now; empty before the first device runs the version. */
  verdicts: z.array(gateVerdict),
  /** Gates that will have nothing to say by this plan on this fleet, as far as that can be told now. */
  unmeasurable: z.array(unmeasurableGate).optional(),
  /** Oldest first; of a long one the middle is left out. */
  history: z.array(rolloutNote),
});
export type RolloutRecord = z.infer<typeof rolloutRecord>;

/** `PATCH /rollouts/{id}`, with If-Match: what may be changed of one that is under way. */
export const rolloutChange = z.strictObject({
  gates: rolloutGates.optional(),
  window: z.string().max(100).nullable().optional(),
  onFailure: rolloutPlan.shape.onFailure.unwrap().optional(),
});
export type RolloutPlanChange = z.infer<typeof rolloutChange>;

const next = z.string().nullable().default(null);
/** One page of the rollouts, newest first. */
export const rolloutList = z.object({ rollouts: z.array(rolloutRecord), next });
/** One page of a rollout's devices. */
export const rolloutDeviceList = z.object({ devices: z.array(rolloutDevice), next });
/** `POST /rollouts/{id}/{action}`, with If-Match. */
export const rolloutAction = z.enum(['pause', 'resume', 'abort', 'roll-back']);
export type RolloutAction = z.infer<typeof rolloutAction>;

const share = z.number().min(0).max(1);

/** How a version does on an ordinary device, as far as it is known. */
const versionBehaviour = z.strictObject({
  /** Share of its answers that the cloud would have given otherwise. */
  disagreement: share,
  /** Share of requests that its routers escalate, once they have learned. */
  escalated: share,
  /** Share of inputs that it cannot answer. */
  failures: share,
  /** 95th percentile of its times, in milliseconds. */
  p95Ms: z.number().positive().max(600_000),
  memoryBytes: z.number().positive().max(1e12),
});

/** What is wrong with a made-up version; each is simulated by itself. */
const rolloutDefects = z.strictObject({
  /** Agreement with the cloud that it loses: 0.02 for two points. */
  agreementDrop: share.optional(),
  /** Share of inputs more that fail. */
  errorRise: share.optional(),
  /** How many times as long it takes. */
  slower: z.number().gt(1).max(100).optional(),
  /** Share of the devices that it crashes on. */
  crash: share.optional(),
  /** Share of requests more that are escalated. */
  escalationRise: share.optional(),
  /** How many times the memory it takes. */
  memory: z.number().gt(1).max(100).optional(),
});
/** Name of a defect. */
export type RolloutDefect = keyof z.infer<typeof rolloutDefects>;

/** `POST /rollout-simulations`. */
export const rolloutSimulationRequest = rolloutPlan.omit({ selector: true, window: true }).extend({
  /** Whose recorded evidence says what is usual. */
  model: modelName,
  /** Of the made-up fleet; those of which there is evidence of the model, or 1,000, when left out. */
  devices: z.int().min(1).max(10_000).optional(),
  /** Of each of them, at the median. */
  answersPerMinute: z.number().min(0.01).max(10_000).default(10),
  /** Answers of the version before that are known of each device; as recorded, or 20,000, when left out. */
  history: z.int().min(0).max(1_000_000_000).optional(),
  /** What is usual now, where it is to be other than recorded. */
  baseline: versionBehaviour.partial().default({}),
  /** Standard deviation among the devices of the share of their answers that the cloud would have given otherwise. */
  spread: share.default(0.03),
  /** What all devices see becomes harder at a time: by how much more is answered otherwise. */
  drift: z
    .strictObject({ atMinute: z.number().min(0).max(100_000), disagreement: z.number().min(-1).max(1) })
    .nullable()
    .default(null),
  defects: rolloutDefects.default({}),
  /** Rollouts of each kind. */
  runs: z.int().min(1).max(500).default(50),
  /** For all of it: then it is answered by what was run, and `isCut` says so. */
  maxSeconds: z.number().min(0.1).max(60).default(8),
  /** The same seed gives the same chance. */
  seed: z.int().min(0).max(4_294_967_295).default(1),
});
export type RolloutSimulationRequest = z.input<typeof rolloutSimulationRequest>;

const spread = z.object({ median: z.number(), most95: z.number() });

/** What came of the simulated rollouts of one kind: at the median, and in 95 of 100 at most. */
const simulatedOutcome = z.object({
  /** null: a version that is no worse. */
  defect: z.enum(['agreementDrop', 'errorRise', 'slower', 'crash', 'escalationRise', 'memory']).nullable(),
  runs: z.int().nonnegative(),
  /** How many went through, were stopped by a gate, or were still waiting after 30 days. */
  done: z.int().nonnegative(),
  halted: z.int().nonnegative(),
  waiting: z.int().nonnegative(),
  /** Devices that got the version. */
  devices: spread,
  /** Until the end. */
  minutes: spread,
  /** Answers that were wrong or missing because of it. */
  wrong: spread,
  /** Which gates stopped it, how often. */
  gates: z.partialRecord(rolloutGateName, z.int().positive()),
});
export type SimulatedOutcome = z.infer<typeof simulatedOutcome>;

/** Answer to `POST /rollout-simulations`. */
export const rolloutSimulation = z.object({
  model: modelName,
  devices: z.int().positive(),
  baseline: versionBehaviour,
  /** Devices whose evidence it rests on; 0: on what is assumed. */
  evidenceOf: z.int().nonnegative(),
  /** A version that is no worse first, then each defect. */
  outcomes: z.array(simulatedOutcome).max(7),
  /** There was no time for all runs that were asked for. */
  isCut: z.boolean(),
});
export type RolloutSimulation = z.infer<typeof rolloutSimulation>;
