/** `outrider gpu [status|install|remove]`: GPUs of this machine, and ONNX Runtime's CUDA libraries for them. */
import { rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline/promises';
import { selfTest } from '../../shared/inference/proof/self-test.ts';
import { type Candidate, findCandidates } from '../../shared/inference/providers/candidates.ts';
import { findGpuLibraries } from '../../shared/inference/providers/gpu-libraries.ts';
import { findNvidiaDriver, type NvidiaDriver } from '../../shared/inference/providers/nvidia.ts';
import { withRunner } from '../../shared/inference/runner/with-runner.ts';
import { openModelFolder } from '../../shared/release/folder/model-folder.ts';
import { systemClock as clock } from '../../shared/runtime/clock.ts';
import { AppError, toAppError } from '../../shared/runtime/errors.ts';
import { installLibraries, neededWheels } from '../gpu/install-libraries.ts';
import { requireGpu } from '../gpu/require-gpu.ts';
import { systemLibraries } from '../gpu/system-libraries.ts';
import { DEFAULT_INDEX } from '../gpu/wheel-source.ts';
import type { Wheel } from '../gpu/wheels.ts';
import { hubFolderOf } from '../hub-client.ts';
import { bytesText, note, print, table } from '../output.ts';
import { progressBar } from '../progress-bar.ts';
import { SHIPPED_MODELS } from './doctor.ts';

interface GpuOptions {
  readonly data?: string;
  readonly json?: boolean;
}

/** Flags of `outrider gpu install`. */
export interface GpuInstallOptions extends GpuOptions {
  readonly from?: string;
  readonly index?: string;
  readonly yes?: boolean;
  readonly force?: boolean;
}

/** A provider, tried. */
interface Tried {
  readonly provider: string;
  readonly medianMs: number | null;
  /** Why it does not work; null: it does. */
  readonly problem: string | null;
}

/** Small, with golden answers, and with convolutions: the first thing that a wrong cuDNN breaks. */
const TRIED_WITH = 'cifar10-cnn';

const dataDirOf = async (data: string | undefined): Promise<string> => dirname(await hubFolderOf(data));

/** `outrider gpu`: what is here, and whether a model gives its golden answers on it. */
export async function gpuStatus({ data, json }: GpuOptions): Promise<void> {
  const dataDir = await dataDirOf(data);
  const { driver, list } = await findCandidates(dataDir);
  const libraries = await findGpuLibraries(dataDir);
  const tried: Tried[] = [];
  for (const candidate of [undefined, ...list]) tried.push(await tryHere(candidate));
  const told = {
    driver: driver ?? null,
    libraries:
      'folder' in libraries ? { folder: libraries.folder, packages: libraries.manifest.packages } : null,
    tried,
  };
  print(json, told, () =>
    table(
      ['what', 'found'],
      [
        ['driver', driverText(driver)],
        [
          'libraries',
          'folder' in libraries
            ? `of ONNX Runtime ${libraries.manifest.onnxruntime}, in ${libraries.folder}`
            : libraries.problem,
        ],
        ...tried.map(({ provider, medianMs, problem }) => [
          provider,
          problem ?? `gives the golden answers of ${TRIED_WITH}, ${medianMs?.toFixed(1)} ms an input`,
        ]),
      ],
    ),
  );
}

const driverText = (driver: NvidiaDriver | undefined): string =>
  driver
    ? [
        `NVIDIA ${driver.version ?? '(version unknown)'}`,
        ...driver.gpus.map(({ name, memoryBytes }) =>
          memoryBytes ? `${name}, ${bytesText(memoryBytes)}` : name,
        ),
      ].join('; ')
    : 'no NVIDIA driver';

async function tryHere(candidate: Candidate | undefined): Promise<Tried> {
  const provider = candidate?.provider ?? 'cpu';
  try {
    const folder = await openModelFolder(join(SHIPPED_MODELS, TRIED_WITH));
    const options = candidate && { executionProvider: candidate.provider, libraries: candidate.libraries };
    const { medianMs } = await withRunner(
      folder,
      (runner) => selfTest(runner, folder, { repeat: 5 }),
      options,
    );
    return { provider, medianMs, problem: null };
  } catch (error) {
    return { provider, medianMs: null, problem: toAppError(error).message };
  }
}

/**
 * `outrider gpu install`.
 *
 * @throws GPU_MISSING, USAGE (nobody says yes), LIBRARY_INVALID, DISK_FULL, and what an index fails with
 */
export async function gpuInstall(options: GpuInstallOptions): Promise<void> {
  const { data, json, from, index = process.env.PIP_INDEX_URL || DEFAULT_INDEX, yes, force } = options;
  const dataDir = await dataDirOf(data);
  requireGpu({ ...process, driver: await findNvidiaDriver() }, force);
  const found = await findGpuLibraries(dataDir);
  if ('folder' in found) {
    print(json, { folder: found.folder, installed: false }, () => `they are there already: ${found.folder}`);
    return;
  }
  const wheels = await neededWheels(await systemLibraries());
  const bytes = wheels.reduce((sum, wheel) => sum + wheel.bytes, 0);
  const total = `${bytesText(bytes)} from ${from ?? index}`;
  note(`${wheelTable(wheels)}\n\n${total}; into ${join(dataDir, 'gpu')}`);
  if (!yes) await askConsent();
  const stopping = new AbortController();
  process.once('SIGINT', () => stopping.abort());
  const bar = progressBar('fetching', bytes, bytesText);
  try {
    const { folder } = await installLibraries({
      ...{ dataDir, wheels, from },
      index: { index, clock, signal: stopping.signal, random: Math.random },
      onBytes: (more) => bar.increment(more),
      onStep: note,
    });
    print(
      json,
      { folder, installed: true },
      () => `installed: ${folder}\nA hub uses them from its next start on; outrider gpu tries them.`,
    );
  } finally {
    bar.stop();
  }
}

const wheelTable = (wheels: readonly Wheel[]): string =>
  table(
    ['package', 'version', 'size', 'licence'],
    wheels.map(({ name, version, bytes, license }) => [name, version, bytesText(bytes), license]),
  );

/** @throws USAGE where nobody agrees */
async function askConsent(): Promise<void> {
  if (!process.stdin.isTTY) throw new AppError('USAGE', 'nothing is fetched without a yes: give --yes');
  const asked = createInterface({ input: process.stdin, output: process.stderr });
  const answer = await asked.question('Fetch and install them, under these licences? [y/N] ');
  asked.close();
  if (!/^y(es)?$/i.test(answer.trim())) throw new AppError('USAGE', 'nothing was installed');
}

/** `outrider gpu remove`: the hub goes on without them from its next start on. */
export async function gpuRemove({ data, json }: GpuOptions): Promise<void> {
  const folder = join(await dataDirOf(data), 'gpu');
  await rm(folder, { recursive: true, force: true });
  print(json, { removed: folder }, () => `removed: ${folder}`);
}
