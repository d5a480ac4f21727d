/** What a turn of the circle has changed, as a table. */

/** Shares 0..1 of one version on one kind of pictures. */
export interface Figures {
  readonly version: 'before' | 'after';
  /** `all`, or how the pictures were spoilt. */
  readonly kind: string;
  readonly n: number;
  /** Of the second half, when what can be learnt is learnt. */
  readonly escalated: number;
  /** Of the answers that the agent gave, by the true labels, and by what the cloud says. */
  readonly accuracy: number;
  readonly agreement: number;
  /** Of the edge model alone. */
  readonly edgeAccuracy: number;
  readonly edgeAgreement: number;
  readonly cloudAccuracy: number;
}

const HEAD = [
  ...['pictures', 'version', 'n', 'escalated', 'agent right', 'agrees with the cloud'],
  ...['edge model right', 'edge model agrees', 'cloud right'],
];
const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;

/** Rows by kind, before and after beneath each other. */
export const gridOf = (figures: readonly Figures[]): string[][] => [
  HEAD,
  ...[...new Set(figures.map(({ kind }) => kind))].flatMap((kind) =>
    figures
      .filter((one) => one.kind === kind)
      .map((one) => [
        ...[one.kind, one.version, String(one.n), percent(one.escalated), percent(one.accuracy)],
        ...[one.agreement, one.edgeAccuracy, one.edgeAgreement, one.cloudAccuracy].map(percent),
      ]),
  ),
];
