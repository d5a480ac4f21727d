/** A server that speaks the Hugging Face hub's file API over folders, with the faults that networks and mirrors have. */
import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface Repository {
  readonly files: Readonly<Record<string, Uint8Array>>;
  /** Kept as large files are, with a SHA-256; the others by git's names. */
  readonly large?: readonly string[];
  /** Only with this token. */
  readonly token?: string;
}

export interface Fault {
  /** Of the file's path. */
  readonly path: string;
  /** How often, from now on. */
  readonly times: number;
  /** `cut`: the connection ends after so many bytes. `wrong`: another byte. `status`: no file at all. `whole`: no ranges. */
  readonly kind: { readonly cut: number } | 'wrong' | { readonly status: number } | 'whole';
}

export const COMMIT = 'a'.repeat(40);
const PAGE = 3;

export class HuggingFaceHub {
  #repositories: Readonly<Record<string, Repository>>;
  readonly #server = createServer((request, response) => this.#answer(request, response));
  #faults: { fault: Fault; left: number }[] = [];
  /** `GET /path range` of everything that was asked. */
  readonly asked: string[] = [];

  constructor(repositories: Readonly<Record<string, Repository>>) {
    this.#repositories = repositories;
  }

  async start(): Promise<string> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  stop(): Promise<void> {
    this.#server.closeAllConnections();
    return new Promise((resolve) => this.#server.close(() => resolve()));
  }

  /** Other repositories than before. */
  serve(repositories: Readonly<Record<string, Repository>>): void {
    this.#repositories = repositories;
  }

  break(...faults: Fault[]): void {
    this.#faults = faults.map((fault) => ({ fault, left: fault.times }));
    this.asked.length = 0;
  }

  #answer(request: IncomingMessage, response: ServerResponse): ServerResponse {
    const url = new URL(request.url ?? '/', 'http://hub');
    this.asked.push(`${url.pathname} ${request.headers.range ?? ''}`.trim());
    const name = Object.keys(this.#repositories).find((one) =>
      [`/api/models/${one}/`, `/${one}/resolve/`].some((start) => url.pathname.startsWith(start)),
    );
    const repository = this.#repositories[name ?? ''];
    if (name === undefined || !repository) return json(response, 404, { error: 'Repository not found' });
    if (repository.token !== undefined && request.headers.authorization !== `Bearer ${repository.token}`)
      return json(response, 401, { error: 'Invalid credentials' });
    const [, kind, revision = '', path = ''] =
      new RegExp(`^/(?:api/models/)?${name}/(revision|tree|resolve)/([^/]+)/?(.*)$`).exec(url.pathname) ?? [];
    if (!['HEAD', 'main', 'v1', COMMIT].includes(revision))
      return json(response, 404, { error: 'Invalid rev' });
    if (kind === 'revision') return json(response, 200, { ...ENTRY, id: name, sha: COMMIT });
    if (kind === 'tree') return this.#list(repository, url, response);
    return this.#send(repository, path, request, response);
  }

  #list({ files, large = [] }: Repository, url: URL, response: ServerResponse): ServerResponse {
    const all = Object.entries(files).map(([path, bytes]) => ({
      type: 'file',
      path,
      size: bytes.length,
      oid: hash('sha1', Buffer.concat([Buffer.from(`blob ${bytes.length}\0`), bytes])),
      ...(large.includes(path) && {
        lfs: { oid: hash('sha256', bytes), size: bytes.length, pointerSize: 130 },
      }),
    }));
    const from = Number(url.searchParams.get('cursor') ?? 0);
    if (from + PAGE < all.length) {
      url.searchParams.set('cursor', String(from + PAGE));
      url.host = `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
      response.setHeader('link', `<${url.href}>; rel="next"`);
    }
    return json(response, 200, all.slice(from, from + PAGE));
  }

  #send(
    { files }: Repository,
    path: string,
    request: IncomingMessage,
    response: ServerResponse,
  ): ServerResponse {
    const bytes = files[path];
    if (!bytes) return json(response, 404, { error: 'Entry not found' });
    const found = this.#faults.find(({ fault, left }) => fault.path === path && left > 0);
    if (found) found.left--;
    const kind = found?.fault.kind;
    if (typeof kind === 'object' && 'status' in kind)
      return json(response, kind.status, { error: 'a fault' });
    const from = kind === 'whole' ? 0 : Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0);
    const body = Buffer.from(bytes.subarray(from));
    if (kind === 'wrong') body[0] = (body[0] ?? 0) ^ 1;
    response.writeHead(from > 0 ? 206 : 200, { 'content-length': body.length });
    if (typeof kind === 'object') {
      response.write(body.subarray(0, kind.cut), () => response.destroy());
      return response;
    }
    return response.end(body);
  }
}

/** What the hub says of every model, so that its client is content. */
const ENTRY = {
  _id: '1',
  private: false,
  downloads: 0,
  likes: 0,
  gated: false,
  lastModified: '2026-01-01T00:00:00Z',
};

const hash = (kind: string, bytes: Uint8Array): string => createHash(kind).update(bytes).digest('hex');

function json(response: ServerResponse, status: number, body: unknown): ServerResponse {
  response.writeHead(status, { 'content-type': 'application/json' });
  return response.end(JSON.stringify(body));
}
