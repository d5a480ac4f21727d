/** Logits of requests that have several rows each, run together and given back to whom they belong. */
import type { GraphEnd } from '../../release/import/graph-end.ts';
import { logitsOf } from '../graph/logits.ts';
import type { RunControl } from '../runner/task-model.ts';
import type { Floats } from '../tensor/floats.ts';
import type { TextGraph } from './text-graph.ts';

/** Which output is wanted, and what the graph does last to it. */
interface Wanted {
  readonly output: string;
  readonly end: GraphEnd;
  /** As `TextGraph.run` has it. */
  readonly per: Parameters<TextGraph['run']>[2];
}

/** @returns for each request those of its rows, in order @throws as `TextGraph.run` */
export async function logitsOfEach(
  graph: Pick<TextGraph, 'run'>,
  requests: readonly Parameters<TextGraph['run']>[0][],
  { output, end, per }: Wanted,
  control?: RunControl,
): Promise<Floats[][]> {
  const logits = await graph.run(requests.flat(), output, per, control);
  return requests.map((rows) => logits.splice(0, rows.length).map((row) => logitsOf(row, end)));
}
