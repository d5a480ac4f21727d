/** SIGHUP as daemons take it: files that are written to are opened anew, by those who asked to hear of it. */
const listeners = new Set<() => void>();

/** @returns how to hear of it no more */
export function onHangUp(run: () => void): () => void {
  listeners.add(run);
  return () => listeners.delete(run);
}

/** From now on SIGHUP no longer ends the program. */
export function reopenOnHangUp(): void {
  process.on('SIGHUP', () => {
    for (const run of listeners) run();
  });
}
