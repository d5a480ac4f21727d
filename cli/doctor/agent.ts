/** What the doctor asks of an agent: whether it is there, its link, what waits in its outbox, and its updates. */

import { z } from 'zod';
import { connection } from '../../shared/contract/connection.ts';
import { type DiskStatus, diskStatus } from '../../shared/contract/disk-status.ts';
import { feedStatus } from '../../shared/contract/feed-status.ts';
import { toldAgent, updateReport } from '../../shared/contract/messages.ts';
import { sinkStatus } from '../../shared/contract/sink-status.ts';
import { SLOW_SYNC_MS } from '../../shared/runtime/disk-pace.ts';
import { ERROR_CODES, ERRORS, toAppError } from '../../shared/runtime/errors.ts';
import { VERSION } from '../../shared/runtime/version.ts';
import type { AgentClient } from '../agent-client.ts';
import { bytesText, spanText } from '../output.ts';
import { type Finding, fail, ok, warn } from './finding.ts';
import { checkManaged, checkUpdates } from './updates.ts';

const feed = feedStatus
  .pick({ reason: true, inputs: true, sinceAtMs: true })
  .extend({ state: z.string(), about: z.string().nullish() });

const sink = sinkStatus.pick({ name: true, reason: true, sinceAtMs: true }).extend({
  ...{ state: z.string(), delivered: z.number(), dropped: z.number(), waiting: z.number() },
});

/** Of `GET /v1/pipelines`, what is looked at here. */
const agentState = z.object({
  device: z.string(),
  version: z.string().optional(),
  link: z.object({
    online: z.boolean(),
    hub: z.string().nullable(),
    // Of an older agent it is missing.
    problem: z.object({ code: z.enum(ERROR_CODES).catch('HUB_FAILED'), message: z.string() }).nullish(),
    outbox: z.object({
      entries: z.number(),
      bytes: z.number(),
      oldestAtMs: z.number().nullable(),
      deadLetters: z.number(),
    }),
  }),
  // Of an older agent, feeds are missing; the states of a newer one are shown as they come.
  pipelines: z.array(z.object({ name: z.string(), feed: feed.nullish(), sinks: z.array(sink).optional() })),
  updates: z.array(updateReport).default([]),
  // Of an older agent it is missing.
  agent: toldAgent.optional(),
  disk: diskStatus.optional(),
  connections: z.array(connection.extend({ purpose: z.string() })).optional(),
});
type AgentState = z.infer<typeof agentState>;

/** An outbox whose oldest request is older has not been emptied for long. */
const OLD_MS = 3_600_000;

/** @param isNamed whether somebody said that there is an agent at this address */
export async function lookAtAgent(
  agent: AgentClient,
  isNamed: boolean,
): Promise<{ readonly findings: readonly Finding[]; readonly isUp: boolean }> {
  let state: AgentState;
  try {
    state = await agent.json('/v1/pipelines', agentState);
  } catch (error) {
    const { code, message } = toAppError(error);
    const isAway = code === 'AGENT_UNREACHABLE' && !isNamed;
    const finding = isAway
      ? warn('agent', `no agent runs at ${agent.url}`, 'If there is one elsewhere, name it with --agent.')
      : fail('agent', `${message} (${code})`, ERRORS[code].remedy);
    return { findings: [finding], isUp: code !== 'AGENT_UNREACHABLE' };
  }
  return { findings: checkAgent(state, Date.now()), isUp: true };
}

/**
 * Findings from what an agent says of itself.
 *
 * @param nowAtMs epoch clock, for ages
 */
export function checkAgent(state: AgentState, nowAtMs: number): Finding[] {
  const { device, version, link, pipelines, updates, agent, disk, connections } = state;
  const { entries, bytes, oldestAtMs, deadLetters } = link.outbox;
  const ageMs = oldestAtMs === null ? 0 : nowAtMs - oldestAtMs;
  const waiting = `${entries} requests wait (${bytesText(bytes)})`;
  return [
    ok('agent', `${device} runs ${pipelines.map(({ name }) => name).join(', ')}`),
    version === VERSION
      ? ok('agent version', version)
      : warn(
          'agent version',
          `${version ?? 'older'}, and this is ${VERSION}`,
          'Run the same release on both.',
        ),
    checkLink(link),
    ageMs > OLD_MS
      ? warn(
          'outbox',
          `${waiting}, the oldest for ${spanText(ageMs)}`,
          'Look at the link, and at outrider outbox ls.',
        )
      : ok('outbox', waiting),
    deadLetters > 0
      ? warn('dead letters', `${deadLetters} requests were given up`, 'See why: outrider outbox ls --dead.')
      : ok('dead letters', 'none'),
    ...pipelines.flatMap(({ name, feed }) => (feed ? [checkFeed(name, feed, nowAtMs)] : [])),
    ...pipelines.flatMap(({ name, sinks = [] }) => sinks.map((sink) => checkSink(name, sink, nowAtMs))),
    ...(disk ? checkDiskOf(disk) : []),
    ...(connections ? [checkConnections(connections)] : []),
    ...checkUpdates('updates', updates),
    ...(agent ? checkManaged(agent) : []),
  ];
}

