/** Puts together what brings versions to a fleet in stages: the records, what devices have counted, the gates, and who brings it on. */
import type { RolloutAdmin } from '../ports.ts';
import { RolloutArms } from '../rollout/arms.ts';
import { RolloutConductor } from '../rollout/conductor.ts';
import { deviceCounts, RolloutOrders } from '../rollout/orders.ts';
import { stagedModels } from '../rollout/staged.ts';
import type { HubProgram } from './program.ts';
import type { Records } from './records.ts';

/** Goes on with the rollouts that were under way. @throws DATA_CORRUPT, DISK_FULL */
export async function startRollouts(
  { folder, lifecycle, metrics, clock, logger }: HubProgram,
  { registry, events, evidence, onNews }: Records,
): Promise<RolloutAdmin> {
  const { rollouts: book, devices, models } = registry;
  const conductor = new RolloutConductor({
    book,
    devices: () => devices.list(),
    isPinned: (id, model) => Object.hasOwn(registry.pins.pinsOf(id), model),
    staged: () => [...stagedModels(models.list()), ...registry.agentReleases.staged()],
    arms: await RolloutArms.open(folder, (id, digest) => evidence.of(id, digest), logger),
    onLook: (ids) => {
      for (const id of ids) events.publish({ type: 'rollout', rollout: orders.get(id) });
    },
    clock,
    logger,
  });
  const orders = new RolloutOrders({ book, conductor, clock, logger });
  metrics.gauges(
    'outrider_rollout_devices',
    'Devices of the rollouts that are under way, by how far each is',
    ['model', 'version', 'state'],
    () => deviceCounts(orders.list()),
  );
  onNews(() => conductor.hurry());
  await lifecycle.start('rollouts', conductor);
  return orders;
}
