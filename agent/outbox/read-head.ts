/** Reads the part of a frame that stands before its body. */
import { open } from 'node:fs/promises';
import { HEAD_BYTES, headLength } from './record.ts';

/** @returns the frame up to its body; how much of that is there, is for the decoder to say */
export async function readHead(path: string, offset: number, frameBytes: number): Promise<Buffer> {
  const file = await open(path, 'r');
  try {
    const start = Buffer.alloc(HEAD_BYTES);
    await file.read(start, 0, HEAD_BYTES, offset);
    const head = Buffer.alloc(Math.min(frameBytes, headLength(start)));
    await file.read(head, 0, head.length, offset);
    return head;
  } finally {
    await file.close();
  }
}
