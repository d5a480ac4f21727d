/** The cameras of a configuration: one for all pipelines that read it in the same way, with an output for each different wish. */

import { basename, resolve } from 'node:path';
import { type CameraAddress, readAddress } from '../../shared/camera/address.ts';
import { isReachable } from '../../shared/camera/reachable.ts';
import type { SizePx } from '../../shared/release/folder/picture-recipe.ts';
import { readAuthority } from '../../shared/runtime/certificate-files.ts';
import type { Clock } from '../../shared/runtime/clock.ts';
import { Camera } from '../camera/camera.ts';
import { CameraFeed } from '../camera/camera-feed.ts';
import { MotionGate } from '../camera/motion.ts';
import { createSource, type WantedOutput } from '../camera/source.ts';
import type { CameraFeedConfig } from '../config/camera.ts';
import type { PipelineConfig } from '../config/pipeline.ts';
import type { AgentConfig } from '../config.ts';
import type { Feed } from '../ports.ts';

/** Longer sides than this no model uses, and each pixel is copied twice. */
const DEFAULT_BOX = { widthPx: 1_280, heightPx: 1_280, fit: 'inside' } as const;
const MIN_STALL_MS = 10_000;
/** For people, movement and whoever scales again, however little a model looks at. */
const LEAST_PX = 256;
/** So many pictures may be missing. */
const STALL_PICTURES = 5;

/** A camera under way to its pipelines. */
interface Place {
  readonly feed: CameraFeedConfig;
  readonly address: CameraAddress;
  readonly wishes: Map<string, Wish>;
  stallAfterMs: number;
}

/** An output, and whom it is for. */
interface Wish {
  readonly output: WantedOutput;
  readonly pipelines: PipelineConfig[];
}

/** The least that a picture for a pipeline must cover; undefined: nobody knows, or each pixel counts. */
export type SizeOf = (pipeline: PipelineConfig) => SizePx | undefined;

/** Cameras by how they are read; made once for all pipelines. */
export class Cameras {
  readonly #config: AgentConfig;
  readonly #clock: Clock;
  readonly #sizeOf: SizeOf;
  readonly #places = new Map<string, Place>();
  readonly #made = new Map<string, Camera>();

  constructor(config: AgentConfig, clock: Clock, sizeOf: SizeOf = () => undefined) {
    this.#config = config;
    this.#clock = clock;
    this.#sizeOf = sizeOf;
    for (const pipeline of config.pipelines)
      if (pipeline.feed?.type === 'camera') this.#want(pipeline, pipeline.feed);
  }

  /** The feed of a pipeline with a camera. */
  feedOf({ name, edge }: PipelineConfig, feed: CameraFeedConfig, onDropped: (reason: string) => void): Feed {
    const { once, sync } = this.#config;
    const { motion } = feed;
    const clock = this.#clock;
    const key = keyOf(feed);
    const address = this.#places.get(key)?.address;
    // The page is not the place for folders of the disk.
    const shown = address?.kind === 'file' ? basename(address.shown) : (address?.shown ?? '');
    return new CameraFeed({
      name,
      about: [
        shown,
        ...(feed.keyframes ? ['key frames'] : []),
        ...(feed.insecure ? ['its certificate is not checked'] : []),
        `${feed.fps} a second at most`,
      ].join(', '),
      camera: this.#camera(key),
      output: outputKey(outputOf(feed, edge)),
      motion: motion && new MotionGate({ threshold: motion.threshold, everyMs: motion.every, clock }),
      active: feed.active,
      timeZone: sync.timeZone,
      once,
      isFile: address?.kind === 'file',
      clock,
      onDropped,
    });
  }

