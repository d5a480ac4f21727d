/** What a program says may have nobody to read it any more: its terminal is gone. */

/** A program goes on, whoever has stopped reading what it says. */
export function outliveReaders(): void {
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => undefined);
}
