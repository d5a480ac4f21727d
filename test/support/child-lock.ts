/** Holds the lock of a folder until it is killed, and says over IPC whether it got it. */
import { isAppError } from '../../shared/runtime/errors.ts';
import { lockFolder } from '../../shared/runtime/folder-lock.ts';

try {
  await lockFolder(process.argv[2] ?? '');
  process.send?.('held');
  setInterval(() => undefined, 1_000);
} catch (error) {
  process.send?.(isAppError(error) ? error.code : String(error));
  process.disconnect();
}
