/** NVIDIA's driver and GPUs, as this machine tells of them. */
import { execFile } from 'node:child_process';
import { access, readFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { findProgram } from '../../runtime/find-program.ts';

/** A driver with its GPUs. */
export interface NvidiaDriver {
  /** `580.95.05`; undefined where nobody says it. */
  readonly version: string | undefined;
  readonly gpus: readonly { readonly name: string; readonly memoryBytes: number | undefined }[];
}

/** Where machines and containers have what every CUDA program needs, the driver's own library. */
const DRIVER_LIBRARIES = [
  '/usr/lib/x86_64-linux-gnu/libcuda.so.1',
  '/usr/lib64/libcuda.so.1',
  '/usr/lib/libcuda.so.1',
  '/usr/local/cuda/compat/libcuda.so.1',
  '/usr/lib/wsl/lib/libcuda.so.1',
];
const ASK_TIMEOUT_MS = 10_000;
const MIB = 1024 ** 2;

/** @returns undefined where there is no driver */
export async function findNvidiaDriver(): Promise<NvidiaDriver | undefined> {
  if (process.platform !== 'linux') return undefined;
  const asked = await askNvidiaSmi();
  if (asked) return asked;
  const told = await readFile('/proc/driver/nvidia/version', 'utf8').catch(() => undefined);
  const version = told && /Kernel Module[^\d]*([\d.]+)/.exec(told)?.[1];
  if (version) return { version, gpus: [] };
  for (const path of DRIVER_LIBRARIES)
    if (
      await access(path).then(
        () => true,
        () => false,
      )
    )
      return { version: undefined, gpus: [] };
  return undefined;
}

async function askNvidiaSmi(): Promise<NvidiaDriver | undefined> {
  const program = await findProgram('nvidia-smi');
  if (program === undefined) return undefined;
  try {
    const { stdout } = await promisify(execFile)(
      program,
      ['--query-gpu=driver_version,memory.total,name', '--format=csv,noheader,nounits'],
      { timeout: ASK_TIMEOUT_MS },
    );
    return parseGpus(stdout);
  } catch {
    // Installed, and no GPU answers it: there is no driver that works.
    return undefined;
  }
}

/** What `nvidia-smi` lists: a line for each GPU, its driver, MiB of memory and name. @returns undefined where it lists none */
export function parseGpus(text: string): NvidiaDriver | undefined {
  const rows = text
    .split('\n')
    .map((line) => line.split(',').map((cell) => cell.trim()))
    .filter((row) => row.length >= 3);
  if (rows.length === 0) return undefined;
  return {
    version: rows[0]?.[0],
    gpus: rows.map(([, mib, ...name]) => ({
      name: name.join(', '),
      memoryBytes: Number.isFinite(Number(mib)) ? Number(mib) * MIB : undefined,
    })),
  };
}
