/** What edge and cloud give together at every threshold, from their answers to the same inputs. Pure; shares are 0..1. */

/** What both models made of one input. */
export interface Compared {
  readonly routeScore: number;
  readonly isEdgeRight: boolean;
  readonly isCloudRight: boolean;
  readonly agrees: boolean;
}

export interface Point {
  /** Inputs with a lower route score are escalated. */
  readonly threshold: number;
  readonly escalated: number;
  readonly accuracy: number;
  /** Share of all inputs that get the cloud's answer, from whichever side. */
  readonly agreement: number;
}

/** The pair with one threshold: -Infinity is edge only, Infinity cloud only. */
export function pointAt(compared: readonly Compared[], threshold: number): Point {
  const isKept = ({ routeScore }: Compared): boolean => routeScore >= threshold;
  const shareOf = (holds: (entry: Compared) => boolean): number =>
    compared.filter(holds).length / compared.length;
  return {
    threshold,
    escalated: shareOf((entry) => !isKept(entry)),
    accuracy: shareOf((entry) => (isKept(entry) ? entry.isEdgeRight : entry.isCloudRight)),
    agreement: shareOf((entry) => !isKept(entry) || entry.agrees),
  };
}

/** `steps + 1` points from edge only to cloud only, at equal steps of the share escalated (ties go one way). */
export function hybridCurve(compared: readonly Compared[], steps: number): Point[] {
  const scores = compared.map(({ routeScore }) => routeScore).sort((x, y) => x - y);
  return Array.from({ length: steps + 1 }, (_, step) => {
    const rank = Math.round((step / steps) * scores.length);
    return pointAt(
      compared,
      step === 0 ? Number.NEGATIVE_INFINITY : (scores[rank] ?? Number.POSITIVE_INFINITY),
    );
  });
}
