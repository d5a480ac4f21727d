/** A GIF without comments and the data of applications, but for how often it is played: GIF89a 17 to 27. */

const HEADER_BYTES = 13;
const [EXTENSION, PICTURE, TRAILER] = [0x21, 0x2c, 0x3b] as const;
const [GRAPHIC_CONTROL, APPLICATION] = [0xf9, 0xff] as const;
const LOOPS = ['NETSCAPE2.0', 'ANIMEXTS1.0'];

/** @returns undefined where nothing is to be taken out */
export function bareGif(body: Uint8Array): Uint8Array | undefined {
  const bytes = Buffer.from(body.buffer, body.byteOffset, body.byteLength);
  let at = HEADER_BYTES + tableBytes(bytes[10]);
  const parts: Uint8Array[] = [bytes.subarray(0, at)];
  let isChanged = false;
  while (at < bytes.length) {
    const kind = bytes[at];
    if (kind === EXTENSION) {
      const end = endOfBlocks(bytes, at + 2);
      if (isKept(bytes, at)) parts.push(bytes.subarray(at, end));
      else isChanged = true;
      at = end;
    } else if (kind === PICTURE) {
      const end = endOfBlocks(bytes, at + 11 + tableBytes(bytes[at + 9]));
      parts.push(bytes.subarray(at, end));
      at = end;
    } else {
      if (kind === TRAILER) parts.push(bytes.subarray(at, at + 1));
      isChanged ||= at + 1 < bytes.length;
      break;
    }
  }
  return isChanged ? Buffer.concat(parts) : undefined;
}

function isKept(bytes: Buffer, at: number): boolean {
  if (bytes[at + 1] === GRAPHIC_CONTROL) return true;
  return bytes[at + 1] === APPLICATION && LOOPS.includes(bytes.toString('latin1', at + 3, at + 14));
}

/** GIF89a 18, 20: bit 7 says that there is a table of colours, the lower three how large. */
const tableBytes = (packed = 0): number => (packed & 0x80 ? 3 * 2 ** ((packed & 7) + 1) : 0);

/** GIF89a 15: blocks of one byte's length, the last of none. */
function endOfBlocks(bytes: Buffer, from: number): number {
  let at = from;
  while (at < bytes.length) {
    const length = bytes[at] ?? 0;
    at += 1 + length;
    if (length === 0) return at;
  }
  return bytes.length;
}
