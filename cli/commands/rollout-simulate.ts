/** `outrider rollout simulate`: what a plan would cost, had the version been bad in a given way. */
import {
  type RolloutSimulationRequest,
  rolloutSimulation,
  rolloutSimulationRequest,
  type SimulatedOutcome,
} from '../../shared/contract/rollouts.ts';
import { AppError } from '../../shared/runtime/errors.ts';
import { HubClient, type HubOptions } from '../hub-client.ts';
import { bytesText, print, spanText, table } from '../output.ts';
import { type PlanFlags, planOf } from '../rollout/plan-flags.ts';

/** Flags of the command, as they were typed. */
interface SimulateOptions extends HubOptions, PlanFlags {
  readonly json?: boolean;
  readonly devices?: string;
  readonly rate?: string;
  readonly history?: string;
  readonly disagreement?: string;
  readonly escalated?: string;
  readonly spread?: string;
  readonly drift?: string;
  readonly agreementDrop?: string;
  readonly errorRise?: string;
  readonly slower?: string;
  readonly crash?: string;
  readonly escalationRise?: string;
  readonly memory?: string;
  readonly runs?: string;
  readonly seed?: string;
}

/** Prints a line for a version that is no worse, and one for each defect. @throws USAGE, and what the hub says */
export async function simulateRollouts(model: string, options: SimulateOptions): Promise<void> {
  const asked = rolloutSimulationRequest.safeParse(requestOf(model, options));
  if (!asked.success) {
    const [issue] = asked.error.issues;
    throw new AppError('USAGE', `${issue?.path.join('.') ?? ''}: ${issue?.message ?? ''}`);
  }
  const client = await HubClient.find(options);
  const found = await client.post('/api/v1/rollout-simulations', asked.data, rolloutSimulation);
  const { baseline, evidenceOf, outcomes, isCut } = found;
  print(options.json, found, () => {
    const from =
      evidenceOf > 0
        ? `what ${count(evidenceOf)} devices have told`
        : 'what is assumed, as no device has told of it';
    const usual = `${percent(baseline.disagreement)} answered otherwise by the cloud, ${percent(baseline.escalated)} escalated, ${percent(baseline.failures)} failed, p95 ${baseline.p95Ms.toFixed(0)} ms, ${bytesText(baseline.memoryBytes)}`;
    const rows = outcomes.map((one) => rowOf(one, options));
    return [
      `${count(found.devices)} devices, made up by ${from}: ${usual}.`,
      table(
        ['version', 'runs', 'stopped', 'done', 'waiting', 'devices reached', 'after', 'wrong answers', 'by'],
        rows,
      ),
      'Devices, time and answers: at the median, and in brackets at most in 95 of 100 rollouts.',
      ...(isCut
        ? ['There was no time for all runs: fewer --runs, --devices or a smaller --rate take less.']
        : []),
    ].join('\n');
  });
}

/** Whoever sits at a terminal waits so long. */
const MAX_SECONDS = 50;

function requestOf(model: string, options: SimulateOptions): RolloutSimulationRequest {
  const { drift } = options;
  const { stages, gates, onFailure } = planOf(options, model);
  return {
    ...{ model, stages, gates, onFailure, maxSeconds: MAX_SECONDS },
    ...given('devices', number('devices', options.devices)),
    ...given('answersPerMinute', number('rate', options.rate)),
    ...given('history', number('history', options.history)),
    baseline: {
      ...given('disagreement', number('disagreement', options.disagreement)),
      ...given('escalated', number('escalated', options.escalated)),
    },
    ...given('spread', number('spread', options.spread)),
    ...given('drift', drift === undefined ? undefined : driftOf(drift)),
    defects: {
      ...given('agreementDrop', number('agreement-drop', options.agreementDrop)),
      ...given('errorRise', number('error-rise', options.errorRise)),
      ...given('slower', number('slower', options.slower)),
      ...given('crash', number('crash', options.crash)),
      ...given('escalationRise', number('escalation-rise', options.escalationRise)),
      ...given('memory', number('memory', options.memory)),
    },
    ...given('runs', number('runs', options.runs)),
    ...given('seed', number('seed', options.seed)),
  };
}

const given = <Name extends string, Value>(name: Name, value: Value | undefined) =>
  value === undefined ? {} : ({ [name]: value } as Record<Name, Value>);

/** 0.02 or 2%. @throws USAGE */
function number(flag: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const [, digits = '', unit] = /^([\d.]+(?:e-?\d+)?)(%?)$/.exec(text.trim()) ?? [];
  const value = Number(digits) / (unit === '%' ? 100 : 1);
  if (digits === '' || !Number.isFinite(value))
    throw new AppError('USAGE', `--${flag} takes a number, not ${text}`);
  return value;
}

function driftOf(text: string): { atMinute: number; disagreement: number } {
  const [minute, by] = text.split(':');
  return { atMinute: number('drift', minute) ?? 0, disagreement: number('drift', by ?? '') ?? 0 };
}

/** How each kind of version is called. */
function nameOf({ defect }: SimulatedOutcome, options: SimulateOptions): string {
  switch (defect) {
    case null:
      return 'no worse';
    case 'agreementDrop':
      return `loses ${options.agreementDrop} of agreement`;
    case 'errorRise':
      return `fails ${options.errorRise} more`;
    case 'slower':
      return `${options.slower} times as slow`;
    case 'crash':
      return `crashes on ${options.crash} of the devices`;
    case 'escalationRise':
      return `escalates ${options.escalationRise} more`;
    case 'memory':
      return `${options.memory} times the memory`;
  }
}

function rowOf(outcome: SimulatedOutcome, options: SimulateOptions): string[] {
  const { runs, halted, done, waiting, devices, minutes, wrong, gates } = outcome;
  const both = ({ median, most95 }: SimulatedOutcome['devices'], text: (value: number) => string): string =>
    median === most95 ? text(median) : `${text(median)} (${text(most95)})`;
  return [
    nameOf(outcome, options),
    count(runs),
    count(halted),
    count(done),
    count(waiting),
    both(devices, count),
    both(minutes, (value) => spanText(value * 60_000)),
    both(wrong, count),
    Object.entries(gates)
      .map(([gate, times]) => (halted === times ? gate : `${gate} ${times}`))
      .join(', '),
  ];
}

const count = (value: number): string => value.toLocaleString('en-US');
const percent = (share: number): string => `${Number((share * 100).toFixed(share < 0.01 ? 2 : 1))} %`;
