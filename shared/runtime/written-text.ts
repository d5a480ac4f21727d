/** Texts that people write with an editor: UTF-8, or UTF-16 as editors of Windows save it, with or without a byte order mark. */

const UTF_16 = [
  { mark: [0xff, 0xfe], encoding: 'utf-16le' },
  { mark: [0xfe, 0xff], encoding: 'utf-16be' },
] as const;

/** @returns the text without its byte order mark; undefined: these bytes are no text (another encoding, a binary file) */
export function writtenText(bytes: Uint8Array): string | undefined {
  const encoding = UTF_16.find(({ mark }) => mark.every((byte, index) => bytes[index] === byte))?.encoding;
  try {
    const text = new TextDecoder(encoding ?? 'utf-8', { fatal: true }).decode(bytes);
    return text.includes('\0') ? undefined : text;
  } catch {
    return undefined;
  }
}
