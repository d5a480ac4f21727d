/** Guards of an address: the check of who may ask, and how the document says it. */
import type { MiddlewareHandler } from 'hono';
import type { KeyScope } from '../../../shared/contract/admin.ts';
import type { KeyGuesses } from '../../../shared/runtime/key-guesses.ts';
import type { DeviceCredentials, KeyBook } from '../../ports.ts';
import { type HubEnv, requireDevice, requireReader, requireScope } from './face.ts';
import type { SignIns } from './sign-in.ts';

/** The check before an operation. */
export interface Guard {
  /** undefined: everybody may. */
  readonly check: MiddlewareHandler<HubEnv> | undefined;
  /** OpenAPI 3.1 4.8.30: one of these, with these roles. */
  readonly security: Record<string, string[]>[];
}

/** Guard that lets everybody in. */
export const OPEN: Guard = { check: undefined, security: [] };

/** Guards by kind of caller. */
export interface Guards {
  /** A key with one of these scopes; `admin` may everything. */
  key(...scopes: KeyScope[]): Guard;
  /** The same, or a page of the hub that somebody has signed in to. */
  reader(...scopes: KeyScope[]): Guard;
  readonly device: Guard;
}

/** Guards over the keys, devices and sign-ins of this hub. */
export function createGuards(parts: {
  readonly keys: KeyBook;
  readonly devices: DeviceCredentials;
  readonly signIns: SignIns;
  readonly guesses: KeyGuesses;
}): Guards {
  const { devices, signIns, guesses } = parts;
  return {
    key: (...scopes) => ({ check: requireScope(parts, ...scopes), security: [{ key: scopes }] }),
    reader: (...scopes) => ({
      check: requireReader(parts, signIns, scopes),
      security: [{ key: scopes }, { session: [] }],
    }),
    device: { check: requireDevice(devices, guesses), security: [{ device: [] }] },
  };
}
