/**
 * Models of timm as transformers' `TimmWrapper` keeps them: one `config.json` has the labels and how a picture is prepared, and there is
 * no `preprocessor_config.json`. Pure.
 */
import { z } from 'zod';
import { AppError } from '../../runtime/errors.ts';

const perChannel = z.array(z.number()).min(1).max(3);

/** Part of timm's `pretrained_cfg` that changes pixels. */
const pretrainedCfg = z.looseObject({
  input_size: z.tuple([z.int(), z.int().min(1), z.int().min(1)]).nullish(),
  interpolation: z.string().nullish(),
  crop_pct: z.number().gt(0).nullish(),
  crop_mode: z.string().nullish(),
  mean: perChannel.nullish(),
  std: perChannel.nullish(),
  label_names: z.array(z.string()).nullish(),
});

/** Part of a `config.json` by which it is one of timm's. */
const timmConfig = z.looseObject({
  architecture: z.string(),
  label_names: z.array(z.string()).nullish(),
  pretrained_cfg: pretrainedCfg,
});
type TimmConfig = z.infer<typeof timmConfig>;

/** What a `config.json` of timm's says, in our words. */
export interface Timm {
  /** In the order of the logits; undefined where it names none, as models of ImageNet. */
  readonly labels: readonly string[] | undefined;
  /** In the words of `preprocessor_config.json`. @throws MODEL_INVALID where it cannot be followed */
  readonly preprocessor: () => object;
}

/** @returns undefined where the configuration is not one of timm's */
export function timmOf(config: object | undefined): Timm | undefined {
  const parsed = timmConfig.safeParse(config).data;
  if (parsed === undefined) return undefined;
  return {
    labels: parsed.label_names ?? parsed.pretrained_cfg.label_names ?? undefined,
    preprocessor: () => preprocessorOf(parsed),
  };
}

/** timm, data/constants.py and data/config.py (`resolve_data_config`): what holds where a model says nothing. */
const USUAL = {
  input_size: [3, 224, 224],
  interpolation: 'bicubic',
  crop_pct: 0.875,
  crop_mode: 'center',
  mean: [0.485, 0.456, 0.406],
  std: [0.229, 0.224, 0.225],
} as const;

/** Pillow's filters by timm's names; `random` is for training, and linear otherwise. */
const RESAMPLE: Readonly<Record<string, number>> = {
  nearest: 0,
  lanczos: 1,
  bilinear: 2,
  random: 2,
  bicubic: 3,
  box: 4,
  hamming: 5,
};

/** timm, data/transforms_factory.py, `transforms_imagenet_eval`. @throws MODEL_INVALID */
function preprocessorOf({ pretrained_cfg: said }: TimmConfig): object {
  const [channels, height, width] = said.input_size ?? USUAL.input_size;
  const mode = said.crop_mode ?? USUAL.crop_mode;
  const interpolation = said.interpolation ?? USUAL.interpolation;
  const resample = Object.hasOwn(RESAMPLE, interpolation) ? RESAMPLE[interpolation] : undefined;
  if (resample === undefined) refuse(`interpolation ${interpolation}`);
  if (mode !== 'center' && mode !== 'squash') refuse(`crop_mode ${mode}`);
  if (mode === 'center' && height !== width) refuse(`crop_mode center of ${width}x${height} px`);
  if (channels !== 1 && channels !== 3) refuse(`input_size of ${channels} channels`);
  const larger = (px: number): number => Math.floor(px / (said.crop_pct ?? USUAL.crop_pct));
  return {
    image_processor_type: 'TimmWrapperImageProcessor',
    do_resize: true,
    size:
      mode === 'center'
        ? { shortest_edge: larger(height) }
        : { height: larger(height), width: larger(width) },
    resample,
    do_center_crop: true,
    crop_size: { height, width },
    crop_rounding: 'half-even',
    do_rescale: true,
    rescale_factor: 1 / 255,
    do_normalize: true,
    image_mean: said.mean ?? USUAL.mean,
    image_std: said.std ?? USUAL.std,
  };
}

/** @throws MODEL_INVALID */
function refuse(what: string): never {
  throw new AppError('MODEL_INVALID', `config.json: pretrained_cfg: ${what} is not supported`);
}
