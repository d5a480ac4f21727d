/** The device id of a machine that was given none. */
import { hostname } from 'node:os';

/** The host's name, brought to what a topic level may hold. */
export const hostDeviceId = (): string =>
  hostname()
    .replace(/[^A-Za-z0-9_-]/g, '-')
    .slice(0, 64) || 'device';
