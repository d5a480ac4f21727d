/**
 * A picture as it may leave the device: without EXIF, GPS, XMP, IPTC, texts, thumbnails and what makers put behind its end. Its pixels,
 * its colours and how it is turned stay as they were, so that whoever is asked about it says the same. Pictures that a runner has
 * encoded have none of that; this is for those that go as they came.
 */
import { type PictureFormat, pictureFormat } from '../../shared/inference/runner/input-check.ts';
import { bareAvif } from './metadata/avif.ts';
import { bareGif } from './metadata/gif.ts';
import { bareJpeg } from './metadata/jpeg.ts';
import { barePng } from './metadata/png.ts';
import { bareTiff } from './metadata/tiff.ts';
import { bareWebp } from './metadata/webp.ts';

const BARE: Readonly<Record<PictureFormat, (body: Uint8Array) => Uint8Array | undefined>> = {
  jpeg: bareJpeg,
  png: barePng,
  webp: bareWebp,
  gif: bareGif,
  tiff: bareTiff,
  avif: bareAvif,
  // It is of this device, and never leaves as it is.
  ppm: () => undefined,
};

/** @returns the same bytes where there is nothing to take out, or where it is no picture */
export function barePicture(body: Uint8Array): Uint8Array {
  const format = formatOf(body);
  return format === undefined ? body : (BARE[format](body) ?? body);
}

function formatOf(body: Uint8Array): PictureFormat | undefined {
  try {
    return pictureFormat(body);
  } catch {
    // Whoever is to read it says what is wrong with it.
    return undefined;
  }
}
