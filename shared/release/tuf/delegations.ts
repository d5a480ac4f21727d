/**
 * Delegations (TUF 4.5): a publisher signs for the models of some names, with a key of its own, in metadata of its own. One level deep; a
 * pattern of names becomes the paths of their files, so that every client of The Update Framework keeps the publisher to them.
 */
import { type Key, Metadata, type TargetFile, Targets } from '@tufjs/models';
import { AGENT_NAME } from '../../contract/releases.ts';
import { AppError } from '../../runtime/errors.ts';
import { AGENT_FOLDER, agentCustom, agentFileIn, targetCustom } from '../release.ts';
import { DELEGATED_ROLE, MAX_DELEGATED_ROLES, MAX_ROLE_KEYS, type Signed, SPEC_VERSION } from './roles.ts';

/** Who may list the models of which names. */
export interface Delegation {
  readonly role: string;
  /** `acme/*`, `eyes`: a star stands for any letters of one part. */
  readonly models: readonly string[];
  readonly keys: readonly Key[];
  /** Keys that have to sign. */
  readonly threshold: number;
}

/** Patterns of one role. */
const MAX_PATTERNS = 32;
const PATTERN =
  /^(?:models\/)?([A-Za-z0-9_*][A-Za-z0-9._*-]{0,95}(?:\/[A-Za-z0-9_*][A-Za-z0-9._*-]{0,95})?)$/;
/** A version's number: where a name ends and a path of files begins. */
const VERSION = '[0-9]*';
/** Folders in a model folder, and the file: a star does not reach over a slash. */
const MAX_DEPTH = 6;

/** A pattern with many is slow to compare. */
const MAX_STARS = 3;

/** undefined for what is none. */
function patternOf(text: string): string | undefined {
  const pattern = PATTERN.exec(text)?.[1];
  return pattern?.includes('..') || (pattern?.split('*').length ?? 0) > MAX_STARS + 1 ? undefined : pattern;
}

/** @throws PARAMETERS_INVALID: not a pattern of model names */
export function modelPattern(text: string): string {
  const pattern = patternOf(text);
  if (pattern === undefined)
    throw new AppError(
      'PARAMETERS_INVALID',
      `“${text}” is no pattern of model names: eyes, acme/eyes, acme/* (at most 3 stars, each for letters of one part)`,
    );
  return pattern;
}

/** Paths of all files of models with such names; of the agent only where it is named itself: a star is about models. */
const pathsOf = (pattern: string): string[] => [
  ...Array.from({ length: MAX_DEPTH }, (_, depth) => `models/${pattern}/${VERSION}${'/*'.repeat(depth + 1)}`),
  ...(pattern === AGENT_NAME ? [`${AGENT_FOLDER}*`] : []),
];

/** Patterns of model names that these paths are made of; a path that no pattern makes counts for nothing. */
function patternsIn(paths: readonly string[]): string[] {
  const end = `/${VERSION}/*`;
  return paths.flatMap((path) => {
    const pattern = path.startsWith('models/') && path.endsWith(end) ? path.slice(7, -end.length) : '';
    return patternOf(pattern) === pattern && pathsOf(pattern).every((one) => paths.includes(one))
      ? [pattern]
      : [];
  });
}

/** Whether a model of this name is among those. */
export const matchesModel = (patterns: readonly string[], name: string): boolean =>
  patterns.some((pattern) => matches(pattern, name));

function matches(pattern: string, text: string): boolean {
  const source = pattern
    .split('*')
    .map((part) => part.replaceAll(/[.+?^${}()|[\]\\]/g, '\\$&'))
    .join('[^/]*');
  return new RegExp(`^${source}$`).test(text);
}

