/** A place in a JSON document, as people write it: `DHT11.Temperature`, `axes[0]`; a dot within a name is written `\.`. */
import { getProperty } from 'dot-prop';
import { tryParseJson } from '../../../shared/runtime/json.ts';

/** @returns undefined where there is nothing, or what leads there is no object */
export const valueAt = (document: unknown, path: string): unknown =>
  typeof document === 'object' && document !== null
    ? getProperty(document as Record<string, unknown>, path)
    : undefined;

/** @returns undefined for what is no JSON */
export const documentOf = (bytes: Uint8Array): unknown => tryParseJson(bytes);