  #want(pipeline: PipelineConfig, feed: CameraFeedConfig): void {
    const key = keyOf(feed);
    const output = outputOf(feed, pipeline.edge);
    const stallAfterMs = feed.stallAfter ?? Math.max(MIN_STALL_MS, (STALL_PICTURES * 1_000) / feed.fps);
    const place = this.#places.get(key) ?? {
      feed,
      address: readAddress(urlOf(feed), this.#config.baseDir),
      wishes: new Map<string, Wish>(),
      stallAfterMs,
    };
    const wish = place.wishes.get(outputKey(output)) ?? { output, pipelines: [] };
    wish.pipelines.push(pipeline);
    place.wishes.set(outputKey(output), wish);
    // Whoever is more patient may wait: one decoder serves both.
    place.stallAfterMs = Math.max(place.stallAfterMs, stallAfterMs);
    this.#places.set(key, place);
  }

  #camera(key: string): Camera {
    const known = this.#made.get(key);
    if (known) return known;
    const { feed, address, wishes, stallAfterMs } = this.#places.get(key) as Place;
    let outputs = this.#outputsOf(wishes);
    const { transport, repeat, hwaccel, keyframes, stream = 'sub', ca, insecure } = feed;
    const { baseDir } = this.#config;
    const clock = this.#clock;
    const source = createSource({
      address: async () => {
        if (address.kind !== 'onvif') return address;
        // Few devices have such a camera, and all would pay for it at each start.
        const { streamOfOnvif } = await import('../../shared/camera/onvif.ts');
        return streamOfOnvif(address, stream);
      },
      trust: async () => ({
        ca: ca === undefined ? undefined : await readAuthority(resolve(baseDir, ca)),
        insecure,
      }),
      outputs: () => {
        const now = this.#outputsOf(wishes);
        // A file would begin again.
        if (address.kind !== 'file' && !isSame(now, outputs)) outputs = now;
        return outputs;
      },
      ...{ transport, hwaccel, keyframes, clock, repeat: repeat && !this.#config.once },
    });
    const made = new Camera({
      ...{ shown: address.shown, source, stallAfterMs, clock },
      isReachable: () => isReachable(address),
    });
    this.#made.set(key, made);
    return made;
  }

  /** As their models are now: an update may want larger pictures. */
  #outputsOf(wishes: ReadonlyMap<string, Wish>): ReadonlyMap<string, WantedOutput> {
    return new Map(
      [...wishes].map(([key, { output, pipelines }]) => {
        const box = output.box === DEFAULT_BOX ? boxFor(pipelines.map(this.#sizeOf)) : output.box;
        return [key, { ...output, box }];
      }),
    );
  }
}

/** Scaled in the decoder pixels cost nothing; each one that is not dropped there is copied twice. measured: docs/decisions/0036 */
function boxFor(sizes: readonly (SizePx | undefined)[]): WantedOutput['box'] {
  const known = sizes.filter((size) => size !== undefined);
  if (known.length < sizes.length) return DEFAULT_BOX;
  const most = (of: (size: SizePx) => number): number => Math.max(LEAST_PX, ...known.map(of));
  return {
    widthPx: most(({ widthPx }) => widthPx),
    heightPx: most(({ heightPx }) => heightPx),
    fit: 'cover',
  };
}

const isSame = (one: ReadonlyMap<string, WantedOutput>, other: ReadonlyMap<string, WantedOutput>): boolean =>
  [...one].every(([key, { box }]) => JSON.stringify(box) === JSON.stringify(other.get(key)?.box));

const urlOf = ({ url, sub, stream }: CameraFeedConfig): string => (stream === 'main' ? url : (sub ?? url));

/** What makes two feeds one camera. */
const keyOf = (feed: CameraFeedConfig): string => {
  const { transport, hwaccel, keyframes, repeat, stream, ca, insecure } = feed;
  return JSON.stringify([
    urlOf(feed),
    transport,
    hwaccel,
    keyframes,
    repeat,
    stream === 'main',
    ca,
    insecure,
  ]);
};

function outputOf(
  { fps, size, region, masks, motion }: CameraFeedConfig,
  edge: string | undefined,
): WantedOutput {
  const isAsItComes = masks.length === 0 && !region && !size && !motion;
  // Without a runner nobody here can encode a raw picture well; movement is told by raw ones.
  const codec = edge === undefined && !motion ? 'mjpeg' : 'ppm';
  return { fps, box: size ? { ...size, fit: 'inside' } : DEFAULT_BOX, region, masks, codec, isAsItComes };
}

const outputKey = (output: WantedOutput): string => JSON.stringify(output);
