/** `outrider captures train`: better versions of edge models, ordered of the hub. */
import { setTimeout as sleep } from 'node:timers/promises';
import { modelName } from '../../shared/contract/names.ts';
import {
  isOpenTraining,
  type TrainingRecord,
  trainingList,
  trainingRecord,
} from '../../shared/contract/trainings.ts';
import { AppError } from '../../shared/runtime/errors.ts';
import { momentOf } from '../captures/filter-flags.ts';
import { HubClient, type HubOptions } from '../hub-client.ts';
import { agoText, note, print, spanText, table } from '../output.ts';

type Options = HubOptions & {
  readonly json?: boolean;
  readonly pipeline?: string;
  readonly since?: string;
  readonly minCaptures: string;
  readonly rollout: boolean;
  readonly note?: string;
  readonly wait?: string;
  readonly show?: string;
  readonly cancel?: string;
};

const PATH = '/api/v1/trainings';
const LOOK_EVERY_MS = 1_000;

/** Orders one, or shows, ends or lists those that were ordered. */
export async function train(model: string | undefined, options: Options): Promise<void> {
  const ways = [model, options.show, options.cancel].filter((one) => one !== undefined).length;
  if (ways > 1) throw new AppError('USAGE', 'a model, --show and --cancel exclude each other');
  if (model !== undefined) return order(model, options);
  const hub = await HubClient.find(options);
  if (options.show !== undefined) {
    const one = await hub.get(`${PATH}/${encodeURIComponent(options.show)}`, trainingRecord);
    return print(options.json, one, () =>
      one.output === '' ? lineOf(one) : `${lineOf(one)}\n\n${one.output}`,
    );
  }
  if (options.cancel !== undefined) {
    const one = await hub.post(`${PATH}/${encodeURIComponent(options.cancel)}/cancel`, {}, trainingRecord);
    return print(options.json, one, () => lineOf(one));
  }
  const trainings = await hub.getAll(PATH, trainingList, 'trainings');
  print(options.json, { trainings }, () =>
    trainings.length === 0
      ? 'There is none yet: outrider captures train MODEL orders one.'
      : table(
          ['id', 'model', 'state', 'captures', 'took', 'ordered', 'came of it'],
          trainings.map((one) => [
            one.id,
            one.base === null ? one.model : `${one.model}@${one.base}`,
            one.state,
            one.captures === null ? '–' : String(one.captures),
            tookText(one),
            agoText(one.createdAtMs, Date.now()),
            outcomeOf(one),
          ]),
          { spare: ['ordered', 'took'] },
        ),
  );
}

async function order(model: string, options: Options): Promise<void> {
  if (!modelName.safeParse(model).success) throw new AppError('MODEL_UNKNOWN', `“${model}” is no model name`);
  const minCaptures = Number(options.minCaptures);
  if (!Number.isInteger(minCaptures) || minCaptures < 1)
    throw new AppError('USAGE', '--min-captures must be a whole number of at least 1');
  const waitMs = options.wait === undefined ? undefined : Number(options.wait) * 1_000;
  if (waitMs !== undefined && !(waitMs >= 0)) throw new AppError('USAGE', '--wait is a number of seconds');
  const { pipeline, since, rollout, note: why = '' } = options;
  const body = {
    ...{ model, rollout, minCaptures, note: why },
    ...(pipeline !== undefined && { pipeline }),
    ...(since !== undefined && { sinceAtMs: momentOf('since', since) }),
  };
  const hub = await HubClient.find(options);
  const made = await hub.post(PATH, body, trainingRecord);
  const ended = waitMs === undefined ? made : await follow(hub, made, waitMs);
  print(options.json, ended, () => lineOf(ended));
  if (waitMs !== undefined && ended.state !== 'done')
    throw new AppError('TRAINING_FAILED', ended.error?.message ?? `the training is ${ended.state} still`);
}

async function follow(hub: HubClient, begun: TrainingRecord, waitMs: number): Promise<TrainingRecord> {
  const endAtMs = Date.now() + waitMs;
  let one = begun;
  let said: string = begun.state;
  note(lineOf(one));
  while (isOpenTraining(one.state) && Date.now() < endAtMs) {
    await sleep(LOOK_EVERY_MS);
    one = await hub.get(`${PATH}/${one.id}`, trainingRecord);
    if (one.state !== said && isOpenTraining(one.state)) note(lineOf(one));
    said = one.state;
  }
  return one;
}

const lineOf = (one: TrainingRecord): string =>
  `Training ${one.id} of ${one.model}${one.base === null ? '' : `@${one.base}`}: ${one.state}${one.captures === null ? '' : `, ${one.captures} captures`}${outcomeOf(one) === '' ? '' : `, ${outcomeOf(one)}`}`;

const tookText = ({ startedAtMs, endedAtMs }: TrainingRecord): string =>
  startedAtMs === null ? '–' : spanText((endedAtMs ?? Date.now()) - startedAtMs);

function outcomeOf({ result, error }: TrainingRecord): string {
  if (error) return `${error.message} (${error.code})`;
  if (!result) return '';
  const what = `version ${result.version}${result.created ? '' : ', which was there already'}`;
  return result.rollout === null ? what : `${what}, rollout ${result.rollout}`;
}
