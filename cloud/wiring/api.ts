/** Puts together the HTTP API of a hub with records: who asks what behind which port. */
import type { EvidenceStatus } from '../../shared/contract/fleet-evidence.ts';
import { createHubApi } from '../api/api.ts';
import { SignIns } from '../api/frame/sign-in.ts';
import { ADMITS_EVERY_KEY } from '../asking/admission.ts';
import { HttpAsking } from '../asking/asking.ts';
import { showDeviceRoutes, showEvidence } from '../metrics.ts';
import type { RolloutAdmin, TrainingAdmin } from '../ports.ts';
import { Simulator } from '../rollout/simulation/simulator.ts';
import type { BrokerAddress } from './broker.ts';
import type { HubProgram } from './program.ts';
import type { Publishing } from './publishing.ts';
import type { RecordedAnswering } from './recorded-answering.ts';
import type { Records } from './records.ts';
import { hostAbroad } from './tls.ts';

/** The API, and the sign-ins that it lets in. */
export function createApi(
  { config, tls, metrics, clock, logger }: HubProgram,
  parts: {
    readonly records: Records;
    readonly publishing: Publishing;
    readonly broker: BrokerAddress;
    readonly answering: RecordedAnswering;
    readonly rollouts: RolloutAdmin;
    readonly trainings: TrainingAdmin;
  },
): { readonly app: ReturnType<typeof createHubApi>; readonly signIns: SignIns } {
  const { registry, events, evidence, fleet } = parts.records;
  const { updates, blobs, publisher, signing, remover } = parts.publishing;
  const { loadOf, engines, inferencer, usage, link, gallery, captures } = parts.answering;
  const signIns = new SignIns(clock);
  const asking = new HttpAsking({
    admission: ADMITS_EVERY_KEY,
    models: registry.models,
    inferencer,
    usage,
    clock,
  });
  const overview = (): EvidenceStatus => ({ versions: evidence.sight(), ...fleet.sight() });
  const app = createHubApi({
    hubId: registry.hubId,
    mqttUrl: parts.broker.publicUrl,
    ...(tls.authority && { authority: tls.authority }),
    keys: registry.keys,
    devices: registry.devices,
    models: registry.models,
    engines: {
      put: (name, request) => registry.engines.put(name, request),
      remove: (name) => registry.engines.remove(name),
      statusOf: (name) => engines.statusOf(name),
    },
    asking,
    statistics: inferencer,
    loadOf,
    desired: registry.desired,
    pins: registry.pins,
    labels: registry.labels,
    rollouts: parts.rollouts,
    trainings: parts.trainings,
    agentReleases: parts.publishing.agentReleases,
    publisher: {
      publish: async (name, request) => {
        const made = await publisher.publish(name, request);
        await remover.tidy();
        return made;
      },
      putTargets: (body, etag) => publisher.putTargets(body, etag),
      putDelegated: (role, body, etag) => publisher.putDelegated(role, body, etag),
      applyChange: (change) => publisher.applyChange(change),
    },
    blobs,
    signedUpdates: updates,
    signing,
    offeredDeltas: parts.publishing.offeredDeltas,
    remover,
    events,
    gallery,
    evidence: { status: overview },
    captures,
    simulator: new Simulator({ evidence, models: registry.models, clock }),
    signIns,
    corsOrigins: config.corsOrigins,
    releases: parts.publishing.releases,
    publicUrl: config.publicUrl,
    hostAbroad: hostAbroad(config),
    ready: () => (link.connected ? undefined : 'the MQTT broker is not connected'),
    metrics,
    clock,
    logger,
  });
  showDeviceRoutes(metrics, () => registry.devices.list());
  showEvidence(metrics, overview, clock);
  return { app, signIns };
}
