/** How much memory there is. */
import { totalmem } from 'node:os';

/** Bytes of memory that this process may use: of the machine, or what its container allows. */
export function machineMemoryBytes(): number {
  const limit = process.constrainedMemory();
  return limit > 0 ? Math.min(limit, totalmem()) : totalmem();
}
