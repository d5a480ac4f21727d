/**
 * Asks a device over HTTP at a steady rate, and keeps a record of its own of what was accepted: that is what the device may not
 * lose. A call that was cut off counts as nothing: nobody has said yes.
 */
import { copyFile, readFile, rename } from 'node:fs/promises';
import { extname, join } from 'node:path';
import sharp from 'sharp';
import { z } from 'zod';
import { requestId } from '../../shared/contract/names.ts';
import { type Result, result } from '../../shared/contract/result.ts';
import { systemCode } from '../../shared/runtime/errors.ts';
import type { Random } from '../../shared/runtime/random.ts';
import { ASKED, type Device, demoPictures, SENTENCES_FILE } from './place.ts';

/** A request that the device said yes to. */
export interface Accepted {
  readonly id: string;
  readonly pipeline: string;
  readonly bytes: number;
  /** What the caller was given: undefined for a 202. */
  readonly given: Result | undefined;
}

/** What one device was asked, and what it said. */
export interface Ledger {
  readonly device: string;
  readonly accepted: Accepted[];
  /** Names of files that were put into its input folder. */
  readonly files: string[];
  /** Told to come back, or why not. */
  refused: number;
  /** Cut off before an answer. */
  unknown: number;
  /** Nobody was there to ask. */
  unheard: number;
}

export interface Inputs {
  readonly pictures: readonly Buffer[];
  readonly picturePaths: readonly string[];
  readonly sentences: readonly Buffer[];
  /** Noise, which no compression makes smaller, with how often each is sent. */
  readonly large: readonly { readonly picture: Buffer; readonly share: number }[];
}

/** Of the requests for pictures. In bytes as PNG: 0.3, 2 and 10 MB. */
const LARGE = [
  { sidePx: 316, share: 0.04 },
  { sidePx: 816, share: 0.015 },
  { sidePx: 1_826, share: 0.01 },
];
/** Requests that this side holds open for one device: below the 32 per pipeline at which the agent refuses. */
const MAX_OPEN = 48;
/** Now and then many at once, so that something is under way when a program dies. */
const BURST_SHARE = 0.02;
const BURST = 40;
const FORCED_SHARE = 0.7;
const TIMEOUT_MS = 30_000;
const FILE_EVERY_MS = 2_000;

const accepted = z.object({ id: requestId, status: z.literal('accepted') });

export async function loadInputs(random: Random): Promise<Inputs> {
  const picturePaths = await demoPictures();
  const sentences = (await readFile(SENTENCES_FILE, 'utf8')).split('\n').filter((line) => line.trim() !== '');
  return {
    picturePaths,
    pictures: await Promise.all(picturePaths.map((path) => readFile(path))),
    sentences: sentences.map((line) => Buffer.from(line)),
    large: await Promise.all(
      LARGE.map(async ({ sidePx, share }) => ({ picture: await noise(sidePx, random), share })),
    ),
  };
}

function noise(sidePx: number, random: Random): Promise<Buffer> {
  const pixels = Buffer.alloc(3 * sidePx * sidePx);
  for (let at = 0; at < pixels.length; at++) pixels[at] = random.next() * 256;
  const raw = { width: sidePx, height: sidePx, channels: 3 } as const;
  return sharp(pixels, { raw }).png({ compressionLevel: 1 }).toBuffer();
}

export class Load {
  readonly ledger: Ledger;
  readonly #device: Device;
  readonly #inputs: Inputs;
  readonly #random: Random;
  readonly #perSecond: number;
  readonly #open = new Set<Promise<void>>();
  #timers: NodeJS.Timeout[] = [];

  constructor(options: {
    readonly device: Device;
    readonly inputs: Inputs;
    readonly random: Random;
    readonly perSecond: number;
  }) {
    this.#device = options.device;
    this.#inputs = options.inputs;
    this.#random = options.random;
    this.#perSecond = options.perSecond;
    this.ledger = { device: options.device.id, accepted: [], files: [], refused: 0, unknown: 0, unheard: 0 };
  }

  start(): void {
    this.#timers = [
      setInterval(() => this.#next(), 1_000 / this.#perSecond),
      setInterval(() => this.#hold(this.#putFile()), FILE_EVERY_MS),
    ];
  }

  /** No new ones; those that are open are waited for. */
  async stop(): Promise<void> {
    for (const timer of this.#timers) clearInterval(timer);
    await Promise.all(this.#open);
  }

  #hold(work: Promise<void>): void {
    this.#open.add(work);
    void work.finally(() => this.#open.delete(work));
  }

  #next(): void {
    const count = this.#random.chance(BURST_SHARE) ? BURST : 1;
    for (let asked = 0; asked < count && this.#open.size < MAX_OPEN; asked++) this.#hold(this.#ask());
  }

  async #ask(): Promise<void> {
    const { name, kind } = this.#random.pick(ASKED, ({ weight }) => weight);
    const large = kind === 'picture' ? this.#largePicture() : undefined;
    const body =
      large ?? this.#random.pick(kind === 'picture' ? this.#inputs.pictures : this.#inputs.sentences);
    const isForced = large !== undefined || this.#random.chance(FORCED_SHARE);
    const url = `${this.#device.url}/v1/infer/${name}${isForced ? '?route=cloud' : ''}`;
    try {
      const response = await fetch(url, {
        method: 'POST',
        body: new Uint8Array(body),
        signal: AbortSignal.timeout(TIMEOUT_MS),
      });
      this.#note(await response.json(), name, body.length);
    } catch (error) {
      if (isRefusedConnection(error)) this.ledger.unheard++;
      else this.ledger.unknown++;
    }
  }

  #largePicture(): Buffer | undefined {
    let left = this.#random.next();
    for (const { picture, share } of this.#inputs.large) {
      left -= share;
      if (left < 0) return picture;
    }
    return undefined;
  }

  #note(json: unknown, pipeline: string, bytes: number): void {
    const later = accepted.safeParse(json);
    const now = result.safeParse(json);
    if (later.success) this.ledger.accepted.push({ id: later.data.id, pipeline, bytes, given: undefined });
    else if (now.success)
      this.ledger.accepted.push({ id: now.data.id, pipeline, bytes, given: now.data as Result });
    else this.ledger.refused++;
  }

  /** Whole when it appears, as a good camera does it. */
  async #putFile(): Promise<void> {
    const from = this.#random.pick(this.#inputs.picturePaths);
    const name = `${String(this.ledger.files.length).padStart(6, '0')}${extname(from)}`;
    const { inputFolder } = this.#device;
    await copyFile(from, join(inputFolder, `.${name}`));
    await rename(join(inputFolder, `.${name}`), join(inputFolder, name));
    this.ledger.files.push(name);
  }
}

function isRefusedConnection(error: unknown): boolean {
  return error instanceof Error && systemCode(error.cause) === 'ECONNREFUSED';
}
