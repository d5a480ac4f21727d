/** Quotas of keys: the one place where a question over HTTP is turned away for who asks. There are none yet. */
import type { KeyAdmission } from '../ports.ts';

/** Lets every key ask as much as it likes; the queue’s own bounds hold all the same. */
export const ADMITS_EVERY_KEY: KeyAdmission = { refuses: async () => undefined };
