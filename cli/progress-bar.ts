/** A bar on stderr while something long is at work; nothing where stderr is no terminal. */
import { SingleBar } from 'cli-progress';

/** Progress display that must be stopped, so that the terminal is left clean. */
export interface ProgressBar {
  increment(by?: number): void;
  stop(): void;
}

const NO_BAR: ProgressBar = { increment: () => undefined, stop: () => undefined };

/** @param show how a value is written; as a number when left out */
export function progressBar(
  doing: string,
  total: number,
  show: (value: number) => string = String,
): ProgressBar {
  if (!process.stderr.isTTY) return NO_BAR;
  const bar = new SingleBar({
    stream: process.stderr,
    format: `${doing} [{bar}] {percentage} %  {value} of {total}  {eta_formatted} left`,
    formatValue: (value, _options, type) =>
      type === 'value' || type === 'total' ? show(value) : String(value),
    clearOnComplete: true,
    // Its handler of signals stops the bar and not the program. Ctrl-C is to end both, and to leave the terminal as it was: cursor and
    // wrapping of lines are not touched.
    gracefulExit: false,
    linewrap: true,
  });
  bar.start(total, 0);
  return bar;
}
