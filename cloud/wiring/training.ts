/** Puts together what trains: captures, the operator's program, and the way of its versions to devices. */
import { join } from 'node:path';
import { rolloutPlan } from '../../shared/contract/rollouts.ts';
import { BlobStore } from '../../shared/release/blob-store.ts';
import { openModelFolder, versionFilesOf } from '../../shared/release/folder/model-folder.ts';
import type { Clock } from '../../shared/runtime/clock.ts';
import { AppError } from '../../shared/runtime/errors.ts';
import type { RolloutAdmin, TrainingAdmin } from '../ports.ts';
import { Trainings } from '../training/trainings.ts';
import type { HubProgram } from './program.ts';
import type { Publishing } from './publishing.ts';
import type { RecordedAnswering } from './recorded-answering.ts';
import type { Records } from './records.ts';

/** By the policy `staged` a rollout begins within seconds. */
const ROLLOUT_WAIT = { everyMs: 250, times: 120 };

/** What was under way when the hub ended is interrupted. @throws DISK_FULL */
export async function startTraining(
  { config, folder, lifecycle, clock, logger, metrics }: HubProgram,
  parts: {
    readonly records: Records;
    readonly publishing: Publishing;
    readonly answering: Pick<RecordedAnswering, 'captures'>;
    readonly rollouts: RolloutAdmin;
  },
): Promise<TrainingAdmin> {
  const { registry, events } = parts.records;
  const { publisher, remover } = parts.publishing;
  const recordOf = (model: string) => {
    const found = registry.models.list().find(({ name }) => name === model);
    if (!found) throw new AppError('MODEL_UNKNOWN', `there is no model ${model}`);
    return found;
  };
  const trainings = new Trainings({
    folder: join(folder, 'training'),
    trainer: config.trainer,
    timeoutMs: config.trainerTimeoutMs,
    captures: parts.answering.captures,
    baseOf: (model) => {
      const { deployed, version, policy } = recordOf(model);
      const base = deployed ?? version;
      return {
        version: base,
        folder: registry.models.folderOf({ name: model, version: base }),
        isAuto: policy === 'auto',
        isStaged: policy === 'staged',
      };
    },
    publish: async (model, path) => {
      const opened = await openModelFolder(path);
      if (opened.spec.name !== model)
        throw new AppError(
          'MODEL_INVALID',
          `the program has made a folder of ${opened.spec.name}, not of ${model}`,
        );
      const files = await versionFilesOf(opened);
      // The same files as those of a push; what is left of a failure is swept at the next start.
      const blobs = new BlobStore(join(folder, 'blobs'));
      for (const file of files) await blobs.takeIn(file.sha256, join(opened.path, file.path));
      const made = await publisher.publish(model, { files });
      await remover.tidy();
      return made;
    },
    rollOut: (model, version, by) =>
      rollOut(parts.rollouts, {
        model,
        version,
        by,
        policy: recordOf(model).policy,
        plan: recordOf(model).plan,
        clock,
      }),
    ...{ events, clock, logger, metrics },
  });
  await lifecycle.start('trainings', trainings);
  return trainings;
}

async function rollOut(
  rollouts: RolloutAdmin,
  what: {
    readonly model: string;
    readonly version: string;
    readonly by: string | null;
    readonly policy: string;
    readonly plan: ReturnType<typeof rolloutPlan.parse> | null;
    readonly clock: Clock;
  },
): Promise<string> {
  const { model, version, by, clock } = what;
  const begun = (): string | undefined =>
    rollouts.list().find((one) => one.model === model && one.version === version)?.id;
  if (what.policy === 'staged')
    for (let tries = 0; tries < ROLLOUT_WAIT.times; tries++) {
      const id = begun();
      if (id !== undefined) return id;
      await clock.sleep(ROLLOUT_WAIT.everyMs);
    }
  const plan = what.plan ?? rolloutPlan.parse({});
  const note = 'trained on captures';
  const made = await rollouts.start({ ...plan, model, version, ifBusy: 'wait', note }, by);
  return made.id;
}
