/**
 * What transformers' image processors do where `preprocessor_config.json` leaves a field out: each class has values of its own, and a
 * file that was shortened by hand relies on them. From transformers 5.24, read off each class as it is made without arguments. Pure.
 */
/** The fields that differ by class, as `preprocessor_config.json` has them. */
interface Defaults {
  readonly size: { height: number; width: number } | { shortest_edge: number; longest_edge?: number };
  readonly crop_size?: { height: number; width: number };
  readonly crop_pct?: number;
  /** Pillow's resampling filter. */
  readonly resample: number;
  readonly do_center_crop?: boolean;
  readonly do_normalize: boolean;
  readonly image_mean?: number[];
  readonly image_std?: number[];
  readonly do_flip_channel_order?: boolean;
}

/** The fields by which a file names its class. */
interface Named {
  readonly image_processor_type?: string | undefined;
  readonly feature_extractor_type?: string | undefined;
}

const [LINEAR, CUBIC] = [2, 3] as const;
const square = (px: number) => ({ height: px, width: px });
const normalized = (image_mean: number[], image_std: number[]) => ({
  do_normalize: true,
  image_mean,
  image_std,
});
/** ImageNet's means and deviations, those of around one half, and those of CLIP's pictures, as transformers calls them. */
const IMAGENET = normalized([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]);
const STANDARD = normalized([0.5, 0.5, 0.5], [0.5, 0.5, 0.5]);
const OPENAI = normalized([0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]);
const CROPPED = { do_center_crop: true, crop_size: square(224) };
const CLIP: Defaults = { ...OPENAI, ...CROPPED, size: { shortest_edge: 224 }, resample: CUBIC };
const MOBILE_NET: Defaults = { ...STANDARD, ...CROPPED, size: { shortest_edge: 256 }, resample: LINEAR };
const DETR: Defaults = {
  ...IMAGENET,
  size: { shortest_edge: 800, longest_edge: 1_333 },
  resample: LINEAR,
};

/** By class, without `ImageProcessor` or `FeatureExtractor` and what follows it. */
const DEFAULTS: Readonly<Record<string, Defaults>> = {
  Beit: { ...STANDARD, size: square(224), resample: CUBIC },
  Bit: CLIP,
  Blip: { ...OPENAI, size: square(384), resample: CUBIC },
  CLIP,
  ChineseCLIP: CLIP,
  ConditionalDetr: DETR,
  ConvNext: { ...STANDARD, size: { shortest_edge: 384 }, crop_pct: 0.875, resample: CUBIC },
  DINOv3ViT: { ...IMAGENET, size: square(224), resample: LINEAR },
  DPT: { ...STANDARD, size: square(384), resample: CUBIC },
  DeformableDetr: DETR,
  DeiT: { ...STANDARD, ...CROPPED, size: square(256), resample: CUBIC },
  Detr: DETR,
  EfficientNet: { ...STANDARD, size: square(346), resample: CUBIC },
  Levit: { ...IMAGENET, ...CROPPED, size: { shortest_edge: 224 }, resample: CUBIC },
  MobileNetV1: MOBILE_NET,
  MobileNetV2: MOBILE_NET,
  MobileViT: {
    size: { shortest_edge: 224 },
    resample: CUBIC,
    do_center_crop: true,
    crop_size: square(256),
    do_normalize: false,
    do_flip_channel_order: true,
  },
  PoolFormer: { ...IMAGENET, ...CROPPED, size: { shortest_edge: 224 }, crop_pct: 0.9, resample: CUBIC },
  Pvt: { ...IMAGENET, size: square(224), resample: CUBIC },
  RTDetr: { do_normalize: false, size: square(640), resample: LINEAR },
  Segformer: { ...IMAGENET, size: square(512), resample: LINEAR },
  Siglip: { ...STANDARD, size: square(224), resample: CUBIC },
  ViT: { ...STANDARD, size: square(224), resample: LINEAR },
  Yolos: DETR,
};

/** The fields as the named class fills them up; those of a class that is not known here stay as they are. */
export function withDefaults<Config extends Named>(config: Config): Config {
  const type = config.image_processor_type ?? config.feature_extractor_type ?? '';
  const name = /^(\w+?)(?:ImageProcessor|FeatureExtractor)/.exec(type)?.[1] ?? '';
  const defaults = Object.hasOwn(DEFAULTS, name) ? DEFAULTS[name] : undefined;
  if (defaults === undefined) return config;
  // A null is a value, and says no.
  const given = Object.entries(config).filter(([, value]) => value !== undefined);
  return { ...config, do_center_crop: false, ...defaults, ...Object.fromEntries(given) };
}
