import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type AgentApiOptions, createAgentApi } from '../../agent/api/api.ts';
import { AGENT_OPERATIONS } from '../support/agent-api.ts';

/** The device's page, for people. */
const PAGES = ['get /', 'get /assets/*'];

test('the agent’s OpenAPI document has each of its routes, and no other', () => {
  const app = createAgentApi({ pipelines: new Map() } as unknown as AgentApiOptions);
  const routes = app.routes
    .filter(({ method }) => method !== 'ALL')
    .map(({ method, path }) => `${method.toLowerCase()} ${path.replace(/:(\w+)/g, '{$1}')}`)
    .filter((route) => !PAGES.includes(route));
  assert.deepEqual(
    [...new Set(routes)].sort(),
    AGENT_OPERATIONS.map(({ method, path }) => `${method} ${path}`).sort(),
  );
});
