/** Administration of models, devices and keys, and the enrolment of devices: `/api/v1/…`. */
import { OpenAPIHono } from '@hono/zod-openapi';
import type { Clock } from '../../../shared/runtime/clock.ts';
import type { Api } from '../frame/endpoint.ts';
import { IdempotentAnswers } from '../frame/idempotency.ts';
import { type AgentReleaseApiOptions, mountAgentReleases } from './agent-releases.ts';
import { type BlobApiOptions, mountBlobs } from './blobs.ts';
import { type CaptureApiOptions, mountCaptures } from './captures.ts';
import { type EvidenceApiOptions, mountEvidence } from './evidence.ts';
import { type FleetApiOptions, mountFleet } from './fleet.ts';
import { type GalleryApiOptions, mountGallery } from './gallery.ts';
import { type KeyApiOptions, mountKeys } from './keys.ts';
import { type ModelApiOptions, mountModels } from './models.ts';
import { mountRollouts, type RolloutApiOptions } from './rollouts.ts';
import { mountSigning, type SigningApiOptions } from './signing.ts';
import { mountSimulations, type SimulationApiOptions } from './simulations.ts';
import { mountPublisherTargets, type TargetsApiOptions } from './targets.ts';
import { mountTrainings, type TrainingApiOptions } from './trainings.ts';

/** The ports and frame parts of all administration. */
export type AdminOptions = Omit<
  ModelApiOptions &
    FleetApiOptions &
    RolloutApiOptions &
    AgentReleaseApiOptions &
    SimulationApiOptions &
    EvidenceApiOptions &
    KeyApiOptions &
    BlobApiOptions &
    TargetsApiOptions &
    SigningApiOptions &
    GalleryApiOptions &
    CaptureApiOptions &
    TrainingApiOptions,
  'answers'
> & { readonly clock: Clock };

/** The part below `/api/v1`. */
export function createAdminApi(options: AdminOptions): Api {
  const app: Api = new OpenAPIHono();
  // One for all: a key that was used here is not new there.
  const answers = new IdempotentAnswers(options.clock);
  mountModels(app, { ...options, answers });
  mountBlobs(app, options);
  mountPublisherTargets(app, options);
  mountSigning(app, options);
  mountFleet(app, { ...options, answers });
  mountRollouts(app, { ...options, answers });
  mountAgentReleases(app, options);
  mountKeys(app, { ...options, answers });
  mountGallery(app, options);
  mountSimulations(app, options);
  mountEvidence(app, options);
  mountCaptures(app, options);
  mountTrainings(app, { ...options, answers });
  return app;
}
