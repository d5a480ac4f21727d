/** The starter pairs that are measured together, and their model folders. */
import { type ModelFolder, openModelFolder } from '../../shared/release/folder/model-folder.ts';
import type { CloudCertificate } from '../../shared/release/folder/model-spec.ts';
import { AppError } from '../../shared/runtime/errors.ts';
import { inTree } from './harness.ts';

export interface Pair {
  readonly edge: string;
  readonly cloud: string;
  /** What they are asked about. */
  readonly examples: string;
}

export const PAIRS: readonly Pair[] = [
  {
    edge: 'cifar10-cnn',
    cloud: 'cifar10-vit',
    examples: "pictures of CIFAR-10's test set, none of them a demo picture",
  },
  { edge: 'sst2-lstm', cloud: 'sst2-minilm', examples: "sentences of SST-2's development set" },
];

export interface OpenPair {
  readonly edge: ModelFolder;
  readonly cloud: ModelFolder;
  readonly certificate: CloudCertificate;
}

/** @throws MODEL_INVALID where the edge model has no certificate for this cloud model */
export async function openPair(pair: Pair): Promise<OpenPair> {
  const [edge, cloud] = await Promise.all(
    [pair.edge, pair.cloud].map((name) => openModelFolder(inTree(`models/${name}`))),
  );
  const certificate = edge?.spec.calibration.cloud;
  if (edge === undefined || cloud === undefined || certificate?.cloudDigest !== cloud.digest)
    throw new AppError(
      'MODEL_INVALID',
      `${pair.edge} has no certificate for this ${pair.cloud}: run certify.ts`,
    );
  return { edge, cloud, certificate };
}
