/** Whether this machine could make use of CUDA's libraries. */
import type { NvidiaDriver } from '../../shared/inference/providers/nvidia.ts';
import { AppError } from '../../shared/runtime/errors.ts';

/** What is asked of a machine. */
interface Machine {
  readonly platform: string;
  readonly arch: string;
  readonly driver: NvidiaDriver | undefined;
}

/** @param isForced without a driver, too: for an image @throws GPU_MISSING */
export function requireGpu({ platform, arch, driver }: Machine, isForced = false): void {
  if (platform !== 'linux' || arch !== 'x64')
    throw new AppError(
      'GPU_MISSING',
      `ONNX Runtime’s npm package runs CUDA on linux-x64 alone; this is ${platform}-${arch}`,
    );
  if (isForced || driver) return;
  throw new AppError(
    'GPU_MISSING',
    'there is no NVIDIA driver here, and nothing would use the libraries; --force installs them all the same, for an image',
  );
}
