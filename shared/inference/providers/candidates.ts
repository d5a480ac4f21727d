/** What could run graphs here beside the processor: looked for without loading anything native. A trial says whether it does. */
import { readdir } from 'node:fs/promises';
import type { ExecutionProvider } from '../runner/runner-protocol.ts';
import { findGpuLibraries } from './gpu-libraries.ts';
import { findNvidiaDriver, type NvidiaDriver } from './nvidia.ts';

/** A provider that may work here. */
export interface Candidate {
  readonly provider: Exclude<ExecutionProvider, 'cpu'>;
  /** Where the loader looks first for it. */
  readonly libraries: readonly string[];
}

/** Those that may work, and what stands in the way of others. */
export interface Candidates {
  /** The best first. */
  readonly list: readonly Candidate[];
  readonly driver: NvidiaDriver | undefined;
  /** A GPU is here that is not made use of, and why; undefined: none is left out. */
  readonly hint: string | undefined;
}

/** Where Linux shows GPUs that take work without a screen. */
const RENDER_NODES = '/dev/dri';

/** @param dataDir where `outrider gpu install` has put its libraries */
export async function findCandidates(dataDir: string): Promise<Candidates> {
  const driver = await findNvidiaDriver();
  const list: Candidate[] = [];
  let hint: string | undefined;
  if (driver) {
    const found = await findGpuLibraries(dataDir);
    if ('folder' in found) list.push({ provider: 'cuda', libraries: [found.folder] });
    else
      hint = `an NVIDIA driver is here, and ONNX Runtime’s CUDA libraries cannot be used: ${found.problem}`;
  }
  if (await mayHaveWebGpu()) list.push({ provider: 'webgpu', libraries: [] });
  return { list, driver, hint };
}

/** Apple and Windows have it; on Linux where a GPU is shown, or where somebody names a Vulkan driver. */
async function mayHaveWebGpu(): Promise<boolean> {
  if (process.platform !== 'linux') return true;
  if (process.env.VK_DRIVER_FILES || process.env.VK_ICD_FILENAMES) return true;
  const nodes = await readdir(RENDER_NODES).catch(() => []);
  return nodes.some((name) => name.startsWith('renderD'));
}
