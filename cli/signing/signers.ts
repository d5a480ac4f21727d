/** The keys that a command is given: files, and a command that asks a token. */
import { open, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { publicKeyOf } from '../../shared/release/tuf/public-keys.ts';
import { newKeyPem, readSigningKey, type Signer, SigningKey } from '../../shared/release/tuf/signing-keys.ts';
import { AppError, systemCode, unreadable } from '../../shared/runtime/errors.ts';
import { makeFolder } from '../../shared/runtime/make-folder.ts';
import { ExternalSigner } from './external-signer.ts';

/** Flags that name who signs. */
export interface SignerOptions {
  /** Files of private keys. */
  readonly signingKey?: readonly string[];
  readonly signingCommand?: string;
  /** PEM of the key that the command signs with. */
  readonly publicKey?: string;
}

/** @throws USAGE, FILE_UNREADABLE, CONFIG_INVALID */
export async function signersOf(options: SignerOptions): Promise<Signer[]> {
  const { signingKey = [], signingCommand, publicKey } = options;
  if ((signingCommand === undefined) !== (publicKey === undefined))
    throw new AppError('USAGE', '--signing-command and --public-key go together: whose signature it makes');
  const signers: Signer[] = [];
  for (const path of signingKey) signers.push(await readSigningKey(path));
  if (signingCommand !== undefined && publicKey !== undefined)
    signers.push(new ExternalSigner(signingCommand, await readPem(publicKey)));
  return signers;
}

/** A key by its file: the private half can sign, the public half names who can. */
export interface NamedKey {
  readonly publicKey: Signer['publicKey'];
  /** undefined: it is kept elsewhere. */
  readonly signer: Signer | undefined;
  readonly path: string;
}

/** Keys of PEM files, public or private. @throws FILE_UNREADABLE, CONFIG_INVALID */
export async function keysIn(paths: readonly string[]): Promise<NamedKey[]> {
  return Promise.all(
    paths.map(async (path) => {
      const pem = await readPem(path);
      const signer = pem.includes('PRIVATE KEY') ? await readSigningKey(path) : undefined;
      return { publicKey: signer?.publicKey ?? publicKeyOf(pem, path), signer, path };
    }),
  );
}

/**
 * New keys, in files that nobody else can read, and their public halves beside them. Never over one that is there.
 *
 * @throws CONFLICT (a file of that name), FILE_UNREADABLE (the folder cannot be written)
 */
export async function makeKeyFiles(folder: string, role: string, count: number): Promise<NamedKey[]> {
  await makeFolder(folder, { mode: 0o700 }).catch((error: unknown) => {
    throw unreadable(folder, error);
  });
  const made: NamedKey[] = [];
  for (let number = 1; made.length < count; number++) {
    const path = join(folder, `${role}-${number}.pem`);
    const pem = newKeyPem();
    if (!(await writeNew(path, pem, 0o600))) continue;
    const signer = new SigningKey(pem);
    await writeNew(join(folder, `${role}-${number}.pub.pem`), signer.publicPem, 0o644);
    made.push({ publicKey: signer.publicKey, signer, path });
  }
  return made;
}

/** On disk when it returns; false: there is one. */
async function writeNew(path: string, text: string, mode: number): Promise<boolean> {
  try {
    const file = await open(path, 'wx', mode);
    try {
      await file.writeFile(text);
      await file.sync();
    } finally {
      await file.close();
    }
    return true;
  } catch (error) {
    if (systemCode(error) === 'EEXIST') return false;
    throw unreadable(path, error);
  }
}

const readPem = (path: string): Promise<string> =>
  readFile(path, 'utf8').catch((error: unknown) => {
    throw unreadable(`the key ${path}`, error);
  });
