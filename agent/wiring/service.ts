/** The agent as a service of systemd: ready when all of it is up, alive while its event loop turns and its data folder answers. */
import { stat } from 'node:fs/promises';
import { type ServiceEnvironment, ServiceManager } from '../../shared/runtime/service-manager.ts';
import type { Link } from './link.ts';
import type { AgentProgram } from './program.ts';

/**
 * Runners, cameras and feeds are no part of the check: each has
 * time limits of its own and is begun anew by itself, and a restart of the whole would help none of them.
 */
export async function tellServiceManager(
  service: ServiceEnvironment,
  { lifecycle, clock, logger, dataDir }: AgentProgram,
  { link, pipelines }: { readonly link: Pick<Link, 'uplink'>; readonly pipelines: number },
): Promise<void> {
  const manager = new ServiceManager({
    ...{ service, clock, logger },
    // By the thread pool to the disk and back: where one of them is stuck, nothing that is accepted becomes safe.
    check: () => stat(dataDir),
    // Said every 20 s: what it does not say it may not know yet.
    status: () => `${pipelines} pipelines${link.uplink.online ? ', online' : ''}`,
  });
  await lifecycle.start('service manager', manager);
}
