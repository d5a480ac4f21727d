/** Tokens to the text that they are, as Python's `convert_tokens_to_string`. */
import type { PackageTokenizer, StepConfig } from './package.ts';

/** Tokens to the text that they spell. */
export type Join = (tokens: readonly string[]) => string;

/** The join that the tokenizer's `decoder` asks for. */
export function joinBy({ decoder }: PackageTokenizer, config: StepConfig): Join {
  if (config?.type === 'ByteLevel') return byteLevelJoin();
  return (tokens) => decoder?.([...tokens]) ?? tokens.join(' ');
}

/** The package's own makes zeros of what stands outside the alphabet of bytes; the reference takes such a token as it is. */
function byteLevelJoin(): Join {
  const byteOf = alphabet();
  const bytesOf = (token: string): Uint8Array => {
    const bytes = Array.from(token, (char) => byteOf.get(char));
    return bytes.every((byte) => byte !== undefined) ? Uint8Array.from(bytes) : Buffer.from(token);
  };
  return (tokens) => new TextDecoder().decode(Buffer.concat(tokens.map(bytesOf)));
}

/** GPT-2's `bytes_to_unicode`: bytes that can be seen stand for themselves, the others for characters from 256 on. */
function alphabet(): Map<string, number> {
  const isSeen = (byte: number): boolean =>
    (byte >= 33 && byte <= 126) || (byte >= 161 && byte !== 173 && byte <= 255);
  const byteOf = new Map<string, number>();
  let next = 256;
  for (let byte = 0; byte < 256; byte++) byteOf.set(String.fromCharCode(isSeen(byte) ? byte : next++), byte);
  return byteOf;
}