/** Delegations that these targets make, in the order in which they are asked. Those of no form of ours are left out. */
export function delegationsOf({ signed }: Signed['targets']): Delegation[] {
  const { keys = {}, roles = {} } = signed.delegations ?? {};
  return Object.values(roles)
    .filter(({ name }) => DELEGATED_ROLE.test(name))
    .slice(0, MAX_DELEGATED_ROLES)
    .map(({ name, keyIDs, threshold, paths = [] }) => ({
      role: name,
      models: patternsIn(paths),
      keys: keyIDs.flatMap((id) => keys[id] ?? []),
      threshold,
    }));
}

/** Delegations in the JSON of metadata; undefined for none. @throws PARAMETERS_INVALID */
export function delegationsWith(all: readonly Delegation[]): Record<string, unknown> | undefined {
  if (all.length === 0) return undefined;
  if (all.length > MAX_DELEGATED_ROLES)
    throw new AppError('PARAMETERS_INVALID', `a hub has at most ${MAX_DELEGATED_ROLES} delegations`);
  const roles = all.map(({ role, models, keys, threshold }) => {
    if (!DELEGATED_ROLE.test(role))
      throw new AppError(
        'PARAMETERS_INVALID',
        `“${role}” is no name of a delegation: small letters, digits and -, a letter first`,
      );
    if (models.length === 0 || models.length > MAX_PATTERNS)
      throw new AppError('PARAMETERS_INVALID', `a delegation has 1 to ${MAX_PATTERNS} patterns of models`);
    requireThreshold(role, keys, threshold);
    return {
      name: role,
      keyids: [...new Set(keys.map(({ keyID }) => keyID))],
      threshold,
      // Whoever comes after has no say about these models.
      terminating: true,
      paths: models.flatMap((model) => pathsOf(modelPattern(model))),
    };
  });
  return { keys: keysJson(all.flatMap(({ keys }) => keys)), roles };
}

/** Keys by their ids, in the JSON of metadata. */
export const keysJson = (keys: readonly Key[]): Record<string, unknown> =>
  Object.fromEntries(keys.map((key) => [key.keyID, key.toJSON()]));

/** @throws PARAMETERS_INVALID */
export function requireThreshold(role: string, keys: readonly Key[], threshold: number): void {
  const count = new Set(keys.map(({ keyID }) => keyID)).size;
  if (count === 0 || count > MAX_ROLE_KEYS)
    throw new AppError('PARAMETERS_INVALID', `${role} has 1 to ${MAX_ROLE_KEYS} keys, and not ${count}`);
  if (!Number.isInteger(threshold) || threshold < 1 || threshold > count)
    throw new AppError(
      'PARAMETERS_INVALID',
      `${role}: ${threshold} of ${count} keys cannot sign; the threshold is 1 to ${count}`,
    );
}

/** Whether the role may list this target: by its path, and by the model that it says it is of. */
function mayList(models: readonly string[], path: string, target: TargetFile): boolean {
  if (agentFileIn(path) !== undefined)
    return models.includes(AGENT_NAME) && agentCustom.safeParse(target.custom).success;
  const custom = targetCustom.safeParse(target.custom).data;
  return (
    custom !== undefined &&
    path.startsWith(`models/${custom.model}/${custom.version}/`) &&
    path.split('/').length - custom.model.split('/').length - 2 <= MAX_DEPTH &&
    matchesModel(models, custom.model)
  );
}

/**
 * @throws UPDATE_UNTRUSTED where a delegated role lists what is not its own, or delegates further
 */
export function requireOwn({ role, models }: Delegation, { signed }: Signed['targets']): void {
  if (signed.delegations)
    throw new AppError('UPDATE_UNTRUSTED', `${role}.json delegates further, which is not taken here`);
  for (const [path, target] of Object.entries(signed.targets))
    if (!mayList(models, path, target))
      throw new AppError(
        'UPDATE_UNTRUSTED',
        `${role}.json lists ${path}: its keys may only list ${models.join(', ')}`,
      );
}

/** First metadata of a delegated role: it lists nothing yet. */
export const emptyTargets = (version: number, expires: string): Signed['targets'] =>
  new Metadata(new Targets({ version, specVersion: SPEC_VERSION, expires }));
