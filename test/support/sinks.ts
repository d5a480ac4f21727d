/** Sinks as the agent makes them, without an agent. */

import type { AgentConfig } from '../../agent/config.ts';
import { createAgentMetrics } from '../../agent/metrics.ts';
import { SinkStates } from '../../agent/sink/sink-states.ts';
import { SinkMaker } from '../../agent/wiring/sinks.ts';
import { systemClock } from '../../shared/runtime/clock.ts';
import { Lifecycle } from '../../shared/runtime/lifecycle.ts';
import { silentLogger } from '../../shared/runtime/logger.ts';

/** @param dataDir the agent's own folder */
export function sinkMaker(config: AgentConfig, dataDir: string) {
  const common = { clock: systemClock, logger: silentLogger, metrics: createAgentMetrics() };
  const states = new SinkStates(common);
  const lifecycle = new Lifecycle(() => undefined);
  const program = { ...common, dataDir, lifecycle, stop: () => lifecycle.stop() };
  const maker = new SinkMaker(config, program, states, {
    online: () => false,
    outbox: () => 0,
    feedOf: () => null,
    installed: () => null,
    desired: () => undefined,
    updates: () => [],
    onInstall: () => undefined,
  });
  return { maker, states, metrics: common.metrics };
}
