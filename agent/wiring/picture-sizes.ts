/**
 * How large the pictures of a camera have to be: as the models of its pipeline take them, so that nothing larger is copied from the decoder
 * to a runner. Of models that are not known yet, and where people look at pictures too, nothing is said.
 */
import type { Desired, PictureNeed } from '../../shared/contract/messages.ts';
import { pictureNeedOf } from '../../shared/release/folder/picture-need.ts';
import type { SizePx } from '../../shared/release/folder/picture-recipe.ts';
import type { PipelineConfig } from '../config/pipeline.ts';
import type { SlotVersion } from '../ports.ts';
import { showsPictures } from './sinks.ts';

/** Sizes of pictures, by what the models are that answer now. */
export class PictureSizes {
  readonly #edge = new Map<string, PictureNeed | null>();

  /** Another version answers from now on. */
  async edgeModelSeen({ ref, folder }: SlotVersion): Promise<void> {
    const need = await pictureNeedOf(folder).catch(() => null);
    this.#edge.set(ref.name, need);
  }

  /**
   * The least that a picture must cover.
   *
   * @returns undefined where each pixel counts, or a model is not known
   */
  of(pipeline: PipelineConfig, wanted: Desired | undefined): SizePx | undefined {
    const { edge, cloud, original, share } = pipeline;
    if (edge === undefined || original || share === 'inputs' || showsPictures(pipeline)) return undefined;
    const needs = [this.#edge.get(edge) ?? null];
    if (cloud !== undefined)
      needs.push(wanted?.cloudModels.find(({ model }) => model.name === cloud)?.picture ?? null);
    const sizes = needs.map((need) => need && sizeOf(need));
    return sizes.reduce<SizePx | undefined>(
      (all, one) =>
        all && one
          ? {
              widthPx: Math.max(all.widthPx, one.widthPx),
              heightPx: Math.max(all.heightPx, one.heightPx),
            }
          : undefined,
      { widthPx: 0, heightPx: 0 },
    );
  }
}

const sizeOf = ({ resize }: PictureNeed): SizePx =>
  resize.kind === 'warp' ? resize : { widthPx: resize.edgePx, heightPx: resize.edgePx };
