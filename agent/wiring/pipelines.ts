/** Makes the pipelines of the configuration, each with its router and its sinks, and starts them. */
import { join } from 'node:path';
import type { Desired } from '../../shared/contract/messages.ts';
import { isFailure, type Result } from '../../shared/contract/result.ts';
import type { Metrics } from '../../shared/runtime/metrics.ts';
import type { PipelineConfig } from '../config/pipeline.ts';
import type { AgentConfig } from '../config.ts';
import type { DiskKeeper } from '../disk/keeper.ts';
import type { FeedStates } from '../feed/feed-states.ts';
import { showRoutes, showSinks } from '../metrics.ts';
import { Expiries } from '../pipeline/expiries.ts';
import { Pipeline } from '../pipeline/pipeline.ts';
import type { Outbox, RouteMeter, SlotVersion } from '../ports.ts';
import { barePicture } from '../privacy/bare-picture.ts';
import { RouteKeeper } from '../router/route-keeper.ts';
import type { LearningRouter } from '../router/router.ts';
import type { SentLog } from '../sent/sent-log.ts';
import { Fanout } from '../sink/fanout.ts';
import { deadLetterTo, FileSink } from '../sink/file-sink.ts';
import { Shelf } from '../sink/shelf.ts';
import type { SinkStates } from '../sink/sink-states.ts';
import { captureOf } from './captures.ts';
import type { DeviceParts } from './home-assistants.ts';
import type { Link } from './link.ts';
import { lossFor } from './loss.ts';
import { picturesOf } from './pictures.ts';
import type { AgentProgram } from './program.ts';
import { redactorOf } from './redactor.ts';
import { certificateFor, createRouter, shrinkingOf } from './routes.ts';
import { SinkMaker, showsPictures } from './sinks.ts';
import { localModel, type Versions } from './versions.ts';

/** Outbox, link and model versions that every pipeline is made with. */
export interface PipelineParts {
  readonly config: AgentConfig;
  readonly program: AgentProgram;
  readonly outbox: Outbox;
  readonly link: Link;
  readonly versions: Versions;
  /** Has what they keep in its quota. */
  readonly disk: Pick<DiskKeeper, 'add'>;
  /** Hears of what leaves. */
  readonly sent: Pick<SentLog, 'note'>;
  /** What their feeds are doing. */
  readonly feeds: Pick<FeedStates, 'of'>;
  /** What their sinks are doing. */
  readonly sinks: SinkStates;
  /** Counts what each version does. */
  readonly counts: RouteMeter;
  /** Sees each Result at once. */
  readonly show: (result: Result) => void;
}

/** Pipelines of a device with their routers. The maps are by pipeline, and filled once: others may hold them before. */
export class Pipelines {
  readonly all = new Map<string, Pipeline>();
  readonly routers = new Map<string, LearningRouter>();

  /** Routers must know the certificate of the version that answers. */
  edgeModelSeen({ pipelines }: AgentConfig, { ref, folder }: SlotVersion): void {
    for (const one of pipelines)
      if (one.edge === ref.name)
        this.routers.get(one.name)?.edgeModelSeen(ref.digest, certificateFor(one, folder));
  }

  /** Which cloud models answer now. */
  cloudModelsSeen({ pipelines }: AgentConfig, { cloudModels }: Desired): void {
    for (const { name, cloud } of pipelines) {
      const asked = cloudModels.find(({ model }) => model.name === cloud);
      if (asked) this.routers.get(name)?.cloudModelSeen(asked.model);
    }
  }

  /** What routers that know nothing of their pair of models yet may start from. */
  fleetStartsSeen({ starts = [] }: Desired): void {
    for (const router of this.routers.values()) router.fleetStartsSeen(starts);
  }

