/** The agent as a user starts it, with a folder that holds its configuration and its data. */
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { freePort } from './ports.ts';
import { outrider, type Program } from './programs.ts';

/** An agent that is up, and where it is asked. */
export interface RunningAgent {
  readonly agent: Program;
  readonly url: string;
}

/** @param folder with `outrider.yaml` for the device gate-01; its data goes to `data` in it @param models folder of models */
export async function startAgent(t: TestContext, folder: string, models: string): Promise<RunningAgent> {
  const port = await freePort();
  const where = [
    '--config',
    join(folder, 'outrider.yaml'),
    '--data',
    join(folder, 'data'),
    '--models',
    models,
  ];
  const agent = outrider(t, ['agent', ...where, '--agent-port', String(port)]);
  await agent.says('agent gate-01:');
  return { agent, url: `http://127.0.0.1:${port}` };
}
