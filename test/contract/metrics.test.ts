/** `promtool check metrics` is silent about every program: its rules, held over what agent and hub expose and over all that the code names. */
import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { createAgentMetrics, showRoutes } from '../../agent/metrics.ts';
import { createHubMetrics, showDeviceRoutes } from '../../cloud/metrics.ts';
import { metricProblems } from '../support/metric-rules.ts';
import { startedRouter } from '../support/routing.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));

test('what agent and hub expose', async () => {
  const [agent, hub] = [createAgentMetrics(), createHubMetrics()];
  showRoutes(agent, new Map([['vision', startedRouter()]]));
  showDeviceRoutes(hub, () => []);
  for (const metrics of [agent, hub]) {
    const text = await metrics.text();
    assert.match(text, /^# TYPE outrider_\w+_total counter$/m);
    assert.deepEqual(metricProblems(text), []);
  }
});

test('every gauge that any program adds by itself', async () => {
  const found = new Map<string, string>();
  for (const folder of ['agent', 'cloud', 'shared'])
    for (const file of await readdir(join(ROOT, folder), { recursive: true })) {
      if (!file.endsWith('.ts')) continue;
      const source = await readFile(join(ROOT, folder, file), 'utf8');
      for (const [, name = ''] of source.matchAll(/\.gauges?\(\s*'([^']+)'/g)) {
        assert.ok(!found.has(name), `${name} is added in ${found.get(name)} and in ${file}`);
        found.set(name, file);
      }
    }
  assert.ok(found.size > 10);
  const text = [...found.keys()].map(
    (name) => `# HELP ${name} What it is\n# TYPE ${name} gauge\n${name} 1\n`,
  );
  assert.deepEqual(metricProblems(text.join('')), []);
});

test('the rules see what they are for', () => {
  for (const [text, problem] of [
    ['# TYPE a_total counter\na_total 1\n', /no help/],
    ['# HELP a A\na 1\n', /no type/],
    ['# HELP a A\n# TYPE a counter\na 1\n', /ends in _total/],
    ['# HELP a_total A\n# TYPE a_total gauge\na_total 1\n', /only a counter/],
    ['# HELP a_ms A\n# TYPE a_ms gauge\na_ms 1\n', /abbreviated/],
    ['# HELP a_milliseconds A\n# TYPE a_milliseconds gauge\na_milliseconds 1\n', /base unit/],
    ['# HELP a A\n# TYPE a gauge\na 1\na 2\n', /second time/],
    ['# HELP a A\n# HELP a A\n# TYPE a gauge\na 1\n', /second HELP/],
    ['# HELP aB A\n# TYPE aB gauge\naB 1\n', /snake_case/],
    ['# HELP a A\n# TYPE a gauge\na{le="1"} 1\n', /label le/],
    ['# HELP a_count A\n# TYPE a_count gauge\na_count 1\n', /such parts/],
  ] as const)
    assert.match(metricProblems(text).join(), problem, text);
});
