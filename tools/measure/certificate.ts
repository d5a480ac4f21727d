/**
 * The statistics of a calibration certificate: from pairs (route score, did both models agree) to the thresholds above
 * which the edge may answer alone, and to the probability that they agree. Pure; docs/design/router.md 1.4 names the method.
 */

/** What both models said about one held-out input. */
export interface ScoredPair {
  readonly routeScore: number;
  readonly agrees: boolean;
}

/** P(agrees) = sigmoid(a * routeScore + b). */
export interface AgreementCurve {
  readonly a: number;
  readonly b: number;
}

/**
 * The most disagreements in `n` inputs with which a risk above `maxRisk` is refuted: the largest k for which
 * P(Binomial(n, maxRisk) <= k) <= 1 - confidence, so that Clopper and Pearson's upper bound (1934) is at most `maxRisk`.
 *
 * @param maxRisk 0..1, exclusive
 * @param confidence 0..1, exclusive
 * @returns -1 when `n` is too small to certify anything
 */
export function allowedDisagreements(n: number, maxRisk: number, confidence: number): number {
  const logOdds = Math.log(maxRisk) - Math.log1p(-maxRisk);
  // In logarithms: (1 - maxRisk)^n underflows for large n.
  let logTerm = n * Math.log1p(-maxRisk);
  let tail = Math.exp(logTerm);
  let k = -1;
  while (k < n && tail <= 1 - confidence) {
    k++;
    logTerm += Math.log((n - k) / (k + 1)) + logOdds;
    tail += Math.exp(logTerm);
  }
  return k;
}

/**
 * The lowest threshold at which P(disagree and routeScore >= threshold) <= 1 - agreement is certified.
 *
 * The risk never grows with the threshold, so the thresholds are tested in a fixed sequence, from strict to loose, each at
 * the full level, and the first that fails ends it: no correction for many tests is needed. That the tested thresholds are
 * the observed scores costs nothing either: n is the same for all, so whichever bad threshold passes, the loosest of
 * the bad ones has no more than `allowedDisagreements`, and that happens with probability 1 - confidence at most.
 *
 * @returns null where no observed score can be certified
 */
export function certifiedThreshold(
  pairs: readonly ScoredPair[],
  agreement: number,
  confidence: number,
): number | null {
  const allowed = allowedDisagreements(pairs.length, 1 - agreement, confidence);
  if (allowed < 0) return null;
  // The first disagreement that is one too many, from the surest down: only what is surer may stay.
  const tooMany = pairs
    .filter(({ agrees }) => !agrees)
    .map(({ routeScore }) => routeScore)
    .sort((x, y) => y - x)[allowed];
  const kept = pairs
    .map(({ routeScore }) => routeScore)
    .filter((routeScore) => tooMany === undefined || routeScore > tooMany);
  return kept.length === 0 ? null : kept.reduce((lowest, score) => Math.min(lowest, score));
}

/**
 * Logistic regression of agreement on the route score by Newton's method, with Platt's targets (1999): they stand for one
 * agreement and one disagreement more, and keep the curve finite where the scores separate the two.
 */
export function fitAgreement(pairs: readonly ScoredPair[]): AgreementCurve {
  const agreeing = pairs.filter(({ agrees }) => agrees).length;
  const yes = (agreeing + 1) / (agreeing + 2);
  const no = 1 / (pairs.length - agreeing + 2);
  const points = pairs.map(({ routeScore, agrees }) => ({ x: routeScore, target: agrees ? yes : no }));
  let curve: AgreementCurve = { a: 0, b: Math.log((agreeing + 1) / (pairs.length - agreeing + 1)) };
  for (let step = 0; step < MAX_NEWTON_STEPS; step++) {
    const next = improve(points, curve);
    if (next === undefined) break;
    curve = next;
  }
  return curve;
}

const MAX_NEWTON_STEPS = 100;
const MAX_HALVINGS = 30;
/** An improvement of the log-likelihood below this changes no digit that is stored. */
const ENOUGH = 1e-10;

interface Point {
  readonly x: number;
  readonly target: number;
}

/** One Newton step, halved until it helps; undefined at the maximum. */
function improve(points: readonly Point[], curve: AgreementCurve): AgreementCurve | undefined {
  let [gradientA, gradientB, aa, ab, bb] = [0, 0, 0, 0, 0];
  for (const { x, target } of points) {
    const p = agreementAt(curve, x);
    const weight = p * (1 - p);
    gradientA += (target - p) * x;
    gradientB += target - p;
    aa += weight * x * x;
    ab += weight * x;
    bb += weight;
  }
  const determinant = aa * bb - ab * ab;
  if (!(determinant > 0)) return undefined;
  const now = logLikelihood(points, curve);
  for (let halving = 0, size = 1; halving < MAX_HALVINGS; halving++, size /= 2) {
    const next = {
      a: curve.a + (size * (bb * gradientA - ab * gradientB)) / determinant,
      b: curve.b + (size * (aa * gradientB - ab * gradientA)) / determinant,
    };
    if (logLikelihood(points, next) > now + ENOUGH) return next;
  }
  return undefined;
}

const agreementAt = ({ a, b }: AgreementCurve, x: number): number => 1 / (1 + Math.exp(-(a * x + b)));

/** ln sigmoid(z) = -softplus(-z), written so that neither end overflows. */
function logLikelihood(points: readonly Point[], { a, b }: AgreementCurve): number {
  const softplus = (z: number): number => Math.max(z, 0) + Math.log1p(Math.exp(-Math.abs(z)));
  return points.reduce((sum, { x, target }) => {
    const z = a * x + b;
    return sum - target * softplus(-z) - (1 - target) * softplus(z);
  }, 0);
}
