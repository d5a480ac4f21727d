/** Flags that say which captures are meant, as a query of the hub. */
import { AppError } from '../../shared/runtime/errors.ts';
import { duration } from '../../shared/runtime/quantities.ts';

/** Flags of `ls` and `export`. */
export interface FilterFlags {
  readonly device?: string;
  readonly pipeline?: string;
  readonly model?: string;
  readonly why?: string;
  readonly disagree?: boolean;
  readonly agree?: boolean;
  readonly since?: string;
  readonly until?: string;
}

/** A date, or so long ago. @returns ms since 1970 @throws USAGE */
export function momentOf(flag: string, text: string, nowAtMs = Date.now()): number {
  const ago = duration.safeParse(text);
  const at = ago.success ? nowAtMs - ago.data : Date.parse(text);
  if (Number.isFinite(at)) return Math.round(at);
  throw new AppError('USAGE', `--${flag}: “${text}” is no date such as 2026-01-31, and no time such as 7d`);
}

/** `?device=…`, or nothing. @throws USAGE */
export function queryOf(flags: FilterFlags & { readonly before?: string }): string {
  if (flags.disagree && flags.agree) throw new AppError('USAGE', '--agree and --disagree exclude each other');
  const query = new URLSearchParams();
  for (const key of ['device', 'pipeline', 'model', 'why'] as const) {
    const value = flags[key];
    if (value !== undefined) query.set(key, value);
  }
  if (flags.disagree || flags.agree) query.set('disagree', String(flags.disagree === true));
  for (const key of ['since', 'until', 'before'] as const) {
    const value = flags[key];
    if (value !== undefined) query.set(key, String(momentOf(key, value)));
  }
  const text = query.toString();
  return text === '' ? '' : `?${text}`;
}
