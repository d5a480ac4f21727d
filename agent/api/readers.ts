/** Readers of the bodies that the agent's HTTP API takes, by name. */
import { readInput } from '../../shared/contract/http-input.ts';
import type { TaskName } from '../../shared/tasks/tasks.ts';

/** Inputs of pipelines. */
export const AGENT_READERS = {
  input: (body: Uint8Array, o: { readonly task: TaskName; readonly contentType: string | undefined }) =>
    readInput(o.task, body, o.contentType),
};
