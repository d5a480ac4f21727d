/** How much the hub has of what devices tell: of versions, for rollouts, and of pairs of models, for devices that know nothing yet. */
import { evidenceStatus } from '../../../shared/contract/fleet-evidence.ts';
import type { EvidenceOverview } from '../../ports.ts';
import { type Api, json, mount } from '../frame/endpoint.ts';
import type { Guards } from '../frame/guards.ts';

/** What devices have told. */
export interface EvidenceApiOptions {
  readonly guards: Guards;
  readonly evidence: EvidenceOverview;
}

/** Puts `/evidence` there. */
export function mountEvidence(app: Api, { guards, evidence }: EvidenceApiOptions): void {
  const summary = 'Says of how many devices there is evidence, and how old it is';
  mount(
    app,
    {
      ...{ method: 'get', path: '/evidence', tag: 'devices', summary },
      guard: guards.reader('admin'),
      responses: { 200: json('What devices have told of versions and of pairs of models', evidenceStatus) },
    },
    (c) => c.json(evidence.status()),
  );
}
