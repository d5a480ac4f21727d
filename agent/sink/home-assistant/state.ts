/** The states of a device's entities, as Home Assistant reads them from their topics. Pure. */
import type { Answer } from '../../../shared/contract/result.ts';
import { labelsIn, saysLabels } from '../../../shared/tasks/labels-in.ts';
import { TASKS } from '../../../shared/tasks/tasks.ts';

/** A state of Home Assistant has at most 255 characters. */
const MAX_STATE_CHARACTERS = 255;
/** Attributes above 16 KiB are not recorded there; nobody reads more in a card. */
const MAX_LABELS = 20;

const percent = (share: number | null | undefined): number | null =>
  typeof share === 'number' ? Math.round(share * 10_000) / 100 : null;

/** State of a pipeline's entities after an answer; its fields are the attributes of the label. */
export function pipelineState(answer: Answer): object {
  const said = labelsIn(answer.task, answer.output);
  const counts: Record<string, number> = {};
  for (const { label } of said.slice(0, MAX_LABELS)) counts[label] = (counts[label] ?? 0) + 1;
  const [best] = said;
  return {
    label: saysLabels(answer.task) ? (best?.label.slice(0, MAX_STATE_CHARACTERS) ?? 'none') : textOf(answer),
    score: percent(best?.score),
    agreement: percent(answer.agreement),
    source: answer.source,
    reason: answer.reason,
    provisional: answer.provisional,
    model: `${answer.model.name} ${answer.model.version}`,
    input: answer.input,
    ...(TASKS[answer.task].ranks === null && saysLabels(answer.task) && { count: said.length, counts }),
    id: answer.id,
    at: new Date(answer.atMs).toISOString(),
  };
}

function textOf({ task, output }: Answer): string {
  const shown = TASKS[task].judge.shown(output);
  const text = typeof shown === 'string' ? shown : JSON.stringify(output);
  return text.length > MAX_STATE_CHARACTERS ? `${text.slice(0, MAX_STATE_CHARACTERS - 1)}…` : text;
}

/** A local model, the version that the hub wants, and how far it is. */
export interface ShownModel {
  readonly name: string;
  /** null: none answers. */
  readonly installed: string | null;
  readonly latest: string | null;
  readonly isUnderWay: boolean;
  /** What is to be said of the update, in a sentence. */
  readonly summary: string | null;
}

/** State of a model's `update` entity: it takes texts alone, and one that is no text costs it all of the message (Home Assistant 2025.4). */
export const modelState = ({ name, installed, latest, isUnderWay, summary }: ShownModel): object => ({
  installed_version: installed ?? 'none',
  latest_version: latest ?? installed ?? 'none',
  title: name,
  in_progress: isUnderWay,
  // At most 255 characters there.
  release_summary: summary?.slice(0, MAX_STATE_CHARACTERS) ?? '',
});
