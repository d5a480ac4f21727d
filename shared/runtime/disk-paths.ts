/** Paths of this machine's disk in what people outside are told: over HTTP, over MQTT, by a device off loopback. Pure. */

/** Absolute paths of two names at least; those of our APIs are none of a disk. */
const DISK_PATH = /(?<![\w.:/-])\/(?!(?:api|hf|v1|v2|tuf)\/)(?:[^\s/:,;'"“”()]+\/)+([^\s/:,;'"“”()]*)/g;

/** A message for people outside: of a path on this disk the last name alone. */
export const withoutPaths = (message: string): string => message.replace(DISK_PATH, '$1');

/** The same record with such a message in its error, where it has one. */
export function withoutPathsIn<T extends object>(record: T): T {
  const error = 'error' in record ? (record.error as { readonly message: string } | null) : null;
  return error === null ? record : { ...record, error: { ...error, message: withoutPaths(error.message) } };
}
