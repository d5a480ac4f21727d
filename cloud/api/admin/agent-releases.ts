/** Releases of the agent itself, as signed targets that are rolled out to devices: `/agent-releases`. */
import type { Context } from 'hono';
import {
  type AgentReleases,
  agentReleaseChange,
  agentReleaseList,
  agentReleaseRequest,
} from '../../../shared/contract/agent-releases.ts';
import { releaseVersion } from '../../../shared/contract/releases.ts';
import { AppError } from '../../../shared/runtime/errors.ts';
import type { BodyReader } from '../../../shared/runtime/request-bodies.ts';
import type { AgentReleaseAdmin, AgentStanding, RolloutAdmin } from '../../ports.ts';
import { type Api, json, mount } from '../frame/endpoint.ts';
import { ETAG_HEADER, etagOf, ifMatch, ifMatchHeader } from '../frame/etag.ts';
import type { HubEnv } from '../frame/face.ts';
import type { Guards } from '../frame/guards.ts';

/** Releases to look at and to order. */
export interface AgentReleaseApiOptions {
  readonly guards: Guards;
  readonly agentReleases: AgentReleaseAdmin;
  readonly rollouts: Pick<RolloutAdmin, 'requirePlan'>;
  readonly bodies: BodyReader;
}

const tag = 'rollouts';

/** Of what an operator decides by. */
const standing = ({ deployed, policy, plan }: AgentStanding): string => etagOf({ deployed, policy, plan });

const show = (c: Context<HubEnv>, releases: AgentReleases): Response => {
  c.header('etag', standing(releases));
  return c.json(releases);
};

/** Puts `/agent-releases` there. */
export function mountAgentReleases(
  app: Api,
  { guards, agentReleases, rollouts, bodies }: AgentReleaseApiOptions,
): void {
  const tagged = { ...json('All of them, the newest first', agentReleaseList), headers: ETAG_HEADER };
  mount(
    app,
    {
      ...{ method: 'get', path: '/agent-releases', tag },
      summary:
        'Lists the releases of the agent that devices can be updated to, with the ETag of what is deployed and what becomes of a new one',
      guard: guards.reader('admin'),
      responses: { 200: tagged },
    },
    async (c) => show(c, await agentReleases.list()),
  );
  mount(
    app,
    {
      ...{ method: 'post', path: '/agent-releases', tag },
      summary:
        'Takes an archive of outrider release whose bytes have been uploaded as a blob; asked again it changes nothing',
      guard: guards.key('admin'),
      body: { 'application/json': agentReleaseRequest },
      responses: { 200: tagged },
    },
    async (c) => show(c, await agentReleases.take(await bodies.json(c.req.raw, agentReleaseRequest))),
  );
  mount(
    app,
    {
      ...{ method: 'patch', path: '/agent-releases', tag },
      summary:
        'Says which version devices run unless a pin or a rollout says otherwise, and what becomes of a new one',
      guard: guards.key('admin'),
      headers: ifMatchHeader('the releases as they were read'),
      body: { 'application/json': agentReleaseChange },
      responses: { 200: tagged },
    },
    async (c) => {
      const isRead = ifMatch(c);
      const change = await bodies.json(c.req.raw, agentReleaseChange);
      if (change.plan) rollouts.requirePlan(change.plan);
      const by = c.get('holder').id;
      return show(c, await agentReleases.change(change, (now) => isRead(standing(now)), by));
    },
  );
  mount(
    app,
    {
      ...{ method: 'delete', path: '/agent-releases/{version}', tag, guard: guards.key('admin') },
      summary: 'Removes a version that nobody needs, with its archives; devices that run it keep it',
      responses: { 200: json('What is left', agentReleaseList) },
    },
    async (c) => {
      const version = releaseVersion.safeParse(c.req.param('version'));
      if (!version.success) throw new AppError('NOT_FOUND', 'there is no such version');
      return c.json(await agentReleases.remove(version.data));
    },
  );
}
