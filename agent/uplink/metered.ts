/**
 * Whether the link is paid by the byte: as the configuration says, else as the system does. NetworkManager says it on the system's bus, by what
 * the operator or the access point has said of the connection; where there is none, a link is not metered.
 *
 * Source: https://networkmanager.dev/docs/api/latest/nm-dbus-types.html#NMMetered
 */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

const ASK = [
  '--timeout=2',
  'get-property',
  'org.freedesktop.NetworkManager',
  '/org/freedesktop/NetworkManager',
  'org.freedesktop.NetworkManager',
  'Metered',
] as const;
const ASK_TIMEOUT_MS = 3_000;
/** NM_METERED_YES, NM_METERED_GUESS_YES */
const METERED: readonly string[] = ['u 1', 'u 3'];

/** Asks the system. Never rejects. */
export async function isSystemMetered(program = 'busctl'): Promise<boolean> {
  try {
    const { stdout } = await promisify(execFile)(program, ASK, { timeout: ASK_TIMEOUT_MS });
    return METERED.includes(stdout.trim());
  } catch {
    // No bus, no NetworkManager, or no answer.
    return false;
  }
}
