/** The rules that learn nothing from replies beside the router: one line a world, one column a rule. */
import { AS_USUAL } from '../experiments/guarantee.ts';
import type { BaselineRow, GuaranteeRow } from '../results.ts';
import { type Column, percent, promise } from './tables.ts';

/** A world with a promise, and what every rule makes of it. */
interface Compared {
  readonly world: string;
  readonly alpha: number;
  readonly oracle: number;
  readonly byRule: ReadonlyMap<string, BaselineRow>;
  readonly router: GuaranteeRow | undefined;
}

export function compare(
  baselines: readonly BaselineRow[],
  guarantee: readonly GuaranteeRow[],
): { rows: Compared[]; columns: Column<Compared>[] } {
  const rules = [...new Set(baselines.map(({ rule }) => rule))];
  const rows = baselines
    .filter(({ rule }) => rule === rules[0])
    .map(({ world, alpha, oracle }): Compared => {
      const isHere = (row: BaselineRow | GuaranteeRow): boolean => row.world === world && row.alpha === alpha;
      return {
        world,
        alpha,
        oracle,
        byRule: new Map(baselines.filter(isHere).map((row) => [row.rule, row])),
        router: guarantee.find((row) => isHere(row) && row.how === AS_USUAL),
      };
    });
  const columns: Column<Compared>[] = [
    ['world', ({ world }) => world],
    ['promised', ({ alpha }) => promise(alpha)],
    ['oracle', ({ oracle }) => percent(oracle)],
    [
      'router',
      ({ router }) =>
        router ? cell(router.escalatedAt.at(-1)!, router.riskAtEnd, router.brokenByEvidence) : '',
    ],
    ...rules.map(
      (rule): Column<Compared> => [
        rule,
        ({ byRule }) => {
          const { escalated, risk, broken } = byRule.get(rule)!;
          return cell(escalated, risk, broken);
        },
      ],
    ),
  ];
  return { rows, columns };
}

/** Escalated / risk / share of runs that break the promise. */
const cell = (escalated: number, risk: number, broken: number): string =>
  `${percent(escalated)} / ${percent(risk)} / ${percent(broken, broken === 1 ? 0 : 1)}`;
