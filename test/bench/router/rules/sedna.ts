/**
 * KubeEdge Sedna's hard-example rules with their default thresholds, written anew for this benchmark from their published
 * behaviour (docs/design/router.md 1.2; `hard_example_mining.py` at commit 2c30e569). Hard examples go to the cloud.
 *
 * They were made for detection; a classification counts as one box with the best label's probability.
 */

const HARD = 0.5;
const BOX = 0.5;
const PICTURE = 0.5;

const isProbability = (score: number): boolean => score >= 0 && score <= 1;

/** `Threshold`: hard where the mean score of the boxes is low. Nothing found counts as easy, as it does there. */
export function isHardByThreshold(boxScores: readonly number[]): boolean {
  if (boxScores.length === 0) return false;
  return boxScores.reduce((sum, score) => sum + score, 0) / boxScores.length < HARD;
}

/** `IBT`: hard where half of the boxes are unsure. Nothing found, or a score that is none, counts as easy, as it does there. */
export function isHardByUnsureBoxes(boxScores: readonly number[]): boolean {
  if (boxScores.length === 0 || !boxScores.every(isProbability)) return false;
  return boxScores.filter((score) => score <= BOX).length / boxScores.length >= 1 - PICTURE;
}

/**
 * `CrossEntropy`: hard where 1 + sum(p ln p) / ln(n) is low. No or invalid probabilities count as easy, as they do there; a
 * probability of 0 raises there and counts as 0 ln 0 = 0 here, and so does a single label, which divides by ln 1.
 */
export function isHardByCrossEntropy(probabilities: ArrayLike<number>): boolean {
  let sum = 0;
  for (let label = 0; label < probabilities.length; label++) {
    const probability = probabilities[label]!;
    if (!isProbability(probability)) return false;
    if (probability > 0) sum += probability * Math.log(probability);
  }
  if (probabilities.length < 2) return false;
  return 1 + sum / Math.log(probabilities.length) < HARD;
}
