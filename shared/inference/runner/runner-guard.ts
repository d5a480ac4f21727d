/**
 * What ends a runner that notices nothing, because a native run blocks its event loop: when its parent is gone, and when its memory
 * passes the limit. Where Linux ends it with its parent (prctl(2), PR_SET_PDEATHSIG, which `setpriv` sets before it becomes Node)
 * and says how much memory it holds, the parent needs no help; elsewhere a thread in the runner looks for both (watchdog.ts), at
 * 8 MB more for each runner (docs/decisions/0020).
 */
import { type ChildProcess, type ForkOptions, fork } from 'node:child_process';
import { delimiter } from 'node:path';
import { fileURLToPath } from 'node:url';
import { systemClock as clock } from '../../runtime/clock.ts';
import { CHILD_ENV, CHILD_FLAGS, programFile } from '../../runtime/installation.ts';
import { residentBytes } from '../../runtime/resident-memory.ts';
import { canTie, TIE } from '../../runtime/tied-child.ts';

/** Fine enough to stop a leak, coarse enough to cost nothing. */
const POLL_MS = 200;

/** A runner's process that ends with its parent. */
export interface GuardedChild {
  readonly child: ChildProcess;
  /** Whether the runner has to look after its parent and its memory by itself. */
  readonly watchesItself: boolean;
}

/** Starts the runner's program, so that it ends with this one. @param libraries as `RunnerOptions` has them */
export function forkRunner(libraries: readonly string[] = []): GuardedChild {
  const options: ForkOptions = {
    execArgv: CHILD_FLAGS,
    serialization: 'advanced',
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    env: { ...runnerEnv(libraries), ...CHILD_ENV },
  };
  const file = fileURLToPath(programFile('runner'));
  if (!canTie()) return { child: fork(file, [], options), watchesItself: true };
  const execArgv = [...TIE, process.execPath, ...CHILD_FLAGS];
  return { child: fork(file, [], { ...options, execPath: 'setpriv', execArgv }), watchesItself: false };
}

/**
 * Looks at a runner's memory until the signal ends it, by the clock on the wall: a process grows whatever a test's clock says.
 *
 * @param onTooMuch is called once, with the bytes that it held
 * @param untilAtWork is asked between two looks: undefined, or resolves when it begins to do something; who does nothing does not grow
 */
export async function watchMemory(
  pid: number,
  maxRssBytes: number,
  o: {
    signal: AbortSignal;
    onTooMuch: (rssBytes: number) => void;
    untilAtWork?: () => Promise<void> | undefined;
  },
): Promise<void> {
  const { signal, onTooMuch, untilAtWork } = o;
  while (!signal.aborted) {
    const rssBytes = await residentBytes(pid);
    if (rssBytes !== undefined && rssBytes > maxRssBytes && !signal.aborted) return onTooMuch(rssBytes);
    await (untilAtWork?.() ?? clock.sleep(POLL_MS, signal).catch(() => undefined));
  }
}

/** Telemetry off, and none of our own secrets: a model is data from outside. */
function runnerEnv(libraries: readonly string[]): NodeJS.ProcessEnv {
  const env = Object.entries(process.env).filter(([name]) => !name.startsWith('OUTRIDER_'));
  const { LD_LIBRARY_PATH: inherited } = process.env;
  const folders = [...libraries, ...(inherited ? [inherited] : [])];
  return {
    ...Object.fromEntries(env),
    ORT_DISABLE_TELEMETRY: '1',
    // ONNX Runtime's binding looks there before its own folder (RUNPATH), and ONNX Runtime looks for its providers beside itself.
    ...(libraries.length > 0 && { LD_LIBRARY_PATH: folders.join(delimiter) }),
  };
}
