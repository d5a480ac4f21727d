/** What a capture teaches, and which of them are the unbiased sample. Pure. */
import { placeOf } from '../../shared/dataset/split.ts';

/** What an unsure answer that agrees is worth, against one that disagrees. */
const UNSURE = 0.5;
/** What is worth less, where nearly the same input is there with other answers. */
const REPEATED = 0.5;
/** Share of the escalated that belongs to the sample: that of a test set. Their groups are the last of the scale, as those of an export are. */
const SAMPLE_SHARE = 0.2;

/**
 * Most is learnt of a disagreement that the cloud is sure of, least of what both have answered alike and the device was sure of.
 *
 * @param loss null: the device has not answered, and so knows nothing of it
 * @returns 0..1
 */
export function worthOf({
  loss,
  sure,
  isRepeat,
}: {
  readonly loss: number | null;
  readonly sure: { readonly edge: number | null; readonly cloud: number | null };
  readonly isRepeat: boolean;
}): number {
  const wrong = loss ?? 1;
  const unsure = UNSURE * (1 - (sure.edge ?? 0.5));
  return (
    Math.min(1, (Math.max(wrong, unsure) + UNSURE * wrong * unsure) / 1.25) *
    (sure.cloud ?? 1) *
    (isRepeat ? REPEATED : 1)
  );
}

/** Audits were drawn by lot on the device; of the others the hub draws some itself. */
export const isSampled = (why: string, group: string): boolean =>
  why === 'audit' || placeOf(group) >= 1 - SAMPLE_SHARE;
