/** JSON from bytes that somebody else wrote. */

/** @returns undefined where the bytes are no JSON; check the value with a schema */
export function tryParseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8'));
  } catch {
    return undefined;
  }
}
