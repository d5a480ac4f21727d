/** The labels that an answer says, whatever its task: by them rules of sinks let Results through, and pictures are marked. Pure. */
import { type Box, detection } from './object-detection/schema.ts';
import { TASKS, type TaskName } from './tasks.ts';

/** Label of an answer with its score 0..1, and its box in px of the picture where it has one. */
export interface SaidLabel {
  readonly label: string;
  readonly score: number;
  readonly box?: Box;
}

/** Tasks whose answers are things with a label each; those that rank labels say the best one. */
const THINGS: ReadonlySet<TaskName> = new Set<TaskName>([
  'object-detection',
  'token-classification',
  'image-segmentation',
]);

/** Whether answers of a task say labels with scores. */
export const saysLabels = (task: TaskName): boolean => TASKS[task].ranks !== null || THINGS.has(task);

/** What an answer says, best first: the best label of a ranking, each label of boxes and words; nothing for other tasks. */
export function labelsIn(task: TaskName, output: unknown): SaidLabel[] {
  if (!saysLabels(task) || !Array.isArray(output)) return [];
  const items = TASKS[task].ranks === null ? output : output.slice(0, 1);
  return items.flatMap(saidBy).sort((one, other) => other.score - one.score);
}

function saidBy(item: unknown): SaidLabel[] {
  if (typeof item !== 'object' || item === null) return [];
  const known = detection.safeParse(item);
  if (known.success) return [known.data];
  const { label, entity_group, entity, score } = item as Record<string, unknown>;
  const name = label ?? entity_group ?? entity;
  return typeof name === 'string' && typeof score === 'number' ? [{ label: name, score }] : [];
}
