/** The answer of each task as people want to read it: a table where there are several things, else the text. */
import { TASKS, type TaskName } from '../shared/tasks/tasks.ts';
import { table } from './output.ts';

/** @param output as the hub's Hugging Face face gives it; of another form it is shown as JSON */
export function answerText(task: TaskName, output: unknown): string {
  const { judge, listed } = TASKS[task];
  const one = listed === 'always' && Array.isArray(output) && output.length === 1 ? output[0] : output;
  const shown = judge.shown(one) ?? JSON.stringify(output, null, 2);
  return printable(typeof shown === 'string' ? shown : table(shown.head, shown.rows));
}

/** Without what would steer a terminal: a model's words are data from outside. Our own colours are put on later, or not at all. */
export const printable = (text: string): string => text.replace(/(?![\n\t])\p{Cc}/gu, '\uFFFD');
