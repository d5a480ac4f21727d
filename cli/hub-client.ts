/** The command line's side of the hub's HTTP API: where the hub is, which key to use, and errors as one sentence. */
import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { rootCertificates } from 'node:tls';
import { createParser } from 'eventsource-parser';
import { z } from 'zod';
import { MAX_REQUEST_BYTES } from '../shared/contract/limits.ts';
import { readAuthority } from '../shared/runtime/certificate-files.ts';
import { AppError, ERROR_CODES, isAppError } from '../shared/runtime/errors.ts';
import {
  type HttpsFetchOptions,
  type HttpsStream,
  httpsFetch,
  httpsStream,
  isNobodyThere,
} from '../shared/runtime/https-fetch.ts';
import { tryParseJson } from '../shared/runtime/json.ts';
import { isLoopback } from '../shared/runtime/loopback.ts';
import type { Trust } from '../shared/runtime/trust.ts';
import { rememberedData } from './last-data.ts';
import { readLogin } from './login-file.ts';

/** Options of every command that talks to a hub. */
export interface HubOptions {
  readonly hub?: string;
  readonly key?: string;
  readonly data?: string;
  readonly ca?: string;
}

const ADDRESS_FILE = 'address.json';
const address = z.object({ url: z.string(), mqttUrl: z.string().optional() });
const problem = z.object({ code: z.enum(ERROR_CODES).catch('HUB_FAILED'), detail: z.string() });
/** One event of a generation, in Text Generation Inference's form. */
const tokenEvent = z.union([
  z.object({ token: z.object({ text: z.string(), special: z.boolean() }) }),
  z.object({ error: z.string(), error_type: z.enum(ERROR_CODES).catch('HUB_FAILED') }),
]);
const taskError = z.object({ error: z.string(), code: z.enum(ERROR_CODES).catch('HUB_FAILED') });
/** How long the hub may take, ms: for an answer, and where it digests, tests and signs what is published, on a slow disk too. */
const PATIENCE = { answerMs: 60_000, publishMs: 900_000 };
/** No answer is larger than the largest input. */
const MAX_ANSWER_BYTES = MAX_REQUEST_BYTES;

type Asking = Pick<HttpsFetchOptions, 'method' | 'headers' | 'body'> & { readonly timeoutMs?: number };

/** HTTP client of one hub, with its address, key and trust. */
export class HubClient {
  readonly url: string;
  readonly #key: string | undefined;
  readonly #trust: Trust;

  readonly #patience: typeof PATIENCE;

  constructor(url: string, key: string | undefined, trust: Trust = {}, patience = PATIENCE) {
    this.#trust = trust;
    this.#patience = patience;
    this.url = url.replace(/\/$/, '');
    this.#key = key;
  }

  /**
   * `--hub`/`--key`/`--ca`, else OUTRIDER_HUB/_KEY/_CA, else the hub that this user has logged in to, unless `--data` names a folder,
   * else what a hub left in the data folder (`./data`, or where `up` has run last). A key that was found goes to the hub that it was found with, and to no other.
   *
   * @throws FILE_UNREADABLE, DATA_CORRUPT
   */
  static async find({ hub, key, data, ca }: HubOptions): Promise<HubClient> {
    const folder = await hubFolderOf(data);
    const left = (await leftAddress(folder))?.url ?? 'http://127.0.0.1:8080';
    const login = data === undefined ? await readLogin() : undefined;
    const url = hub ?? process.env.OUTRIDER_HUB ?? login?.url ?? left;
    const isLogin = login !== undefined && isSameHub(login.url, url);
    const isLeft = isSameHub(left, url);
    const found =
      key ??
      process.env.OUTRIDER_KEY ??
      (isLogin ? login.key : isLeft ? await adminKeyIn(folder) : undefined);
    const caFile = ca ?? process.env.OUTRIDER_CA;
    if (caFile === undefined && isLogin && login.ca !== undefined)
      return new HubClient(url, found, { ca: login.ca });
    return new HubClient(url, found, await trustIn(folder, caFile));
  }

