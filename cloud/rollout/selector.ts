/**
 * Which devices an operator means, in the words of Kubernetes' label selectors: `site=north`, `site!=north`, `line in (1,2)`,
 * `line notin (1,2)`, `gpu`, `!gpu`, `agent>=0.2.0`, joined by commas, all of which must hold. What a device is by itself (DEVICE_FACTS)
 * is named as its labels are; agents are compared as versions are (`0.3.0-rc.1` is before `0.3.0`).
 */
import { DEVICE_FACTS, type DeviceFact } from '../../shared/contract/labels.ts';
import { AppError } from '../../shared/runtime/errors.ts';
import { size } from '../../shared/runtime/quantities.ts';
import { compareVersions } from '../../shared/runtime/version-order.ts';

/** Facts and labels of one device. */
export interface SelectableDevice {
  readonly id: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly pipelines: readonly { readonly name: string; readonly task: string }[];
  readonly agentVersion: string;
  readonly hardware:
    | { readonly platform: string; readonly cores: number; readonly memoryBytes: number }
    | undefined;
}

/** Whether a device is meant. */
export type Selector = (device: SelectableDevice) => boolean;

type Compare = (order: number) => boolean;

const COMPARE: Readonly<Record<string, Compare>> = {
  '>=': (order) => order >= 0,
  '<=': (order) => order <= 0,
  '>': (order) => order > 0,
  '<': (order) => order < 0,
};

const NAME = '[A-Za-z0-9][A-Za-z0-9._-]*';
const VALUE = '[A-Za-z0-9][A-Za-z0-9._+-]*';
const SET = new RegExp(String.raw`^(${NAME})\s+(in|notin)\s*\(\s*(${VALUE}(?:\s*,\s*${VALUE})*)\s*\)$`);
const EQUAL = new RegExp(String.raw`^(${NAME})\s*(==|=|!=)\s*(${VALUE})$`);
const ORDER = new RegExp(String.raw`^(${NAME})\s*(>=|<=|>|<)\s*(${VALUE})$`);
const THERE = new RegExp(String.raw`^(!?)\s*(${NAME})$`);

/**
 * Reads a selector; the empty one means every device.
 *
 * @throws PARAMETERS_INVALID, naming the part that cannot be read
 */
export function parseSelector(text: string): Selector {
  const parts = splitOutsideBrackets(text);
  if (parts.length === 1 && parts[0] === '') return () => true;
  const requirements = parts.map(parseRequirement);
  return (device) => requirements.every((holds) => holds(device));
}

function splitOutsideBrackets(text: string): string[] {
  const parts: string[] = [];
  let depth = 0;
  let from = 0;
  for (let at = 0; at < text.length; at++) {
    if (text[at] === '(') depth++;
    if (text[at] === ')') depth--;
    if (text[at] !== ',' || depth > 0) continue;
    parts.push(text.slice(from, at));
    from = at + 1;
  }
  return [...parts, text.slice(from)].map((part) => part.trim());
}

function parseRequirement(part: string): Selector {
  const set = SET.exec(part);
  if (set) return isAmong(set[1] ?? '', (set[3] ?? '').split(/\s*,\s*/), set[2] === 'in');
  const equal = EQUAL.exec(part);
  if (equal) return isAmong(equal[1] ?? '', [equal[3] ?? ''], equal[2] !== '!=');
  const order = ORDER.exec(part);
  if (order) return isOrdered(part, order[1] ?? '', order[2] ?? '', order[3] ?? '');
  const there = THERE.exec(part);
  if (there) return (device) => valuesOf(device, there[2] ?? '').length > 0 !== (there[1] === '!');
  throw new AppError(
    'PARAMETERS_INVALID',
    `selector: “${part}” cannot be read; a part is site=north, site!=north, line in (1,2), line notin (1,2), gpu, !gpu or agent>=0.2.0`,
  );
}

/** A device without the label is not among them, and so matches `!=` and `notin`. */
function isAmong(name: string, wanted: readonly string[], isWanted: boolean): Selector {
  return (device) => valuesOf(device, name).some((value) => wanted.includes(value)) === isWanted;
}

function isOrdered(part: string, name: string, sign: string, wanted: string): Selector {
  const compare = COMPARE[sign] as Compare;
  const order = orderOf(name, wanted);
  if (!order)
    throw new AppError(
      'PARAMETERS_INVALID',
      `selector: “${part}”: ${wanted} ${name === 'agent' ? 'is no version, such as 0.3.0 or 0.3.0-rc.1' : 'cannot be compared by size'}`,
    );
  return (device) =>
    valuesOf(device, name).some((value) => {
      const found = order(value);
      return found !== undefined && compare(found);
    });
}

/** How a value compares with the wanted one; undefined: not at all. */
function orderOf(name: string, wanted: string): ((value: string) => number | undefined) | undefined {
  if (name === 'agent')
    return compareVersions(wanted, wanted) === undefined
      ? undefined
      : (value) => compareVersions(value, wanted);
  const limit = name === 'memory' ? size.safeParse(wanted).data : numberIn(wanted);
  if (limit === undefined) return undefined;
  return (value) => {
    const found = numberIn(value);
    return found === undefined ? undefined : found - limit;
  };
}

function numberIn(text: string): number | undefined {
  const value = Number(text);
  return text !== '' && Number.isFinite(value) ? value : undefined;
}

function valuesOf(device: SelectableDevice, name: string): readonly string[] {
  const fact = DEVICE_FACTS.find((one) => one === name);
  if (fact) return factsOf(device, fact);
  return Object.hasOwn(device.labels, name) ? [device.labels[name] ?? ''] : [];
}

function factsOf({ id, pipelines, agentVersion, hardware }: SelectableDevice, fact: DeviceFact): string[] {
  switch (fact) {
    case 'device':
      return [id];
    case 'pipeline':
      return pipelines.map(({ name }) => name);
    case 'task':
      return pipelines.map(({ task }) => task);
    case 'agent':
      return [agentVersion];
    case 'platform':
      return hardware ? [hardware.platform] : [];
    case 'cores':
      return hardware ? [String(hardware.cores)] : [];
    case 'memory':
      return hardware ? [String(hardware.memoryBytes)] : [];
  }
}
