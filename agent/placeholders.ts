/**
 * `${NAME}` in the texts of `outrider.yaml`: from the environment, else a credential of the systemd service. Secrets stay out of the file
 * so; no value is ever part of a message. `$${` stands for `${` itself.
 */
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { AppError, systemCode } from '../shared/runtime/errors.ts';

/** A key file with its chain is smaller. */
const MAX_CREDENTIAL_BYTES = 64 * 1024;
/** Names of variables, and of credentials, which may have dots and hyphens. */
const NAME = /^[A-Za-z_][\w.-]*$/;
const PLACEHOLDER = /\$?\$\{([^}]*)(\}?)/g;
/** Of an address, scheme and user part: what stands there is encoded, so that a password may hold any character. RFC 3986 3.2.1 */
const USER_PART = /^[a-z][a-z0-9+.-]*:\/\/[^/?#]*@/i;

/** @returns undefined where nobody has said it */
type LookUp = (name: string) => Promise<string | undefined>;

/**
 * A copy of what a YAML file holds, with every `${NAME}` in a text (not in a key) replaced.
 *
 * @throws CONFIG_INVALID with all that are missing, each with its key; never with a value
 */
export async function fillPlaceholders(
  value: unknown,
  env: NodeJS.ProcessEnv,
  keyName: (key: string) => string,
): Promise<unknown> {
  const known = new Map<string, Promise<string | undefined>>();
  const lookUp: LookUp = (name) => {
    const found = known.get(name) ?? valueNamed(name, env);
    known.set(name, found);
    return found;
  };
  const problems: string[] = [];
  const filled = await fill(value, [], lookUp, (path, what) =>
    problems.push(`${keyName(path.join('.') || 'top')}: ${what}`),
  );
  if (problems.length > 0) throw new AppError('CONFIG_INVALID', problems.join('; '));
  return filled;
}

async function fill(
  value: unknown,
  path: readonly string[],
  lookUp: LookUp,
  onProblem: (path: readonly string[], what: string) => void,
): Promise<unknown> {
  if (typeof value === 'string') return fillText(value, lookUp, (what) => onProblem(path, what));
  if (Array.isArray(value))
    return Promise.all(value.map((one, index) => fill(one, [...path, String(index)], lookUp, onProblem)));
  if (typeof value !== 'object' || value === null || Object.getPrototypeOf(value) !== Object.prototype)
    return value;
  const entries = Object.entries(value).map(
    async ([key, one]) => [key, await fill(one, [...path, key], lookUp, onProblem)] as const,
  );
  return Object.fromEntries(await Promise.all(entries));
}

async function fillText(text: string, lookUp: LookUp, onProblem: (what: string) => void): Promise<string> {
  if (!text.includes('${')) return text;
  const userPart = USER_PART.exec(text)?.[0].length ?? 0;
  let filled = '';
  let end = 0;
  for (const found of text.matchAll(PLACEHOLDER)) {
    const [whole, name = '', brace] = found;
    filled += text.slice(end, found.index);
    if (whole.startsWith('$$')) {
      filled += whole.slice(1);
      end = found.index + whole.length;
      continue;
    }
    end = found.index + whole.length;
    const isName = brace === '}' && NAME.test(name);
    const value = isName ? await lookUp(name) : undefined;
    if (!isName)
      onProblem(
        `\${ needs a name and a brace behind it, as in \${CAM_PASSWORD}; write $\${ for the text itself`,
      );
    else if (value === undefined)
      onProblem(
        `\${${name}} is neither in the environment nor a credential of the service (LoadCredential=${name}:…)`,
      );
    filled += found.index < userPart ? encodeURIComponent(value ?? '') : (value ?? '');
  }
  return filled + text.slice(end);
}

async function valueNamed(name: string, env: NodeJS.ProcessEnv): Promise<string | undefined> {
  return env[name] ?? credential(name, env.CREDENTIALS_DIRECTORY);
}

/** systemd.exec(5), LoadCredential=: a file of that name; who wrote it with an editor has a line's end behind it. */
async function credential(name: string, folder: string | undefined): Promise<string | undefined> {
  if (!folder) return undefined;
  try {
    const file = await open(join(folder, name));
    try {
      const { buffer, bytesRead } = await file.read(Buffer.alloc(MAX_CREDENTIAL_BYTES + 1));
      if (bytesRead > MAX_CREDENTIAL_BYTES) return undefined;
      return buffer.toString('utf8', 0, bytesRead).replace(/\r?\n$/, '');
    } finally {
      await file.close();
    }
  } catch (error) {
    if (systemCode(error) === undefined) throw error;
    return undefined;
  }
}
