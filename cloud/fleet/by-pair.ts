/** Evidence by the pair of models that it is about: a large fleet is not gone through for each device that asks. */
import type { PairEvidence } from '../../shared/contract/fleet-evidence.ts';

/** Pair of models and the way of comparing, as one name. */
export const keyOf = ({
  edgeDigest,
  cloudDigest,
  comparedBy,
}: Pick<PairEvidence, 'edgeDigest' | 'cloudDigest' | 'comparedBy'>): string =>
  `${edgeDigest} ${cloudDigest} ${comparedBy}`;

type Models = Pick<PairEvidence, 'edgeDigest' | 'cloudDigest'>;
const modelsOf = ({ edgeDigest, cloudDigest }: Models): string => `${edgeDigest} ${cloudDigest}`;

/** What each device says of each pair. */
export class ByPair<E extends PairEvidence> {
  /** By models, way of comparing, device. */
  readonly #all = new Map<string, Map<string, Map<string, E>>>();

  add(deviceId: string, one: E): void {
    const models = modelsOf(one);
    const ways = this.#all.get(models) ?? new Map<string, Map<string, E>>();
    const devices = ways.get(one.comparedBy) ?? new Map<string, E>();
    this.#all.set(models, ways.set(one.comparedBy, devices.set(deviceId, one)));
  }

  remove(deviceId: string, one: E): void {
    const models = modelsOf(one);
    const ways = this.#all.get(models);
    const devices = ways?.get(one.comparedBy);
    devices?.delete(deviceId);
    if (devices?.size === 0) ways?.delete(one.comparedBy);
    if (ways?.size === 0) this.#all.delete(models);
  }

  /** Ways in which devices compare the answers of two models. */
  waysOf(models: Models): string[] {
    return [...(this.#all.get(modelsOf(models))?.keys() ?? [])];
  }

  /** By device; empty: nobody has told of it. */
  of(pair: Models & Pick<PairEvidence, 'comparedBy'>): ReadonlyMap<string, E> {
    return this.#all.get(modelsOf(pair))?.get(pair.comparedBy) ?? new Map<string, E>();
  }
}
