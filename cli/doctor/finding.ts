/** Finding of the doctor about one thing. */
export interface Finding {
  readonly about: string;
  /** `warn`: it works, and will not for ever, or could not be looked at. `fail`: it does not work. */
  readonly level: 'ok' | 'warn' | 'fail';
  readonly found: string;
  /** What to do about it; null where nothing is to be done. */
  readonly todo: string | null;
}

/** Finding that needs nothing done. */
export const ok = (about: string, found: string): Finding => ({ about, level: 'ok', found, todo: null });
/** Finding that a person should look at; things work meanwhile. */
export const warn = (about: string, found: string, todo: string): Finding => ({
  about,
  level: 'warn',
  found,
  todo,
});
/** Finding that keeps something from working. */
export const fail = (about: string, found: string, todo: string): Finding => ({
  about,
  level: 'fail',
  found,
  todo,
});