function checkConnections(all: NonNullable<AgentState['connections']>): Finding {
  const shown = all.map(({ purpose, to, isEncrypted, pipeline }) => {
    const how = to === null ? '' : isEncrypted ? ', encrypted' : ', plain text';
    return `${purpose}${pipeline === null ? '' : ` of ${pipeline}`} (${to ?? 'told at the enrolment'}${how})`;
  });
  return ok('connections', shown.length === 0 ? 'none' : shown.join(', '));
}

/** What is kept, and in which order it goes. */
function checkDiskOf({
  usedBytes,
  maxBytes,
  freeBytes,
  keepFreeBytes,
  reason,
  slowestSyncMs = 0,
  kinds,
}: DiskStatus): Finding[] {
  const quota = maxBytes === null ? 'no quota' : `of ${bytesText(maxBytes)}`;
  const said = `${bytesText(usedBytes)} kept, ${quota}; ${bytesText(freeBytes)} free, ${bytesText(keepFreeBytes)} stay so`;
  const todo = 'Free some space, or raise disk.maxBytes or lower disk.keepFree in outrider.yaml.';
  const shown = (all: DiskStatus['kinds']): string =>
    all
      .map(({ kind, bytes, givenBackBytes }) => {
        const gone = givenBackBytes > 0 ? ` (${bytesText(givenBackBytes)} given back)` : '';
        return `${kind} ${bytesText(bytes)}${gone}`;
      })
      .join(', ');
  const isKept = ({ kind }: DiskStatus['kinds'][number]): boolean => kind === 'requests' || kind === 'state';
  const goes = kinds.filter((one) => !isKept(one));
  return [
    reason === null
      ? ok('disk quota', said)
      : fail('disk quota', `${said}: new requests are refused: ${reason}`, todo),
    ...(slowestSyncMs >= SLOW_SYNC_MS
      ? [
          warn(
            'disk pace',
            `a write of the agent took ${(slowestSyncMs / 1_000).toFixed(1)} s to be safe on disk, within the last two minutes`,
            'Escalations wait for it, and a stop may take too long: use a faster disk or card, or find what else writes to it.',
          ),
        ]
      : []),
    ok(
      'disk order',
      `goes first: ${shown(goes)}; then new requests are refused; stays: ${shown(kinds.filter(isKept))}`,
    ),
  ];
}

function checkFeed(
  name: string,
  { state, reason, inputs, sinceAtMs, about }: z.infer<typeof feed>,
  nowAtMs: number,
): Finding {
  const what = `feed of ${name}`;
  const said = `${about ? `${about}: ` : ''}${state} for ${spanText(Math.max(0, nowAtMs - sinceAtMs))}, ${inputs} inputs`;
  if (reason) return fail(what, `${said}: ${reason.message} (${reason.code})`, ERRORS[reason.code].remedy);
  return state === 'starting' ? warn(what, said, 'Its source has not been there yet.') : ok(what, said);
}

function checkSink(
  pipeline: string,
  { name, state, reason, sinceAtMs, delivered, dropped, waiting }: z.infer<typeof sink>,
  nowAtMs: number,
): Finding {
  const what = `sink of ${pipeline}`;
  const counts = `${delivered} delivered, ${waiting} waiting, ${dropped} dropped`;
  if (!reason) return ok(what, `${name}: ${counts}`);
  const forSpan = spanText(Math.max(0, nowAtMs - sinceAtMs));
  return fail(
    what,
    `${name}: ${state} for ${forSpan}, ${counts}: ${reason.message} (${reason.code})`,
    ERRORS[reason.code].remedy,
  );
}

function checkLink({ online, hub, problem }: AgentState['link']): Finding {
  if (problem)
    return fail(
      'link',
      `${online ? 'online' : 'offline'}: ${problem.message} (${problem.code})`,
      ERRORS[problem.code].remedy,
    );
  if (online) return ok('link', `online${hub === null ? '' : `, hub ${hub}`}`);
  return hub === null
    ? warn('link', 'offline, and no hub is configured', 'Name one under hub in outrider.yaml, or with --hub.')
    : fail('link', `offline: no broker or no hub behind ${hub}`, 'Check the network, and that the hub runs.');
}