  /** Makes and starts them, what they have learned, their sinks and the sweep of their expiries. */
  async start(parts: PipelineParts): Promise<void> {
    const { config, program, outbox, link } = parts;
    const { dataDir, clock, logger, metrics, lifecycle } = program;
    const keeper = new RouteKeeper({
      folder: join(dataDir, 'router'),
      routers: this.routers,
      announce: () => link.uplink.announce(),
      clock,
      logger,
      metrics,
    });
    const sinks = new SinkMaker(config, program, parts.sinks, this.#device(parts), (note) =>
      parts.sent.note(note),
    );
    const fanouts: Fanout[] = [];
    for (const one of config.pipelines) {
      const shelf = showsPictures(one) ? new Shelf() : undefined;
      const local = localModel(one.edge, parts.versions);
      const pictureOf = picturesOf({ shelf, outbox, local, logger });
      const made = await sinks.make(one, pictureOf);
      const refused = new FileSink({ path: join(dataDir, 'dead-letters', `${one.name}.ndjson`) });
      parts.disk.add(refused.kept('dead-letters'));
      const fanout = new Fanout({
        sinks: made,
        watch: ({ name, type = 'file' }, waiting) =>
          parts.sinks.add({ pipeline: one.name, name, type }, waiting),
        deadLetter: deadLetterTo(refused),
        clock,
        logger,
        metrics,
      });
      parts.sinks.arrange(
        one.name,
        made.map(({ name }) => name),
      );
      fanouts.push(fanout);
      this.routers.set(one.name, await this.#router(one, parts, keeper));
      this.all.set(one.name, await this.#pipeline(one, parts, { fanout, shelf }));
    }
    for (const kept of sinks.kept) parts.disk.add(kept);
    const { uplink } = link;
    uplink.onReply((id, reply, roundTripMs) =>
      this.all.get(outbox.find(id)?.pipeline ?? '')?.onReply(id, reply, roundTripMs),
    );
    uplink.onChange((online) => {
      for (const router of this.routers.values()) router.linkChanged(online);
      if (!online) for (const pipeline of this.all.values()) pipeline.onOffline();
    });
    await lifecycle.start('what routers have learned', keeper);
    showRoutes(metrics, this.routers);
    showSinks(metrics, parts.sinks);
    // Stopped in reverse: waiting deliveries end, then the pipelines that wait for them, then the connections.
    await lifecycle.start('sink connections', sinks);
    for (const pipeline of this.all.values()) await lifecycle.start(`pipeline ${pipeline.name}`, pipeline);
    for (const fanout of fanouts) await lifecycle.start('sinks', fanout);
    const expiries = new Expiries({ pipelines: this.all, outbox, clock, logger, metrics });
    await lifecycle.start('expiries', expiries);
  }

  async #router(one: PipelineConfig, parts: PipelineParts, keeper: RouteKeeper): Promise<LearningRouter> {
    const { outbox, link, program, versions } = parts;
    const router = createRouter(one, {
      state: await keeper.load(one.name),
      isOpen: (id) => outbox.has(id),
      maxRequestBytes: () => link.uplink.maxRequestBytes,
      onAlarm: (alarm) => keeper.alarmed(one.name, alarm),
      counts: parts.counts,
      clock: program.clock,
    });
    const version = one.edge === undefined ? undefined : versions.initial.get(one.edge);
    if (version) router.edgeModelSeen(version.ref.digest, certificateFor(one, version.folder));
    return router;
  }

  #device({ outbox, link, versions, feeds }: PipelineParts): DeviceParts {
    const { uplink, desired } = link;
    const { updater, slots } = versions;
    return {
      online: () => uplink.online,
      outbox: () => outbox.depth.entries,
      feedOf: (pipeline) => feeds.of(pipeline)?.state ?? null,
      installed: (model) => slots.get(model)?.model?.version ?? null,
      desired: () => desired.current,
      updates: () => updater.updates,
      onInstall: () => updater.retry(),
    };
  }

  async #pipeline(
    one: PipelineConfig,
    parts: PipelineParts,
    { fanout, shelf }: { readonly fanout: Fanout; readonly shelf: Shelf | undefined },
  ): Promise<Pipeline> {
    const { outbox, link, versions, show, program } = parts;
    const { dataDir, clock, logger, metrics, lifecycle } = program;
    const { uplink, meter, desired } = link;
    const edge = one.edge === undefined ? undefined : versions.initial.get(one.edge);
    const redactor = await redactorOf(one);
    const redacted = (result: Result): Result => redactor?.result(result) ?? result;
    return new Pipeline({
      name: one.name,
      task: one.task,
      cloud: one.cloud,
      ...(one.parameters && { parameters: one.parameters }),
      loss: await lossFor(one.route.loss, edge?.folder),
      capture: await captureOf(one, {
        ...{ dataDir, lifecycle, logger },
        keep: (kept) => parts.disk.add(kept),
      }),
      deadlineMs: one.route.deadline,
      expiresMs: one.route.expires,
      local: localModel(one.edge, versions),
      router: this.routers.get(one.name) as LearningRouter,
      outbox,
      uplink,
      meter,
      shrinking: () => shrinkingOf(one, desired.current),
      ...(shelf && { keepInput: (id, input) => shelf.put(id, input) }),
      ...(!one.original && { encoding: one.picture }),
      show: (result) => {
        count(metrics, result);
        show(result);
        if (one.share !== 'none') uplink.share(redacted(result));
      },
      deliver: (result, isOwed) => fanout.deliver(redacted(result), isOwed),
      redactor,
      bare: barePicture,
      clock,
      logger,
      metrics,
    });
  }
}

function count(metrics: Metrics, result: Result): void {
  const { pipeline } = result;
  if (isFailure(result)) {
    metrics.count('outrider_failures_total', { pipeline, code: result.error.code });
    return;
  }
  const { source, reason, provisional, timingsMs } = result;
  metrics.count('outrider_results_total', { pipeline, source, reason, provisional: String(provisional) });
  if (reason !== 'audit')
    metrics.observeSeconds('outrider_first_result_seconds', { pipeline }, timingsMs.total / 1000);
}
