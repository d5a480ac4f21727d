/**
 * Names of files below a feed's folder. The kernel's are bytes; ours are strings, so that they can be compared, kept and shown:
 * what is not UTF-8 stands as a NUL, which no name has, and one character for each byte.
 */
import { isUtf8 } from 'node:buffer';

/** Path below the feed's folder, its parts divided by `/`. */
export type FileName = string;

const BYTES = '\0';

/** @param parent '' for the feed's folder itself */
export function nameIn(parent: FileName, entry: Buffer): FileName {
  const isText = isUtf8(entry);
  if (isText && !parent.startsWith(BYTES)) return join(parent, entry.toString('utf8'));
  return BYTES + join(bytesOf(parent).toString('latin1'), entry.toString('latin1'));
}

/** Where it is on the disk. */
export function pathOf(folder: string, name: FileName): string | Buffer {
  if (!name.startsWith(BYTES)) return join(folder, name);
  return Buffer.concat([Buffer.from(`${folder}/`, 'utf8'), bytesOf(name)]);
}

/** As people read it; bytes that are no UTF-8 stand as `\xff`. */
export function shown(name: FileName): string {
  if (!name.startsWith(BYTES)) return name;
  return bytesOf(name)
    .toString('latin1')
    .replace(/[\x80-\xff]/g, (byte) => `\\x${byte.charCodeAt(0).toString(16)}`);
}

/** '' for what lies in the feed's folder itself. */
export function parentOf(name: FileName): FileName {
  const at = name.lastIndexOf('/');
  return at < 0 ? '' : name.slice(0, at);
}

/** With something before its ending: `a.jpg` and `-1` make `a-1.jpg`. */
export function withSuffix(name: FileName, suffix: string): FileName {
  const dot = name.lastIndexOf('.');
  const at = dot > name.lastIndexOf('/') + 1 ? dot : name.length;
  return `${name.slice(0, at)}${suffix}${name.slice(at)}`;
}

const bytesOf = (name: FileName): Buffer =>
  name.startsWith(BYTES) ? Buffer.from(name.slice(1), 'latin1') : Buffer.from(name, 'utf8');

const join = (parent: string, entry: string): string => (parent === '' ? entry : `${parent}/${entry}`);
