/** The command line's side of an agent's own HTTP API. */
import { resolve } from 'node:path';
import { z } from 'zod';
import { readAuthority } from '../shared/runtime/certificate-files.ts';
import { AppError, ERROR_CODES, isAppError } from '../shared/runtime/errors.ts';
import { httpsFetch, isNobodyThere } from '../shared/runtime/https-fetch.ts';
import { MAX_IMAGE_BYTES } from '../shared/tasks/limits.ts';
import { rememberedAgent } from './last-data.ts';

/** Options of every command that talks to an agent. */
export interface AgentOptions {
  readonly agent?: string;
  readonly agentKey?: string;
  readonly agentCa?: string;
}

const problem = z.object({
  error: z.object({ code: z.enum(ERROR_CODES).catch('INVARIANT_BROKEN'), message: z.string() }),
});
const TIMEOUT_MS = 60_000;
/** Beside an input as large as one may be. */
const MAX_ANSWER_BYTES = MAX_IMAGE_BYTES + 1024 * 1024;

/** HTTP client of one agent, with its address, key and trust. */
export class AgentClient {
  readonly url: string;
  readonly #key: string | undefined;
  readonly #caFile: string | undefined;

  constructor(
    url: string,
    { key, caFile }: { readonly key?: string | undefined; readonly caFile?: string | undefined } = {},
  ) {
    this.url = url.replace(/\/$/, '');
    this.#key = key;
    this.#caFile = caFile;
  }

  /**
   * `--agent`/`--agent-key`/`--agent-ca`, else OUTRIDER_AGENT/_AGENT_KEY/_AGENT_CA, else the device of `up` while it runs, else the agent
   * of this machine.
   */
  static async find({ agent, agentKey, agentCa }: AgentOptions): Promise<AgentClient> {
    const url = agent ?? process.env.OUTRIDER_AGENT ?? (await rememberedAgent()) ?? 'http://127.0.0.1:8090';
    return new AgentClient(url, {
      key: agentKey ?? process.env.OUTRIDER_AGENT_KEY,
      caFile: agentCa ?? process.env.OUTRIDER_AGENT_CA,
    });
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

  /** @throws AGENT_UNREACHABLE, AGENT_UNTRUSTED, FILE_UNREADABLE, or the agent's own code and sentence */
  async #send(path: string, method: 'GET' | 'POST' | 'DELETE'): Promise<Response> {
    const headers = this.#key === undefined ? {} : { authorization: `Bearer ${this.#key}` };
    const ca = this.#caFile ? await readAuthority(resolve(this.#caFile)) : undefined;
    if (!URL.canParse(this.url)) throw new AppError('USAGE', `--agent ${this.url} is no address`);
    let response: Response;
    try {
      response = await httpsFetch(new URL(`${this.url}${path}`), {
        ...{ method, headers, timeoutMs: TIMEOUT_MS, maxBytes: MAX_ANSWER_BYTES },
        ...(ca !== undefined && { trust: { ca } }),
      });
    } catch (error) {
      if (isAppError(error, 'HUB_UNTRUSTED'))
        throw new AppError('AGENT_UNTRUSTED', error.message, { cause: error });
      const isAway = isNobodyThere(error) || !isAppError(error, 'HUB_UNREACHABLE');
      const what = isAway
        ? `no agent answers at ${this.url}; name one with --agent`
        : `${this.url} has taken the connection, and has not answered; is it an agent, and is its machine busy?`;
      throw new AppError('AGENT_UNREACHABLE', what, { cause: error });
    }
    if (response.ok) return response;
    const told = problem.safeParse(await response.json().catch(() => undefined));
    if (told.success) throw new AppError(told.data.error.code, told.data.error.message);
    throw new AppError('AGENT_UNREACHABLE', `${this.url} answered ${response.status}; is it an agent?`);
  }
}
