/**
 * The agent, from its configuration to its stop: which parts there are, and in which order they start; they stop in reverse. What
 * each is made of stands in wiring/, what an input goes through in pipeline/pipeline.ts.
 */
import { helpText } from '../shared/runtime/help-text.ts';
import { isChild, runProgram } from '../shared/runtime/program.ts';
import { takeServiceEnvironment } from '../shared/runtime/service-manager.ts';
import { ResultStore } from './api/result-store.ts';
import { AGENT_HELP, type AgentConfig, loadConfig } from './config.ts';
import { VersionCounter } from './counts/version-counter.ts';
import { FeedStates } from './feed/feed-states.ts';
import { FleetTeller } from './router/fleet-teller.ts';
import { SinkStates } from './sink/sink-states.ts';
import { pacing } from './updater/pace.ts';
import { startApi } from './wiring/api.ts';
import { createDisk, openSentLog } from './wiring/disk.ts';
import { feedDown, finishWhenDone, startFeeds } from './wiring/feeds.ts';
import { checkCredential, type Link, linkOrGrace, openLink, withHub } from './wiring/link.ts';
import { openOutbox } from './wiring/outbox.ts';
import { PictureSizes } from './wiring/picture-sizes.ts';
import { Pipelines } from './wiring/pipelines.ts';
import { openProgram } from './wiring/program.ts';
import { openSelfUpdate } from './wiring/self-update.ts';
import { tellServiceManager } from './wiring/service.ts';
import { startVersions } from './wiring/versions.ts';

async function run(config: AgentConfig, finish: () => void, parent: Promise<Record<string, unknown>>) {
  const service = takeServiceEnvironment();
  const program = await openProgram(config);
  const { logger, lifecycle } = program;
  const disk = createDisk(config, program, () => outbox.diskBytes);
  const outbox = await openOutbox(config, program, disk);
  const sent = await openSentLog(config, program, disk);
  const results = new ResultStore();
  const pipelines = new Pipelines();
  // Models start before the link is there, and may fail then.
  const opened: { link?: Link } = {};
  const feedStates = new FeedStates({
    clock: program.clock,
    logger,
    onChange: () => opened.link?.uplink.announce(),
  });
  const sinkStates = new SinkStates(program);
  const pictureSizes = new PictureSizes();
  const counts = new VersionCounter({
    clock: program.clock,
    onNews: () => opened.link?.uplink.countersChanged(),
  });
  const paces = pacing(config.maxDownloadRate, program.clock);
  const self = await openSelfUpdate(config, program, {
    ...{ link: () => link, counts, disk, pacing: paces },
    phases: () => updater.updates.map(({ phase }) => phase),
  });
  const versions = await startVersions(config, program, {
    link: () => link,
    ...{ disk, pacing: paces },
    counts,
    onSwitch: (version) => {
      counts.began(version.ref);
      pipelines.edgeModelSeen(config, version);
      void pictureSizes.edgeModelSeen(version);
      opened.link?.uplink.announce();
    },
  });
  const { updater } = versions;
  const linked = await withHub(config, parent);
  await checkCredential(linked, program);
  const link: Link = await openLink(linked, program, {
    outbox,
    noteSent: (note) => sent.note(note),
    pipelines: pipelines.all,
    feeds: feedStates,
    updates: () => updater.updates,
    counts,
    pairs: new FleetTeller(pipelines.routers, program.clock),
    self,
    onSync: () => {
      updater.retry();
      self.updater.retry();
    },
  });
  opened.link = link;
  const { uplink, desired, sync } = link;
  const show = results.add.bind(results);
  await pipelines.start({
    ...{ config, program, outbox, link, versions, disk, sent },
    ...{ feeds: feedStates, sinks: sinkStates, counts, show },
  });
  await lifecycle.start('disk', disk);
  await lifecycle.start('uplink', uplink);
  await lifecycle.start('updater', updater);
  await lifecycle.start('self-updater', self.updater);
  desired.follow((wanted) => {
    pipelines.cloudModelsSeen(config, wanted);
    pipelines.fleetStartsSeen(wanted);
    uplink.announce();
    updater.want(wanted.models.map(({ window: _window, ...ref }) => ref));
    self.updater.want(wanted.agent);
  });
  await lifecycle.start('sync', sync);
  const url = await startApi(linked, program, {
    pipelines: pipelines.all,
    feeds: feedStates,
    sinks: sinkStates,
    results,
    outbox,
    link,
    versions,
    self,
    disk,
    sent,
    notReady: () => feedDown(feedStates),
  });
  await linkOrGrace(link, program);
  for (const version of versions.initial.values()) await pictureSizes.edgeModelSeen(version);
  const feeds = await startFeeds(config, program, pipelines.all, {
    states: feedStates,
    sizeOf: (pipeline) => pictureSizes.of(pipeline, desired.current),
  });
  const names = [...pipelines.all.keys()];
  logger.info('agent.started', { url, pipelines: names });
  if (service) await tellServiceManager(service, program, { link, pipelines: names.length });
  if (config.once) void finishWhenDone(feeds, program, () => outbox.depth.entries, finish);
  if (!isChild()) process.stderr.write(`agent ${config.device}: ${url}, pipelines: ${names.join(', ')}\n`);
  return { facts: { url }, stop: () => program.stop() };
}

await runProgram(async (finish, parent) => {
  const config = await loadConfig(process.argv.slice(2));
  if (config !== 'help') return run(config, finish, parent);
  process.stdout.write(helpText(AGENT_HELP));
  process.exit(0);
});
