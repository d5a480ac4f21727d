/** Bytes that are said to be text. */
import { AppError } from '../../runtime/errors.ts';

/** @throws TEXT_INVALID */
export function decodeUtf8(body: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(body);
  } catch (error) {
    throw new AppError('TEXT_INVALID', undefined, { cause: error });
  }
}
