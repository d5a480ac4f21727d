/** A device under `outrider up` whose camera goes out of focus: the demo pictures in random order, sharp first, then blurred. */
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import sharp from 'sharp';
import { z } from 'zod';
import { isFailure, type Result, result } from '../../shared/contract/result.ts';
import { type RouteEvidence, routeEvidence } from '../../shared/contract/routing.ts';
import { topLabel } from '../../shared/tasks/tasks.ts';
import { temporaryFolder } from './fixed.ts';
import { outrider, upFlags } from './programs.ts';

const PICTURES = new URL('../../models/demo/pictures/', import.meta.url);
const BLUR_SIGMA_PX = 2.5;
const status = z.object({ pipelines: z.array(z.object({ router: routeEvidence })) });

/** How the stream has gone so far. */
export interface Stream {
  /** Answers that the asker got, in their order. */
  readonly answers: { readonly reason: string; readonly isAsCloud: boolean }[];
  /** Asks about so many pictures, or until `isOver`. */
  ask(kind: 'sharp' | 'blurred', count: number, isOver?: () => Promise<boolean>): Promise<void>;
}

export interface DriftingDevice {
  readonly hub: string;
  readonly agent: string;
  readonly data: string;
  readonly signIn: string;
  readonly stream: Stream;
  evidence(): Promise<RouteEvidence>;
}

/** @param route the pipeline's route, as YAML */
export async function startDriftingDevice(t: TestContext, route: string): Promise<DriftingDevice> {
  const root = await temporaryFolder(t);
  const config = join(root, 'outrider.yaml');
  await writeFile(
    config,
    `device: demo\npipelines:\n  - { name: vision, task: image-classification, edge: cifar10-cnn, cloud: cifar10-vit, route: ${route} }\n`,
  );
  const data = join(root, 'data');
  const { flags, hub, agent } = await upFlags(data);
  const up = outrider(t, ['up', ...flags, '--config', config]);
  await up.says(/sign in once.*\n/);
  const signIn = /http:\S+\/sign-in\?code=\S+/.exec(up.output())?.[0] ?? '';
  const ask = async (body: Uint8Array, query = ''): Promise<Result> => {
    const response = await fetch(`${agent}/v1/infer/vision${query}`, { method: 'POST', body });
    return result.parse(await response.json());
  };
  const evidence = async (): Promise<RouteEvidence> => {
    const { pipelines } = status.parse(await (await fetch(`${agent}/v1/pipelines`)).json());
    const [first] = pipelines;
    if (!first) throw new Error('the device has no pipeline');
    return first.router;
  };
  return { hub, agent, data, signIn, evidence, stream: await openStream(ask) };
}

async function openStream(ask: (body: Uint8Array, query?: string) => Promise<Result>): Promise<Stream> {
  const names = (await readdir(PICTURES)).filter((name) => name.endsWith('.jpg'));
  const sharpOnes = await Promise.all(names.map((name) => readFile(new URL(name, PICTURES))));
  const blurredOnes = await Promise.all(
    sharpOnes.map((picture) => sharp(picture).blur(BLUR_SIGMA_PX).jpeg({ quality: 95 }).toBuffer()),
  );
  const pictures = { sharp: sharpOnes, blurred: blurredOnes };
  /** What the cloud says of each picture. */
  const cloud = new Map<Buffer, string | null>();
  for (const picture of [...sharpOnes, ...blurredOnes])
    cloud.set(picture, labelOf(await ask(picture, '?route=cloud')));
  const answers: Stream['answers'] = [];
  return {
    answers,
    async ask(kind, count, isOver = () => Promise.resolve(false)) {
      for (let index = 0; index < count && !(index % 10 === 0 && (await isOver())); index++) {
        const picture = pictures[kind][Math.floor(Math.random() * names.length)] ?? sharpOnes[0];
        if (!picture) throw new Error('there are no demo pictures');
        const answer = await ask(picture);
        const reason = isFailure(answer) ? answer.error.code : answer.reason;
        answers.push({ reason, isAsCloud: labelOf(answer) === cloud.get(picture) });
      }
    },
  };
}

const labelOf = (answer: Result): string | null => (isFailure(answer) ? null : topLabel(answer.output));

/** Share 0..1 of the answers that were the cloud's, or the same as the cloud's. */
export const agreementOf = (answers: Stream['answers']): number =>
  answers.filter(({ isAsCloud }) => isAsCloud).length / answers.length;
