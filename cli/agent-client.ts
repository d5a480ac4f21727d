/** The command line's side of an agent's own HTTP API. */
import { z } from 'zod';
import { AppError, ERROR_CODES } from '../shared/runtime/errors.ts';
import { rememberedAgent } from './last-data.ts';

/** Options of every command that talks to an agent. */
export interface AgentOptions {
  readonly agent?: string;
  readonly agentKey?: string;
}

const problem = z.object({
  error: z.object({ code: z.enum(ERROR_CODES).catch('INVARIANT_BROKEN'), message: z.string() }),
});
const TIMEOUT_MS = 60_000;

/** HTTP client of one agent, with its address and key. */
export class AgentClient {
  readonly url: string;
  readonly #key: string | undefined;

  constructor(url: string, key?: string) {
    this.url = url.replace(/\/$/, '');
    this.#key = key;
  }

  /** `--agent`/`--agent-key`, else OUTRIDER_AGENT/OUTRIDER_AGENT_KEY, else the device of `up` while it runs, else the agent of this machine. */
  static async find({ agent, agentKey }: AgentOptions): Promise<AgentClient> {
    const url = agent ?? process.env.OUTRIDER_AGENT ?? (await rememberedAgent()) ?? 'http://127.0.0.1:8090';
    return new AgentClient(url, agentKey ?? process.env.OUTRIDER_AGENT_KEY);
  }

  async json<T>(path: string, schema: z.ZodType<T>, method: 'GET' | 'POST' = 'GET'): Promise<T> {
    const response = await this.#send(path, method);
    const parsed = schema.safeParse(await response.json().catch(() => undefined));
    if (parsed.success) return parsed.data;
    throw new AppError('INVARIANT_BROKEN', `${this.url} is no Outrider agent of this version`, {
      cause: parsed.error,
    });
  }

  async bytes(path: string): Promise<Uint8Array> {
    return new Uint8Array(await (await this.#send(path, 'GET')).arrayBuffer());
  }

  async delete(path: string): Promise<void> {
    await this.#send(path, 'DELETE');
  }

  /** @throws AGENT_UNREACHABLE, or the agent's own code and sentence */
  async #send(path: string, method: string): Promise<Response> {
    const headers = this.#key === undefined ? {} : { authorization: `Bearer ${this.#key}` };
    let response: Response;
    try {
      const signal = AbortSignal.timeout(TIMEOUT_MS);
      response = await fetch(`${this.url}${path}`, { method, headers, signal });
    } catch (error) {
      throw new AppError('AGENT_UNREACHABLE', `no agent answers at ${this.url}; name one with --agent`, {
        cause: error,
      });
    }
    if (response.ok) return response;
    const told = problem.safeParse(await response.json().catch(() => undefined));
    if (told.success) throw new AppError(told.data.error.code, told.data.error.message);
    throw new AppError('AGENT_UNREACHABLE', `${this.url} answered ${response.status}; is it an agent?`);
  }
}
