/** A logger that remembers, for tests about what the operator is told. */
import { toAppError } from '../../shared/runtime/errors.ts';
import type { Logger } from '../../shared/runtime/logger.ts';

export interface LoggedLine {
  readonly level: 'debug' | 'info' | 'warn' | 'error' | 'failure';
  readonly event: string;
  readonly facts: Readonly<Record<string, unknown>>;
}

export interface RecordingLogger extends Logger {
  readonly lines: readonly LoggedLine[];
  /** The events of failures, with their codes. */
  failures(): string[];
}

export function recordingLogger(): RecordingLogger {
  const lines: LoggedLine[] = [];
  const at =
    (level: LoggedLine['level']) =>
    (event: string, facts: Record<string, unknown> = {}): void =>
      void lines.push({ level, event, facts });
  const logger: RecordingLogger = {
    lines,
    failures: () =>
      lines.filter(({ level }) => level === 'failure').map(({ event, facts }) => `${event} ${facts.code}`),
    debug: at('debug'),
    info: at('info'),
    warn: at('warn'),
    error: at('error'),
    failure: (event, error, facts) =>
      lines.push({ level: 'failure', event, facts: { ...facts, code: toAppError(error).code } }),
    child: () => logger,
  };
  return logger;
}
