/** What a sink asks for that its pipeline's task cannot give: told at the start, with its key. */
import { saysLabels } from '../../shared/tasks/labels-in.ts';
import { TASKS, type TaskName } from '../../shared/tasks/tasks.ts';
import type { SinkConfig } from './sink.ts';

/** Key below `sinks`, and what is wrong with it. */
interface SinkProblem {
  readonly path: readonly (string | number)[];
  readonly message: string;
}

/** Problems of the sinks of one pipeline. */
export function sinkProblems(task: TaskName, sinks: readonly SinkConfig[]): SinkProblem[] {
  return sinks.flatMap((sink, index) => [
    ...ruleProblems(task, sink).map(({ path, message }) => ({ path: [index, 'when', ...path], message })),
    ...ownProblems(task, sink).map(({ path, message }) => ({ path: [index, ...path], message })),
  ]);
}

function ruleProblems(task: TaskName, { when }: SinkConfig): SinkProblem[] {
  if (!when || saysLabels(task)) return [];
  const asked = [
    ['labels', when.labels !== undefined],
    ['minScore', when.minScore !== undefined],
    ['for', when.for > 0],
  ] as const;
  return asked
    .filter(([, isAsked]) => isAsked)
    .map(([key]) => ({ path: [key], message: `answers of ${task} have no labels: leave it out` }));
}

function ownProblems(task: TaskName, sink: SinkConfig): SinkProblem[] {
  const hasPictures = TASKS[task].inputKind === 'image';
  const noPictures = `inputs of ${task} are no pictures`;
  if (sink.type === 'snapshots' && !hasPictures) return [{ path: ['type'], message: noPictures }];
  if (sink.type !== 'webhook') return [];
  const { protocol, username, password } = new URL(sink.url);
  return [
    ...(sink.picture && !hasPictures ? [{ path: ['picture'], message: noPictures }] : []),
    ...(protocol === 'http:' && !sink.allowPrivate
      ? [
          {
            path: ['url'],
            message: 'https, or http with allowPrivate: plain text is for a network of your own',
          },
        ]
      : []),
    ...(username !== '' || password !== ''
      ? [{ path: ['url'], message: 'no name and password in the address: requests are signed with `secret`' }]
      : []),
  ];
}

/** Folders of snapshots that more than one sink writes to: each keeps its own bounds. */
export function sharedSnapshotFolders(
  pipelines: readonly { readonly sinks: readonly SinkConfig[] }[],
): string[] {
  const paths = pipelines.flatMap(({ sinks }) =>
    sinks.flatMap((sink) => (sink.type === 'snapshots' ? [sink.path.replace(/\/+$/, '')] : [])),
  );
  return paths.filter((path, index) => paths.indexOf(path) !== index);
}
