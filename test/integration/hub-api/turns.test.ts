/** Two keys at one hub, over HTTP as anybody asks: a flood of one of them, what it costs the other, and what the operator can set. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startHubProgram } from '../../support/hub-program.ts';
import { commandOf, descendants, eventually, outrider } from '../../support/programs.ts';

const FLOOD = 200;

test('a key that floods a model is refused, another is answered in its turn; what is kept is there after a restart', async (t) => {
  const hub = await startHubProgram(t, { args: ['--runners', '1', '--max-memory', '2GB'] });
  const { url } = hub;
  const admin = { authorization: `Bearer ${hub.key}`, 'content-type': 'application/json' };
  const newKey = async (name: string): Promise<string> => {
    const body = JSON.stringify({ name, scopes: ['infer'] });
    const made = await fetch(`${url}/api/v1/keys`, { method: 'POST', headers: admin, body });
    return ((await made.json()) as { key: string }).key;
  };
  const [hog, light] = [await newKey('hog'), await newKey('light')];
  const ask = (key: string, more: Record<string, string> = {}): Promise<Response> =>
    fetch(`${url}/hf/models/words`, {
      method: 'POST',
      headers: { authorization: `Bearer ${key}`, 'content-type': 'text/plain', ...more },
      body: 'good good bad',
    });
  const metric = async (name: string, at = url): Promise<number> => {
    // A connection that was kept may have ended meanwhile: whoever waits for a figure looks again.
    const text = await fetch(`${at}/metrics`, { headers: admin }).then(
      (response) => response.text(),
      () => '',
    );
    return Number(
      text
        .split('\n')
        .find((line) => line.startsWith(`${name} `))
        ?.split(' ')[1] ?? Number.NaN,
    );
  };
  const type = async (...args: string[]): Promise<string> => {
    const command = outrider(t, ['models', ...args, '--hub', url, '--key', hub.key]);
    assert.equal((await command.exited).code, 0, command.output());
    return command.output();
  };

  assert.match(
    await type('set', 'words', '--keep-loaded', 'on', '--max-queue', '100'),
    /kept loaded; 100 requests/,
  );
  await eventually(
    async () => (await metric('outrider_runners{model="words"}')) === 1,
    'what is to be kept was not loaded',
  );

  // The runner stands still, so that everybody waits.
  const runner = descendants(process.pid).find((pid) => /\brunner\b[^/]*$/.test(commandOf(pid).trim()));
  assert.ok(runner, 'no runner');
  process.kill(runner, 'SIGSTOP');
  const ended: string[] = [];
  const asked = (name: string, key: string, more?: Record<string, string>): Promise<number> =>
    ask(key, more).then(async (response) => {
      await response.arrayBuffer();
      if (response.status === 200) ended.push(name);
      else assert.ok(Number(response.headers.get('retry-after')) >= 1, `${response.status}`);
      return response.status;
    });
  const flood = Array.from({ length: FLOOD }, () => asked('hog', hog));
  await eventually(
    async () => (await metric('outrider_queue_refused_requests')) >= FLOOD / 2,
    'the flood was not refused',
  );
  const waiting = await metric('outrider_queue_requests');
  assert.ok(waiting >= 40 && waiting <= 70, `${waiting} wait`);
  const later = asked('nightly', light, { 'Outrider-Priority': 'background' });
  await eventually(async () => (await metric('outrider_queue_requests')) === waiting + 1, 'it does not wait');
  const others = Array.from({ length: 5 }, () => asked('light', light));
  await eventually(async () => (await metric('outrider_queue_requests')) === waiting + 6, 'they do not wait');
  process.kill(runner, 'SIGCONT');
  assert.deepEqual(await Promise.all([...others, later]), [200, 200, 200, 200, 200, 200]);
  const statuses = await Promise.all(flood);
  assert.deepEqual(new Set(statuses), new Set([200, 429]));
  const lastLight = ended.lastIndexOf('light');
  const hogAfter = ended.slice(lastLight).filter((name) => name === 'hog').length;
  assert.ok(hogAfter >= 5, `only ${hogAfter} of the flood were answered after the other key`);

  const wrong = await ask(light, { 'Outrider-Priority': 'now' });
  assert.equal(wrong.status, 400);
  assert.match(await wrong.text(), /Outrider-Priority: interactive or background/);

  const listed = JSON.parse(await type('ls', '--json')) as {
    models: { name: string; keepLoaded: boolean; maxQueue: number | null }[];
  };
  const words = listed.models.find(({ name }) => name === 'words');
  assert.deepEqual([words?.keepLoaded, words?.maxQueue], [true, 100]);
  assert.match(await type('ls'), /yes, kept/);
  const refused = outrider(t, ['models', 'set', 'words', '--hub', url, '--key', hub.key]);
  assert.equal((await refused.exited).code, 2);
  assert.match(refused.output(), /say what to change/);

  await hub.stop();
  const again = await startHubProgram(t, { folder: hub.folder });
  await eventually(
    async () => (await metric('outrider_runners{model="words"}', again.url)) === 1,
    'what is kept was not loaded at the start',
  );
  assert.equal(await metric('outrider_loaded_models', again.url), 1);
  assert.ok((await metric('outrider_event_loop_delay_max_seconds', again.url)) >= 0);
  assert.ok((await metric('outrider_runner_memory_bytes{model="words"}', again.url)) > 1e7);
});
