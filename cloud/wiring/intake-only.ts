/** A hub that answers devices beside others: no records, no people, one broker with them. */
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { z } from 'zod';
import { deviceId } from '../../shared/contract/names.ts';
import { findModelFolders } from '../../shared/release/folder/model-folder.ts';
import { readJson, writeJsonAtomic } from '../../shared/runtime/atomic-file.ts';
import { AppError } from '../../shared/runtime/errors.ts';
import { isChild } from '../../shared/runtime/program.ts';
import { createHealthApi } from '../api/health.ts';
import type { HubConfig } from '../config.ts';
import { FolderCatalog } from '../registry/folder-catalog.ts';
import { startAnswering } from './answering.ts';
import { openProgram, type Running } from './program.ts';

/** @throws USAGE, DATA_LOCKED, PORT_TAKEN */
export async function runIntakeOnly(config: HubConfig): Promise<Running> {
  const { url: mqttUrl, username, password } = config.mqtt;
  if (mqttUrl === undefined || username === undefined || password === undefined)
    throw new AppError(
      'USAGE',
      '--intake-only needs --mqtt with the broker that it shares, and its account there in OUTRIDER_MQTT_USERNAME and OUTRIDER_MQTT_PASSWORD',
    );
  const program = await openProgram(config);
  const { folder, logger, tls } = program;
  const hubId = await ownId(folder, username);
  const found = await findModelFolders(config.modelsDir, (path, error) =>
    logger.failure('hub.model_invalid', error, { path }),
  );
  const answering = await startAnswering(
    program,
    {
      hubId,
      mqtt: { url: mqttUrl, username, password, trust: tls.brokerTrust },
      models: new FolderCatalog(found),
      // The broker lets nobody publish for another device, and the hub with the records revokes at the broker.
      devices: { isActive: () => true },
    },
    undefined,
  );
  const app = createHealthApi(() =>
    answering.link.connected ? undefined : 'the MQTT broker is not connected',
  );
  const url = await program.serve(app);
  logger.info('hub.started', { url, mqttUrl, hubId, intakeOnly: true });
  if (!isChild()) process.stderr.write(`hub ${hubId} (intake only): ${url}, broker ${mqttUrl}\n`);
  return {
    facts: { url },
    stop: () => program.stop(() => answering.drain()),
  };
}

const intakeIdentity = z.object({ hubId: deviceId });

/**
 * The name of its account, which the broker's rights name; an older one stays. The same after a restart: else each start would leave a
 * retained presence on the broker.
 */
async function ownId(folder: string, username: string): Promise<string> {
  const path = join(folder, 'intake.json');
  const known = await readJson(path, intakeIdentity);
  if (known) return known.hubId;
  const hubId = deviceId.safeParse(username).data ?? `hub-${randomBytes(6).toString('hex')}`;
  await writeJsonAtomic(path, { hubId });
  return hubId;
}
