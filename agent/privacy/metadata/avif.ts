/**
 * An AVIF without EXIF and XMP: items of their own (ISO/IEC 23008-12 A.2.1, A.3), whose bytes become zeros where they lie. Nothing moves,
 * and nothing that turns the picture is among them: `irot` and `imir` do (23008-12 6.5.10, 6.5.12).
 */

/** ISO/IEC 14496-12 4.2, its content. */
interface Box {
  readonly type: string;
  readonly at: number;
  readonly end: number;
}

/** @returns undefined where nothing is to be taken out, or the file is damaged */
export function bareAvif(body: Uint8Array): Uint8Array | undefined {
  const bytes = Buffer.from(body);
  let isChanged = false;
  try {
    for (const meta of boxes(bytes, 0, bytes.length).filter(({ type }) => type === 'meta')) {
      const inside = boxes(bytes, meta.at + 4, meta.end);
      const find = (type: string): Box | undefined => inside.find((box) => box.type === type);
      const [infos, places, own] = [find('iinf'), find('iloc'), find('idat')];
      if (!infos || !places) continue;
      const notes = notesIn(bytes, infos);
      for (const { item, at, length, isOwn } of extents(bytes, places)) {
        if (!notes.has(item)) continue;
        const from = isOwn ? (own?.at ?? bytes.length) + at : at;
        bytes.fill(0, Math.min(from, bytes.length), Math.min(from + length, bytes.length));
        isChanged = true;
      }
    }
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    // It ends within: nobody can decode it.
  }
  return isChanged ? bytes : undefined;
}

function boxes(bytes: Buffer, from: number, to: number): Box[] {
  const found: Box[] = [];
  for (let at = from; at + 8 <= to; ) {
    const small = bytes.readUInt32BE(at);
    const type = bytes.toString('latin1', at + 4, at + 8);
    const size = small === 1 ? Number(bytes.readBigUInt64BE(at + 8)) : small === 0 ? to - at : small;
    if (size < 8) break;
    found.push({ type, at: at + (small === 1 ? 16 : 8), end: Math.min(at + size, to) });
    at += size;
  }
  return found;
}

/** Items that are no picture: 14496-12 8.11.6. */
function notesIn(bytes: Buffer, { at, end }: Box): Set<number> {
  const isSmall = bytes[at] === 0;
  const found = new Set<number>();
  for (const info of boxes(bytes, at + 4 + (isSmall ? 2 : 4), end)) {
    const version = bytes[info.at] ?? 0;
    if (info.type !== 'infe' || version < 2) continue;
    const idBytes = version === 2 ? 2 : 4;
    const item = bytes.readUIntBE(info.at + 4, idBytes);
    const type = bytes.toString('latin1', info.at + 6 + idBytes, info.at + 10 + idBytes);
    if (type === 'Exif' || type === 'mime' || type === 'uri ') found.add(item);
  }
  return found;
}

/** Where items lie: 14496-12 8.11.3. */
function* extents(
  bytes: Buffer,
  { at }: Box,
): Generator<{
  readonly item: number;
  readonly at: number;
  readonly length: number;
  readonly isOwn: boolean;
}> {
  const version = bytes[at] ?? 0;
  const [sizes, more] = [bytes[at + 4] ?? 0, bytes[at + 5] ?? 0];
  const [offsetBytes, lengthBytes, baseBytes] = [sizes >> 4, sizes & 15, more >> 4];
  const indexBytes = version === 0 ? 0 : more & 15;
  let next = at + 6;
  const read = (count: number): number => {
    next += count;
    if (count === 0) return 0;
    return count === 8 ? Number(bytes.readBigUInt64BE(next - 8)) : bytes.readUIntBE(next - count, count);
  };
  const items = read(version < 2 ? 2 : 4);
  for (let index = 0; index < items; index++) {
    const item = read(version < 2 ? 2 : 4);
    const isOwn = version > 0 && (read(2) & 15) === 1;
    read(2);
    const base = read(baseBytes);
    const count = read(2);
    for (let extent = 0; extent < count; extent++) {
      read(indexBytes);
      const offset = read(offsetBytes);
      yield { item, at: base + offset, length: read(lengthBytes), isOwn };
    }
  }
}