  async get<T>(path: string, schema: z.ZodType<T>): Promise<T> {
    return this.#json(await this.#send(path, { method: 'GET' }), schema);
  }

  /** Every page of a list. */
  async getAll<Key extends string, Item>(
    path: string,
    schema: z.ZodType<Record<Key, Item[]> & { next: string | null }>,
    key: Key,
  ): Promise<Item[]> {
    const items: Item[] = [];
    let after: string | null = null;
    do {
      const joint = path.includes('?') ? '&' : '?';
      const query: string = after === null ? '' : `${joint}after=${encodeURIComponent(after)}`;
      const page: Record<Key, Item[]> & { next: string | null } = await this.get(`${path}${query}`, schema);
      items.push(...page[key]);
      after = page.next;
    } while (after !== null);
    return items;
  }

  post<T>(path: string, body: object, schema: z.ZodType<T>): Promise<T> {
    return this.#post(path, { body, timeoutMs: this.#patience.answerMs }, schema);
  }

  /** Has the hub publish what was uploaded: it looks at all of it before it answers. */
  publish<T>(path: string, body: object, schema: z.ZodType<T>): Promise<T> {
    return this.#post(path, { body, timeoutMs: this.#patience.publishMs }, schema);
  }

  async #post<T>(
    path: string,
    { body, timeoutMs }: { readonly body: object; readonly timeoutMs: number },
    schema: z.ZodType<T>,
  ): Promise<T> {
    const sent = await this.#send(path, {
      method: 'POST',
      timeoutMs,
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
    return this.#json(sent, schema);
  }

  /** Puts it there, whatever was there before. */
  async put<T>(path: string, body: object, schema: z.ZodType<T>): Promise<T> {
    const headers = { 'content-type': 'application/json' };
    return this.#json(await this.#send(path, { method: 'PUT', headers, body: JSON.stringify(body) }), schema);
  }

  /** Bytes in, what the hub says of them out. */
  async postBytes<T>(path: string, body: Uint8Array, schema: z.ZodType<T>): Promise<T> {
    const headers = { 'content-type': 'application/octet-stream' };
    return this.#json(await this.#send(path, { method: 'POST', headers, body }), schema);
  }

  /** A file of the hub's, whole. */
  async bytes(path: string): Promise<Uint8Array> {
    return new Uint8Array(await (await this.#send(path, { method: 'GET' })).arrayBuffer());
  }

  /** Raw bytes in, the task's output out. */
  async infer<T>(model: string, body: Uint8Array, contentType: string, schema: z.ZodType<T>): Promise<T> {
    const path = `/hf/models/${modelPath(model)}`;
    return this.#json(
      await this.#send(path, {
        method: 'POST',
        headers: { 'content-type': contentType },
        body,
      }),
      schema,
    );
  }

  /** Text as it is generated, piece by piece. @throws as infer */
  async *generate(model: string, body: object): AsyncGenerator<string, void> {
    const response = await this.#stream(`/hf/models/${modelPath(model)}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
    const pieces: string[] = [];
    const parser = createParser({ onEvent: ({ data }) => pieces.push(data) });
    const decoder = new TextDecoder();
    for await (const chunk of response.body) {
      parser.feed(decoder.decode(chunk, { stream: true }));
      for (const data of pieces.splice(0)) {
        const event = tokenEvent.safeParse(tryParseJson(Buffer.from(data)));
        if (!event.success) throw new AppError('HUB_FAILED', `${this.url} answered something unexpected`);
        if ('error' in event.data) throw new AppError(event.data.error_type, event.data.error);
        const { token } = event.data;
        if (!token.special) yield token.text;
      }
    }
  }

  /** Changes what was read with this ETag. @throws PRECONDITION_FAILED when somebody has changed it since */
  async change<T>(
    method: 'PUT' | 'PATCH' | 'POST',
    path: string,
    { etag, body, schema }: { readonly etag: string; readonly body: object; readonly schema: z.ZodType<T> },
  ): Promise<T> {
    const headers = { 'content-type': 'application/json', 'if-match': etag };
    return this.#json(await this.#send(path, { method, headers, body: JSON.stringify(body) }), schema);
  }

  /** With the ETag that `change` wants. */
  async getTagged<T>(path: string, schema: z.ZodType<T>): Promise<{ value: T; etag: string }> {
    const response = await this.#send(path, { method: 'GET' });
    const etag = response.headers.get('etag') ?? '';
    return { value: await this.#json(response, schema), etag };
  }

  /** As it is, with the ETag that `putBytes` wants. */
  async getBytes(path: string): Promise<{ body: Uint8Array; etag: string }> {
    const response = await this.#send(path, { method: 'GET' });
    return {
      body: new Uint8Array(await response.arrayBuffer()),
      etag: response.headers.get('etag') ?? '',
    };
  }

  /** A file as it comes. */
  async getFile(path: string): Promise<AsyncIterable<Uint8Array>> {
    return (await this.#stream(path, { method: 'GET' })).body;
  }

  /** Puts it in the place of what was read with this ETag. @throws PRECONDITION_FAILED when somebody has changed it since */
  async putBytes(
    path: string,
    { etag, body }: { readonly etag: string; readonly body: Uint8Array },
  ): Promise<void> {
    const headers = { 'content-type': 'application/json', 'if-match': etag };
    await this.#send(path, { method: 'PUT', headers, body });
  }

  /** How much of a blob has come: all of it, or so many bytes. */
  async blobState(sha256: string): Promise<'whole' | number> {
    const response = await this.#fetch(`/api/v1/blobs/${sha256}`, { method: 'HEAD' });
    if (response.ok) return 'whole';
    const offset = response.headers.get('upload-offset');
    if (response.status === 404) return Number(offset ?? 0);
    throw new AppError(
      response.status === 401 ? 'UNAUTHORIZED' : 'FORBIDDEN',
      `the hub answered ${response.status} to an upload`,
    );
  }

  /** Sends a piece of a blob. */
  async uploadPiece(
    sha256: string,
    piece: { readonly offset: number; readonly body: Uint8Array; readonly isLast: boolean },
  ): Promise<void> {
    await this.#send(`/api/v1/blobs/${sha256}`, {
      method: 'PUT',
      headers: {
        'content-type': 'application/octet-stream',
        'upload-offset': String(piece.offset),
        'upload-complete': piece.isLast ? '?1' : '?0',
      },
      body: piece.body,
    });
  }

  /** Takes it away, and reads what became of it. */
  async remove<T>(path: string, schema: z.ZodType<T>): Promise<T> {
    return this.#json(await this.#send(path, { method: 'DELETE' }), schema);
  }

  async delete(path: string): Promise<void> {
    await this.#send(path, { method: 'DELETE' });
  }

  /** What the hub answers, also when it refuses. @throws USAGE, HUB_UNREACHABLE, HUB_UNTRUSTED */
  ask(path: string): Promise<Response> {
    return this.#fetch(path, { method: 'GET' });
  }

  /** @throws USAGE, HUB_UNREACHABLE, HUB_UNTRUSTED, or the hub's own code and sentence */
  async #send(path: string, init: Asking): Promise<Response> {
    const response = await this.#fetch(path, init);
    if (!response.ok) throw await toError(response, this.url);
    return response;
  }

  /** An answer that is read as it comes. @throws as #send */
  async #stream(path: string, init: Asking): Promise<HttpsStream> {
    const { signal } = new AbortController();
    const opened = await this.#connected(path, init, (url, asking) =>
      httpsStream(url, { ...asking, signal }),
    );
    if (opened.status === 200) return opened;
    const chunks: Uint8Array[] = [];
    for await (const chunk of opened.body) chunks.push(chunk);
    throw await toError(new Response(Buffer.concat(chunks), { status: opened.status }), this.url);
  }

  #fetch(path: string, init: Asking): Promise<Response> {
    return this.#connected(path, init, (url, asking) =>
      httpsFetch(url, { ...asking, maxBytes: MAX_ANSWER_BYTES }),
    );
  }

  /** With the key, and with a sentence that helps where nobody answers. */
  async #connected<T>(
    path: string,
    init: Asking,
    open: (url: URL, asking: Omit<HttpsFetchOptions, 'maxBytes'>) => Promise<T>,
  ): Promise<T> {
    const headers = {
      ...init.headers,
      ...(this.#key !== undefined && { authorization: `Bearer ${this.#key}` }),
    };
    const url = `${this.url}${path}`;
    if (!URL.canParse(url)) throw new AppError('USAGE', `“${this.url}” is no address of a hub`);
    try {
      return await open(new URL(url), {
        ...{ timeoutMs: this.#patience.answerMs, ...init },
        ...{ headers, trust: this.#trust },
      });
    } catch (error) {
      if (!isNobodyThere(error) || !isAppError(error)) throw error;
      throw new AppError(
        'HUB_UNREACHABLE',
        `no hub answers at ${this.url}; start one with \`npm start\`, or name it with --hub`,
        { cause: error.cause },
      );
    }
  }

  async #json<T>(response: Response, schema: z.ZodType<T>): Promise<T> {
    const parsed = schema.safeParse(await response.json().catch(() => undefined));
    if (!parsed.success)
      throw new AppError('HUB_FAILED', `${this.url} answered something unexpected`, { cause: parsed.error });
    return parsed.data;
  }
}

/** `org/name` stays two parts. */
export const modelPath = (name: string): string => name.split('/').map(encodeURIComponent).join('/');

async function toError(response: Response, url: string): Promise<AppError> {
  const json: unknown = await response.json().catch(() => undefined);
  const admin = problem.safeParse(json);
  if (admin.success) return new AppError(admin.data.code, admin.data.detail);
  const task = taskError.safeParse(json);
  if (task.success) return new AppError(task.data.code, task.data.error);
  return new AppError('HUB_FAILED', `${url} answered ${response.status}`);
}

/** The same program, however this machine is called. */
function isSameHub(one: string, other: string): boolean {
  if (!URL.canParse(one) || !URL.canParse(other)) return false;
  const [a, b] = [new URL(one), new URL(other)];
  return (
    a.protocol === b.protocol &&
    a.port === b.port &&
    (a.hostname === b.hostname || (isLoopback(a.hostname) && isLoopback(b.hostname)))
  );
}

const adminKeyIn = async (folder: string): Promise<string | undefined> =>
  (await readFile(join(folder, 'admin.key'), 'utf8').catch(() => undefined))?.trim();

/** PEM of an authority by its file, else by OUTRIDER_CA's. @throws FILE_UNREADABLE */
export const readCa = async (
  file: string | undefined = process.env.OUTRIDER_CA,
): Promise<string | undefined> =>
  file === undefined || file === '' ? undefined : readAuthority(resolve(file));

/** A local hub's own authority besides the system's: the hub that is asked may be another one. */
async function trustIn(folder: string, caFile: string | undefined): Promise<Trust> {
  const ca = await readCa(caFile);
  if (ca !== undefined) return { ca };
  const left = await readFile(join(folder, 'tls', 'ca.pem'), 'utf8').catch(() => undefined);
  return left === undefined ? {} : { ca: [...rootCertificates, left].join('\n') };
}

/** With no folder named: that of `./data` where a hub has left its address, else that of the last `outrider up`. */
export async function hubFolderOf(data: string | undefined): Promise<string> {
  const usual = hubFolder(data);
  if (data !== undefined || (await leftAddress(usual).catch(() => undefined))) return usual;
  const remembered = await rememberedData();
  return remembered === undefined ? usual : hubFolder(remembered);
}

/** Folder of a local hub below the data folder, where it leaves its key. */
export const hubFolder = (data = 'data'): string => join(resolve(data), 'hub');

/** Address of the hub that keeps, or kept, its data in this folder: its own address, and the broker's as it uses it. */
export async function leftAddress(folder: string): Promise<z.infer<typeof address> | undefined> {
  const bytes = await readFile(join(folder, ADDRESS_FILE)).catch(() => undefined);
  return address.safeParse(bytes && tryParseJson(bytes)).data;
}
