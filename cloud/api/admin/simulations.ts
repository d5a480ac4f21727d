/** What a rollout would come to, had its version been bad in a given way: on a fleet that does not exist. */
import { rolloutSimulation, rolloutSimulationRequest } from '../../../shared/contract/rollouts.ts';
import type { BodyReader } from '../../../shared/runtime/request-bodies.ts';
import type { RolloutSimulator } from '../../ports.ts';
import { type Api, json, mount } from '../frame/endpoint.ts';
import type { Guards } from '../frame/guards.ts';

/** Simulator of rollouts. */
export interface SimulationApiOptions {
  readonly guards: Guards;
  readonly simulator: RolloutSimulator;
  readonly bodies: BodyReader;
}

/** Puts `/rollout-simulations` there. */
export function mountSimulations(app: Api, { guards, simulator, bodies }: SimulationApiOptions): void {
  const summary =
    'Says what a plan would cost: how many devices a bad version reaches, how often a good one is stopped';
  mount(
    app,
    {
      ...{ method: 'post', path: '/rollout-simulations', tag: 'rollouts', summary },
      guard: guards.key('admin'),
      body: { 'application/json': rolloutSimulationRequest },
      responses: { 200: json('What came of each kind, within `maxSeconds`', rolloutSimulation) },
    },
    async (c) => c.json(await simulator.simulate(await bodies.json(c.req.raw, rolloutSimulationRequest))),
  );
}
