/**
 * The composition root of the hub, as its table of contents: flags -> parts -> start -> stop when told. How parts are put together
 * stands in wiring/; what a request goes through, in intake/intake.ts (devices) and asking/asking.ts (HTTP).
 */
import { helpText } from '../shared/runtime/help-text.ts';
import { isChild, runProgram } from '../shared/runtime/program.ts';
import { backUpCommand, restoreCommand } from './backup/commands.ts';
import { settleRestored } from './backup/restore.ts';
import { HUB_HELP, type HubConfig, loadConfig } from './config.ts';
import { createApi } from './wiring/api.ts';
import { startBroker } from './wiring/broker.ts';
import { runIntakeOnly } from './wiring/intake-only.ts';
import { introduce, writeAddress } from './wiring/introduction.ts';
import { type HubProgram, openProgram, type Running } from './wiring/program.ts';
import { type Publishing, startPublishing } from './wiring/publishing.ts';
import { startRecordedAnswering } from './wiring/recorded-answering.ts';
import { type Records, startRecords } from './wiring/records.ts';
import { startRollouts } from './wiring/rollouts.ts';
import { startTraining } from './wiring/training.ts';

async function runHub(config: HubConfig): Promise<Running> {
  const program = await openProgram(config);
  // A process of its own, which comes up while we read what we know.
  const [{ records, publishing }, broker] = await Promise.all([startKnown(program), startBroker(program)]);
  const answering = await startRecordedAnswering(program, records, broker, publishing.considerDeltas);
  const rollouts = await startRollouts(program, records);
  const trainings = await startTraining(program, { records, publishing, answering, rollouts });
  const parts = { records, publishing, broker, answering, rollouts, trainings };
  const { app, signIns } = createApi(program, parts);
  const url = await program.serve(app);
  const { hubId } = records.registry;
  const { isDevelopment } = publishing.updates;
  await writeAddress(program.folder, { url, mqttUrl: broker.url });
  program.logger.info('hub.started', { url, mqttUrl: broker.url, hubId });
  if (!isChild()) introduce({ hubId, url, mqttUrl: broker.url, folder: program.folder, isDevelopment });
  // A secret, good once: on the terminal of whoever asked for it, and in no log of ours.
  if (config.printsSignIn)
    process.stderr.write(`sign in once, within ten minutes: ${url}${signIns.createPath()}\n`);
  return {
    facts: { url, mqttUrl: broker.url, hasDevelopmentKeys: isDevelopment },
    stop: () => program.stop(() => answering.drain()),
  };
}

/** What the hub has on its disk: its records, and the versions that devices can have. */
async function startKnown(program: HubProgram): Promise<{ records: Records; publishing: Publishing }> {
  const records = await startRecords(program);
  const publishing = await startPublishing(program, records);
  if (program.isRestored) await settleRestored(program.folder);
  return { records, publishing };
}

/** What is done with a hub's folder, and ends. */
const COMMANDS = { backup: backUpCommand, restore: restoreCommand };

await runProgram(async () => {
  const [word = '', ...rest] = process.argv.slice(2);
  if (word === 'backup' || word === 'restore') {
    await COMMANDS[word](rest);
    process.exit(0);
  }
  const config = loadConfig(process.argv.slice(2));
  if (config === 'help') {
    process.stdout.write(helpText(HUB_HELP));
    process.exit(0);
  }
  return config.intakeOnly ? runIntakeOnly(config) : runHub(config);
});
