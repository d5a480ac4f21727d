/** Puts together what starts the hub's runners: the best execution provider of this machine for each model, or the one that was named. */
import { join } from 'node:path';
import { type Candidates, findCandidates } from '../../shared/inference/providers/candidates.ts';
import { runtimeVersion } from '../../shared/inference/providers/gpu-libraries.ts';
import type { StartRunner } from '../../shared/inference/runner/runner.ts';
import { startRunner } from '../../shared/inference/runner/runner-process.ts';
import { AppError } from '../../shared/runtime/errors.ts';
import { BestProvider } from '../engine/best-provider.ts';
import { ProviderVerdicts } from '../engine/provider-verdicts.ts';
import type { HubProgram } from './program.ts';

/** @throws RUNNER_START_FAILED (a provider was named that cannot work here) */
export async function runnerStarter({
  config,
  folder,
  clock,
  logger,
  metrics,
}: Pick<HubProgram, 'config' | 'folder' | 'clock' | 'logger' | 'metrics'>): Promise<StartRunner> {
  const { provider: wish, dataDir } = config;
  if (wish === 'cpu') return startRunner;
  const found = await findCandidates(dataDir);
  if (wish !== 'auto' && !found.list.some(({ provider }) => provider === wish))
    throw new AppError('RUNNER_START_FAILED', `--provider ${wish}: ${found.hint ?? WHY_NOT[wish]}`);
  if (wish === 'auto' && found.hint !== undefined) logger.warn('engine.gpu_unused', { why: found.hint });
  if (found.list.length === 0) return startRunner;
  const providers = found.list.map(({ provider }) => provider);
  logger.info('engine.providers', {
    wish,
    providers,
    driver: found.driver?.version,
    gpus: found.driver?.gpus,
  });
  const verdicts = await ProviderVerdicts.open(join(folder, 'providers.json'), await machineOf(found));
  return new BestProvider({
    wish,
    candidates: found.list,
    startRunner,
    verdicts,
    clock,
    logger,
    onFallback: (_digest, provider) => metrics.count('outrider_provider_fallbacks_total', { provider }),
  }).start;
}

const WHY_NOT = {
  cuda: 'there is no NVIDIA driver on this machine',
  webgpu: 'this machine shows no GPU (/dev/dri has no render node)',
} as const;

/** All that a trial's outcome depends on but the model. */
async function machineOf({ list, driver }: Candidates): Promise<string> {
  const providers = list.map(({ provider }) => provider);
  return JSON.stringify({ onnxruntime: await runtimeVersion(), providers, driver, cpus: process.arch });
}
