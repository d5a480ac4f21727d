/** `outrider models rm NAME[@VERSION]`: takes a server, a version, or a whole model away. */
import { modelRecord, type RemovedVersions, removedVersions } from '../../shared/contract/admin.ts';
import { modelName, modelVersion } from '../../shared/contract/names.ts';
import { AppError, isAppError } from '../../shared/runtime/errors.ts';
import { HubClient, type HubOptions, modelPath } from '../hub-client.ts';
import { bytesText, print } from '../output.ts';
import { type SignerOptions, signersOf } from '../signing/signers.ts';
import { removeEngine } from './engines.ts';
import { delistVersions } from './list-version.ts';

type Options = HubOptions & SignerOptions & { readonly json?: boolean; readonly out?: string };

/** A model that runs on another server loses that first: its folder, where it has one, stays. */
export async function removeModel(what: string, options: Options): Promise<void> {
  const at = what.lastIndexOf('@');
  const [name, version] = at === -1 ? [what] : [what.slice(0, at), what.slice(at + 1)];
  if (!modelName.safeParse(name).success) throw new AppError('USAGE', `“${name}” is no model name`);
  if (version !== undefined && !modelVersion.safeParse(version).success)
    throw new AppError('USAGE', `“${version}” is no version: ${name}@3`);
  const signers = await signersOf(options);
  const hub = await HubClient.find(options);
  const path = `/api/v1/models/${modelPath(name)}`;
  if (version === undefined) {
    const model = await hub.get(path, modelRecord).catch((error: unknown) => {
      // One that was removed, and waits for a signature, is shown no more.
      if (isAppError(error, 'MODEL_UNKNOWN')) return undefined;
      throw error;
    });
    if (model?.engine) return removeEngine(name, options);
  }
  const address = version === undefined ? path : `${path}/versions/${version}`;
  let done = await hub.remove(address, removedVersions);
  if (!done.delisted && signers.length > 0) {
    const refs = done.versions.map((one) => ({ name, version: one }));
    await delistVersions(hub, refs, { signers, out: options.out });
    // What was held up goes on by itself; asked again it says how it ended.
    const after = await hub.remove(address, removedVersions).catch((error: unknown) => {
      if (isAppError(error, 'MODEL_UNKNOWN') || isAppError(error, 'NOT_FOUND')) return undefined;
      throw error;
    });
    done = after ?? { ...done, delisted: true };
  }
  print(options.json, done, () => removedText(done, version !== undefined));
}

function removedText({ name, versions, delisted, freedBytes }: RemovedVersions, isOne: boolean): string {
  const what = isOne ? `${name}@${versions[0]}` : `${name}, ${versions.length} versions,`;
  if (delisted)
    return `${what} is removed${freedBytes > 0 ? `; ${bytesText(freedBytes)} are free again` : ''}. Devices that have it keep it.`;
  return [
    `${what} is offered to nobody any more, and listed still: the key that lists it is not on this hub.`,
    `Where it is: outrider models rm ${isOne ? `${name}@${versions[0]}` : name} --signing-key FILE`,
  ].join('\n');
}
