/** Where an installation lies on a device, below its root folder: `/`, or that of an image that is being made. */
import { join } from 'node:path';
import { readIfThere } from '../../shared/runtime/read-file.ts';

/** Name of the unit. */
export const SERVICE = 'outrider-agent';
/** As whom it runs. */
export const USER = 'outrider';
/** Configuration as in deploy/systemd/outrider-agent.service; another is put in its place. */
export const DEFAULT_CONFIG = '/etc/outrider/outrider.yaml';
/** Data folder, likewise. */
export const DEFAULT_DATA = '/var/lib/outrider';

/** Folder of what root knows and says about updates of the agent, as in the units. */
const UPDATES = '/var/lib/outrider-update';

/** Paths as this process reaches them; what stands in files for the device itself comes without the root. */
export interface Place {
  readonly root: string;
  /** Versions, each in a folder of its name, and the links `current` and `previous`. */
  readonly versions: string;
  readonly current: string;
  readonly previous: string;
  /** Leads to the version that puts updates into place: not the one on trial. */
  readonly updater: string;
  /** Root's own folder of updates, which the agent reads. */
  readonly updates: string;
  /** `outrider` for people. */
  readonly command: string;
  readonly unit: string;
  /** What `systemctl enable` makes. */
  readonly wanted: string;
  /** Has systemd make the user at the next start of an image. */
  readonly sysusers: string;
  readonly config: string;
  readonly data: string;
  /** As the device itself names them. */
  readonly inside: { readonly config: string; readonly data: string };
}

/** Settings of an installation that differ from the standard. */
export interface PlaceFlags {
  readonly config?: string | undefined;
  readonly data?: string | undefined;
}

/** Place of an installation as its unit says it, where nobody says otherwise now: an upgrade must find its configuration and data. */
export async function findPlace(root: string, given: PlaceFlags = {}): Promise<Place> {
  const standard = placeBelow(root);
  const text = (await readIfThere(standard.unit))?.toString('utf8') ?? '';
  const [, config, data] = /^ExecStart=\S+ agent --config (\S+) --data (\S+)/m.exec(text) ?? [];
  return placeBelow(root, {
    config: given.config ?? config ?? DEFAULT_CONFIG,
    data: given.data ?? data ?? DEFAULT_DATA,
  });
}

/** Place below a root folder. @param root absolute, `/` for this machine */
export function placeBelow(
  root: string,
  { config = DEFAULT_CONFIG, data = DEFAULT_DATA }: { readonly config?: string; readonly data?: string } = {},
): Place {
  const at = (path: string): string => join(root, path);
  const versions = at('/opt/outrider');
  const units = at('/etc/systemd/system');
  return {
    root,
    versions,
    current: join(versions, 'current'),
    previous: join(versions, 'previous'),
    updater: join(versions, 'updater'),
    updates: at(UPDATES),
    command: at('/usr/local/bin/outrider'),
    unit: join(units, `${SERVICE}.service`),
    wanted: join(units, 'multi-user.target.wants', `${SERVICE}.service`),
    sysusers: at(`/etc/sysusers.d/${USER}.conf`),
    config: at(config),
    data: at(data),
    inside: { config, data },
  };
}
