/** Writes docs/router.md: what the router promises, the tables of a run, and what they do not say. */
import type { MachineFacts } from '../../harness.ts';
import type { Row } from '../results.ts';
import { sections } from './sections.ts';

export interface Report {
  /** ISO 8601. */
  readonly startedAt: string;
  readonly seconds: number;
  readonly runs: number;
  readonly machine: MachineFacts;
  readonly rows: readonly Row[];
}

export const routerPage = ({
  startedAt,
  seconds,
  runs,
  machine,
  rows,
}: Report): string => `# What the router promises, measured

The router decides for each request whether the device's answer stays or the cloud is asked. It promises: with 95 % confidence, at
all times at once, at least so many of all requests (98 % unless told otherwise) get the answer that the cloud would have given. It
knows nothing of the models beforehand; it learns the threshold on the route score from the cloud's replies, and asks the cloud about
some of what it keeps, by lot, to go on learning (_audits_). How, why that is valid, and what did not work: [design/router.md](design/router.md).

Here it is replayed on seeded streams whose truth is known exactly: a pool of requests is made, or answered by the starter pairs
once, and every stream is drawn from it with replacement, so that the risk of a threshold is the average over the pool. A run
counts as broken if the risk of the threshold in use was above what is allowed at any moment of it, however short. Made by

\`\`\`
npm run bench:router -- --data DATA --page
\`\`\`

where \`DATA\` is the folder that \`models/recipes/README.md\` describes; without \`--data\` the starter pairs are left out.

- ${runs.toLocaleString('en')} runs a setting, 200 at most where the world changes; run at ${startedAt} in ${Math.ceil(seconds / 60)} minutes
- ${machine.cpu}, ${machine.cores} cores, ${machine.system}, Node ${machine.node}, commit ${machine.commit}

${sections(rows).join('\n')}
## What is not claimed

- The promise is about agreement with the cloud model, not with the truth: what the cloud gets wrong counts as right.
- It assumes that the requests between two changes are independent draws from one world. Pictures of one scene are not; what that does
  and what helps is measured above.
- It covers the requests that could be asked about: online, within the budget, and in time. What is answered offline or over budget is
  not in it.
- A change of the world is noticed after the delays above, not prevented. Until then the promise may be broken.
- The probability of 95 % is that of one epoch, from one change to the next.
- Synthetic worlds are made up, and the starter pairs are drawn again and again from the same few thousand examples: the tables say that
  the method does what it should, not how much another pair of models escalates.
`;
