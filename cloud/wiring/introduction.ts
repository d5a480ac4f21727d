/** The introduction of a hub that is up: to the command line in a file, and on the terminal to whoever has started it by hand. */
import { join } from 'node:path';
import { writeJsonAtomic } from '../../shared/runtime/atomic-file.ts';
import { colors } from '../../shared/runtime/colors.ts';

/** The file by which the command line finds this hub. @throws DISK_FULL */
export const writeAddress = (
  folder: string,
  address: { readonly url: string; readonly mqttUrl: string },
): Promise<void> => writeJsonAtomic(join(folder, 'address.json'), address);

/** Address, broker, where the admin key is; in red, that signing keys lie on this machine. */
export function introduce(hub: {
  readonly hubId: string;
  readonly url: string;
  readonly mqttUrl: string;
  readonly folder: string;
  readonly isDevelopment: boolean;
}): void {
  const { hubId, url, mqttUrl, folder, isDevelopment } = hub;
  process.stderr.write(
    `hub ${hubId}: ${url}, broker ${mqttUrl}, admin key in ${join(folder, 'admin.key')}\n`,
  );
  if (!isDevelopment) return;
  const warning = `development signing keys made by this hub in ${join(folder, 'tuf', 'keys')}: whoever takes this machine can sign updates`;
  process.stderr.write(`${process.stderr.isTTY ? colors.red(warning) : warning}\n`);
}
