/** The plan of a rollout as it is typed: `--stages 1,10%,50%,100% --gate agreement=0.01 --gate memory=off …`. */
import {
  planFor,
  ROLLOUT_GATES,
  type RolloutGateName,
  type RolloutGates,
  type RolloutPlan,
  rolloutGates,
} from '../../shared/contract/rollouts.ts';
import { AppError } from '../../shared/runtime/errors.ts';
import { duration } from '../../shared/runtime/quantities.ts';
import { isCron } from '../../shared/runtime/schedule.ts';

/** Flags of a plan; what is left out is the plan's default. */
export interface PlanFlags {
  readonly to?: string;
  readonly stages?: string;
  readonly minTime?: string;
  readonly minAnswers?: string;
  readonly gate?: readonly string[];
  readonly confidence?: string;
  readonly window?: string;
  readonly onFailure?: string;
}

/** All of them, by the names that commander gives them. */
export const PLAN_FLAGS = [
  'to',
  'stages',
  'minTime',
  'minAnswers',
  'gate',
  'confidence',
  'window',
  'onFailure',
] as const satisfies readonly (keyof PlanFlags)[];

/** What a gate's number is called in the plan. */
const LIMITS: Readonly<Record<RolloutGateName, string>> = {
  agreement: 'maxDrop',
  escalation: 'maxRise',
  errors: 'maxRise',
  latencyP95: 'maxRatio',
  crashes: 'maxShare',
  memory: 'maxRatio',
  link: 'maxShare',
};

/** @param subject of what: a model’s name, or the agent’s @throws USAGE */
export function planOf(flags: PlanFlags, subject: string): RolloutPlan {
  const { to = '', window, onFailure } = flags;
  const stages = stagesOf(flags);
  const checked = planFor(subject).safeParse({
    selector: to,
    ...(stages && { stages }),
    ...(flags.gate || flags.confidence !== undefined ? { gates: gatesOf(flags) } : {}),
    ...(window !== undefined && { window }),
    ...(onFailure !== undefined && { onFailure }),
  });
  if (!checked.success) throw wrong(checked.error.issues[0]);
  if (window !== undefined && !isCron(window))
    throw new AppError('USAGE', `--window “${window}” is no cron expression, such as "* 1-4 * * *"`);
  return checked.data;
}

/** `1,10%,50%,100%` @returns undefined where nothing is said of them @throws USAGE */
function stagesOf({ stages, minTime, minAnswers }: PlanFlags): object[] | undefined {
  if (stages === undefined && minTime === undefined && minAnswers === undefined) return undefined;
  const each = {
    ...(minTime !== undefined && { minMinutes: minutesIn(minTime) }),
    ...(minAnswers !== undefined && { minAnswers: numberIn('--min-answers', minAnswers) }),
  };
  return (stages ?? '1,10%,50%,100%').split(',').map((part) => {
    const text = part.trim();
    const [, number = '', percent] = /^(\d+(?:\.\d+)?)(%?)$/.exec(text) ?? [];
    if (number === '')
      throw new AppError('USAGE', `--stages: “${text}” is no number of devices (5) and no share (10%)`);
    return { ...(percent ? { share: Number(number) / 100 } : { devices: Number(number) }), ...each };
  });
}

function minutesIn(text: string): number {
  const ms = duration.safeParse(text);
  if (!ms.success) throw new AppError('USAGE', `--min-time: ${ms.error.issues[0]?.message ?? ''}`);
  return ms.data / 60_000;
}

/**
 * `agreement=0.01`, `memory=off`
 *
 * @param others gates that are not named; standard ones, where they are not there either
 * @throws USAGE
 */
export function gatesOf(
  { gate = [], confidence }: Pick<PlanFlags, 'gate' | 'confidence'>,
  others: Partial<RolloutGates> = {},
): RolloutGates {
  const said = gate.map((text) => {
    const [name = '', value = ''] = text.split('=');
    const found = ROLLOUT_GATES.find((one) => one.toLowerCase() === name.trim().toLowerCase());
    if (!found || value === '')
      throw new AppError(
        'USAGE',
        `--gate: “${text}” is not GATE=LIMIT or GATE=off; gates: ${ROLLOUT_GATES.join(', ')}`,
      );
    return [
      found,
      value.trim() === 'off' ? null : { [LIMITS[found]]: numberIn(`--gate ${found}`, value) },
    ] as const;
  });
  const gates = {
    ...others,
    ...Object.fromEntries(said),
    ...(confidence !== undefined && { confidence: numberIn('--confidence', confidence) }),
  };
  const checked = rolloutGates.safeParse(gates);
  if (!checked.success) throw wrong(checked.error.issues[0], 'gates');
  return checked.data;
}

/** @throws USAGE for what is none, an empty text among it */
function numberIn(flag: string, text: string): number {
  const number = text.trim() === '' ? Number.NaN : Number(text);
  if (!Number.isFinite(number)) throw new AppError('USAGE', `${flag}: “${text}” is no number`);
  return number;
}

function wrong(
  issue: { readonly path: readonly PropertyKey[]; readonly message: string } | undefined,
  below = '',
): AppError {
  const where = [...(below ? [below] : []), ...(issue?.path ?? [])].join('.');
  return new AppError('USAGE', `${where || 'the plan'}: ${issue?.message ?? ''}`);
}
