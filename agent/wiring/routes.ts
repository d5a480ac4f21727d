/** What decides where a pipeline's inputs go, and how they go to the cloud, from its configuration and what is known of its models. */
import type { Desired } from '../../shared/contract/messages.ts';
import type { RouteAlarm } from '../../shared/contract/routing.ts';
import type { Shrinking } from '../../shared/inference/runner/runner.ts';
import type { ModelFolder } from '../../shared/release/folder/model-folder.ts';
import type { CloudCertificate } from '../../shared/release/folder/model-spec.ts';
import type { Clock } from '../../shared/runtime/clock.ts';
import { sha256Hex } from '../../shared/runtime/ids.ts';
import type { PipelineConfig } from '../config/pipeline.ts';
import type { RouteMeter } from '../ports.ts';
import { LearningRouter, type RouterState } from '../router/router.ts';

/** Learned state and limits that a router is made with, beside its configuration. */
export interface RouterParts {
  /** What an earlier run has learned. */
  readonly state: RouterState | undefined;
  /** Whether an answer to a request of that run may still come. */
  readonly isOpen: (id: string) => boolean;
  readonly maxRequestBytes: () => number;
  readonly onAlarm: (alarm: RouteAlarm) => void;
  readonly counts?: RouteMeter;
  readonly clock: Clock;
}

/** Makes a pipeline’s router from its `route` settings. */
export function createRouter(pipeline: PipelineConfig, parts: RouterParts): LearningRouter {
  const { cloud, route } = pipeline;
  const { agreement, confidence, scope, perLabel, loss, start, always, whenOffline, budget, price } = route;
  const { state, isOpen, ...rest } = parts;
  return new LearningRouter(
    {
      goal: { agreement, confidence, scope, perLabel, loss },
      start,
      comparedBy: comparedByOf(pipeline),
      always,
      whenOffline,
      budget,
      price: price ?? null,
      deadlineMs: route.deadline,
      decorrelationMs: route.decorrelation,
      mayEscalate: cloud !== undefined,
      random: randomFraction,
      ...rest,
    },
    state,
    isOpen,
  );
}

/** Answers of the same two models compare otherwise where a loss is taken in another way, or both were given other parameters. */
const comparedByOf = ({ task, route: { loss }, parameters }: PipelineConfig): string =>
  sha256Hex(JSON.stringify([task, loss ?? null, parameters ?? null])).slice(0, 16);

/** Certificate of a version of the local model, where that is about this pipeline's cloud model. */
export function certificateFor(
  { cloud }: PipelineConfig,
  { spec }: ModelFolder,
): CloudCertificate | undefined {
  const certificate = spec.calibration.cloud;
  return certificate?.model === cloud ? certificate : undefined;
}

/** undefined where pictures go as they came: asked for, or nobody knows yet what the cloud's model can use. */
export function shrinkingOf(
  { cloud, original, picture }: PipelineConfig,
  wanted: Desired | undefined,
): Shrinking | undefined {
  if (original) return undefined;
  const need = wanted?.cloudModels.find(({ model }) => model.name === cloud)?.picture;
  return need ? { ...picture, ...need } : undefined;
}

/** Audits are drawn by a lot that a caller cannot guess. */
const randomFraction = (): number => (crypto.getRandomValues(new Uint32Array(1))[0] ?? 0) / 2 ** 32;
