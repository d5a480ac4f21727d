/**
 * A key that never leaves its token: a command of the user's gets the bytes on standard input and gives the signature on standard output, raw,
 * in hex or in base64. Whatever comes counts only when the public key verifies it.
 */
import { spawn } from 'node:child_process';
import { publicKeyOf } from '../../shared/release/tuf/public-keys.ts';
import { isSignedBy, type Role, type Signed } from '../../shared/release/tuf/roles.ts';
import { addSignature, bytesToSign, type Signer } from '../../shared/release/tuf/signing-keys.ts';
import { AppError } from '../../shared/runtime/errors.ts';

/** Somebody has to find the token and touch it. */
const TIMEOUT_MS = 120_000;
/** In any form; a signature has 72 bytes at most. */
const MAX_OUTPUT_BYTES = 4_096;

/** Signer by a command of the user's. */
export class ExternalSigner implements Signer {
  readonly publicKey: Signer['publicKey'];
  readonly #command: string;
  readonly #timeoutMs: number;

  /** @param pem of the public half @throws CONFIG_INVALID */
  constructor(command: string, pem: string, timeoutMs = TIMEOUT_MS) {
    this.#command = command;
    this.#timeoutMs = timeoutMs;
    this.publicKey = publicKeyOf(pem, 'the file of --public-key');
  }

  async sign(metadata: Signed[Role]): Promise<void> {
    const said = await runSigning(this.#command, bytesToSign(metadata), this.#timeoutMs);
    const before = { ...metadata.signatures };
    for (const signature of readings(said)) {
      addSignature(metadata, this.publicKey, () => signature);
      if (isSignedBy(this.publicKey, metadata)) return;
      metadata.signatures = { ...before };
    }
    throw new AppError(
      'SIGNING_FAILED',
      `the signing command gave ${said.length} bytes, and they are no signature of key ${this.publicKey.keyID.slice(0, 12)}`,
    );
  }
}

/** Its standard error is the user's: a token may ask to be touched there. */
function runSigning(command: string, input: Uint8Array, timeoutMs: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const fail = (why: string, cause?: unknown): void =>
      reject(new AppError('SIGNING_FAILED', `the signing command ${why}`, { cause }));
    const child = spawn(command, { shell: true, stdio: ['pipe', 'pipe', 'inherit'], detached: true });
    // The shell's children, too.
    const end = (): void => {
      if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
    };
    const chunks: Buffer[] = [];
    let bytes = 0;
    const timer = setTimeout(() => {
      fail(`did not end within ${timeoutMs / 1_000} s`);
      end();
    }, timeoutMs);
    child.stdout.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes <= MAX_OUTPUT_BYTES) return void chunks.push(chunk);
      fail(`gave over ${MAX_OUTPUT_BYTES} bytes`);
      end();
    });
    child.on('error', (error) => fail('could not be started', error));
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      if (code === 0) resolve(Buffer.concat(chunks));
      else fail(`ended with ${signal ?? `exit code ${code}`}`);
    });
    // One that does not read all has other troubles.
    child.stdin.on('error', () => undefined);
    child.stdin.end(input);
  });
}

/** What the output may mean. */
function readings(said: Buffer): Uint8Array[] {
  const text = said.toString('latin1').replaceAll(/\s/g, '');
  const forms = [said];
  if (/^([0-9a-f]{2})+$/i.test(text)) forms.push(Buffer.from(text, 'hex'));
  if (/^[A-Za-z0-9+/_-]+={0,2}$/.test(text)) forms.push(Buffer.from(text, 'base64'));
  // PKCS #11 gives r and s of ECDSA one after the other; metadata have them in DER.
  return forms.flatMap((form) => (form.length === 64 ? [form, ecdsaDer(form)] : [form]));
}

function ecdsaDer(raw: Buffer): Buffer {
  const integers = Buffer.concat([raw.subarray(0, 32), raw.subarray(32)].map(derInteger));
  return Buffer.concat([Buffer.from([0x30, integers.length]), integers]);
}

/** X.690 8.3: the shortest form, and not negative. */
function derInteger(bytes: Uint8Array): Buffer {
  const first = bytes.findIndex((byte) => byte !== 0);
  const short = Buffer.from(bytes.subarray(first === -1 ? bytes.length - 1 : first));
  const value = (short[0] ?? 0) >= 0x80 ? Buffer.concat([Buffer.from([0]), short]) : short;
  return Buffer.concat([Buffer.from([0x02, value.length]), value]);
}
