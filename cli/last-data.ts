/**
 * The data folder that `outrider up` has used last, and its device while it runs: commands in another terminal look there, too, when
 * nothing says where hub and agent are.
 */
import { homedir } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';
import { readJson, writeJsonAtomic } from '../shared/runtime/atomic-file.ts';

/** `pid`: of the `up` that has started this agent. */
const lastData = z.object({
  data: z.string(),
  agent: z.object({ url: z.string(), pid: z.int().positive() }).optional(),
});

/** XDG Base Directory Specification. */
const path = (): string =>
  join(process.env.XDG_STATE_HOME || join(homedir(), '.local', 'state'), 'outrider', 'last-data.json');

/** Kept where there is room for it; a convenience that a full disk may cost. */
export const rememberData = (data: string, agentUrl: string): Promise<void> =>
  writeJsonAtomic(path(), { data, agent: { url: agentUrl, pid: process.pid } }, 0o600).catch(() => undefined);

/** @returns the address of the device of an `up` that runs */
export async function rememberedAgent(): Promise<string | undefined> {
  const agent = (await readJson(path(), lastData).catch(() => undefined))?.agent;
  return agent && isAlive(agent.pid) ? agent.url : undefined;
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

/** @returns an absolute path; undefined where there is none, or none that can be read */
export const rememberedData = async (): Promise<string | undefined> =>
  (await readJson(path(), lastData).catch(() => undefined))?.data;
