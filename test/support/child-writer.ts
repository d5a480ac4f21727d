/** Writes a state file over and over, each time longer or shorter, until it is killed. */
import { writeJsonAtomic } from '../../shared/runtime/atomic-file.ts';

const path = process.argv[2] ?? '';
for (let i = 0; ; i++) {
  await writeJsonAtomic(path, { filling: String(i % 10).repeat((i * 7_919) % 200_000) });
  if (i === 0) process.send?.('written');
}
