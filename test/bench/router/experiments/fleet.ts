/**
 * What a device pays that comes after others: a fleet of devices learns one after the other; the tenth and the hundredth start from what those before
 * them have seen, and the same device without. Held against the truth of that very device.
 */

import { FleetSums } from '../../../../agent/router/fleet-sums.ts';
import { Learner } from '../../../../agent/router/learner.ts';
import { type DeviceEvidence, findStart } from '../../../../cloud/fleet/start.ts';
import { boundedEvidence } from '../../../../cloud/fleet/told.ts';
import {
  LAST_SCORE_PLACE,
  type PairEvidence,
  TWENTIETHS,
} from '../../../../shared/contract/fleet-evidence.ts';
import { median } from '../../harness.ts';
import type { FleetRow } from '../results.ts';
import { FLEETS, type FleetWorld, type Kind, kindOf } from '../worlds/fleets.ts';
import { below, normal, type Random, seeded } from '../worlds/random.ts';
import { auditLots } from './replay.ts';

const ALPHA = 0.02;
const TARGET = { alpha: ALPHA, delta: 0.05, scope: 'all' as const };
const PROMISE = { agreement: 1 - ALPHA, confidence: 1 - TARGET.delta };
/** That each device before has answered. */
const REQUESTS_BEFORE = 1_000;
const REQUESTS = 2_000;
const FIRST_SEED = 90_000;
/** Devices before the one that is measured. */
const PLACES = [0, 9, 99];
const NAMES = { edgeDigest: 'a'.repeat(64), cloudDigest: 'b'.repeat(64), comparedBy: '0'.repeat(16) };

/** One device’s requests. */
interface Device {
  readonly share: number;
  draw(): readonly [score: number, loss: number];
}

interface Outcome {
  readonly isStarted: boolean;
  readonly isBroken: boolean;
  readonly escalated: number | null;
  readonly askedUntilFirst: number;
  readonly askedOf1000: number;
  readonly asked: number;
  /** Requests until its own evidence certified a threshold; null: not in so many. */
  readonly ownAt: number | null;
}

export function measureFleet(name: string, runs: number): FleetRow[] {
  const world = FLEETS[name]!;
  const kinds = [kindOf(world.usual), ...(world.other ? [kindOf(world.other)] : [])];
  const found = PLACES.map((): Outcome[] => []);
  const without: Outcome[] = [];
  for (let run = 0; run < runs; run++) {
    const seed = FIRST_SEED + run;
    const random = seeded(seed);
    const fleet = new Fleet(world, kinds, random);
    const before: DeviceEvidence[] = [];
    for (const [index, place] of PLACES.entries()) {
      while (before.length < place) before.push(fleet.evidenceOf(before.length, seed));
      const device = fleet.device();
      const start = findStart(before, PROMISE)?.threshold ?? null;
      const lots = auditLots(seed * 1_009 + place);
      found[index]!.push(pass(device, kinds, start, lots));
      if (place === PLACES.at(-1)) without.push(pass(device, kinds, null, auditLots(seed)));
    }
  }
  const oracle = kinds[0]!.truth.oracle(ALPHA).escalated;
  return [
    ...PLACES.map((place, index) => rowOf(name, `device ${place + 1}`, found[index]!, oracle)),
    rowOf(name, 'device 100, without', without, oracle),
  ];
}

class Fleet {
  readonly #world: FleetWorld;
  readonly #kinds: readonly Kind[];
  readonly #random: Random;
  readonly #gauss: Random;

  constructor(world: FleetWorld, kinds: readonly Kind[], random: Random) {
    this.#world = world;
    this.#kinds = kinds;
    this.#random = random;
    this.#gauss = normal(random);
  }

  device(): Device {
    const random = this.#random;
    const share = this.#world.mixture?.(random, this.#gauss) ?? 0;
    const [usual, other = usual] = this.#kinds;
    return {
      share,
      draw: () => {
        const { scores, losses } = (share > 0 && random() < share ? other : usual)!.pool;
        const index = below(scores.length, random);
        return [scores[index]!, losses[index]!];
      },
    };
  }

  evidenceOf(place: number, seed: number): DeviceEvidence {
    const { liar } = this.#world;
    if (place === 0 && liar) return boundedEvidence(lie(liar));
    const { draw } = this.device();
    const learner = new Learner({ target: TARGET, certified: null, random: auditLots(seed * 211 + place) });
    const sums = new FleetSums();
    for (let request = 0; request < REQUESTS_BEFORE; request++) {
      const [score, loss] = draw();
      const ticket = learner.decide(score);
      if (learner.settle(ticket, loss)) sums.begin();
      else sums.count(score, ticket.isAsked ? loss : null, ticket.probability);
    }
    return boundedEvidence({ ...NAMES, ...sums.told });
  }
}

function lie(liar: NonNullable<FleetWorld['liar']>): PairEvidence {
  const count = 1e12;
  const isRosy = liar === 'nothing was wrong';
  return {
    ...NAMES,
    ...{ requests: count, asked: count, weights: count, loss: isRosy ? 0 : count },
    places: isRosy ? [] : [[LAST_SCORE_PLACE, count]],
    twentieths: new Array<number>(TWENTIETHS).fill(LAST_SCORE_PLACE),
  };
}

function pass({ share, draw }: Device, kinds: readonly Kind[], start: number | null, lots: Random): Outcome {
  const [usual, other = usual] = kinds;
  const mixed = (of: (kind: Kind) => number): number => (1 - share) * of(usual!) + share * of(other!);
  const learner = new Learner({ target: TARGET, certified: start, random: lots });
  let [asked, askedUntilFirst, askedOf1000] = [0, 0, 0];
  let ownAt: number | null = null;
  for (let request = 1; request <= REQUESTS; request++) {
    if (learner.threshold === null) askedUntilFirst = asked;
    const [score, loss] = draw();
    const ticket = learner.decide(score);
    if (ticket.isAsked) asked++;
    learner.settle(ticket, loss);
    if (learner.threshold === null) askedUntilFirst = asked;
    if (learner.basis === 'evidence') ownAt ??= request;
    if (request === 1_000) askedOf1000 = asked;
  }
  return {
    isStarted: start !== null,
    isBroken: start !== null && mixed(({ truth }) => truth.risk(start)) > ALPHA,
    escalated: start === null ? null : mixed(({ truth }) => truth.escalated(start)),
    ...{ askedUntilFirst, askedOf1000, asked, ownAt },
  };
}

function rowOf(world: string, device: string, outcomes: readonly Outcome[], oracle: number): FleetRow {
  const runs = outcomes.length;
  const started = outcomes.filter(({ isStarted }) => isStarted);
  const own = outcomes.map(({ ownAt }) => ownAt).filter((at) => at !== null);
  return {
    kind: 'fleet',
    ...{ world, device, runs, oracle },
    started: started.length / runs,
    broken: outcomes.filter(({ isBroken }) => isBroken).length / runs,
    escalated:
      started.length === 0
        ? null
        : started.reduce((sum, { escalated }) => sum + (escalated ?? 0), 0) / started.length,
    askedUntilFirst: median(outcomes.map(({ askedUntilFirst }) => askedUntilFirst)),
    askedOf1000: median(outcomes.map(({ askedOf1000 }) => askedOf1000)),
    askedOf2000: median(outcomes.map(({ asked }) => asked)),
    ownMedian: own.length * 2 > runs ? median(own) : null,
  };
}
