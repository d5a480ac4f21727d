/** The hub's page in a real browser, over an API that says what the test wants. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import sharp from 'sharp';
import type { BoardEntry } from '../../../shared/contract/admin.ts';
import type { Answer } from '../../../shared/contract/result.ts';
import { openPage, startBrowser } from '../../support/browser.ts';
import { cannedDevice, cannedEntry, cannedModels, startCannedHub } from '../../support/canned-hub.ts';

const SCRIPTS = [
  '<script>alert("ran")</script>',
  '<img src=x onerror=alert("ran")>',
  '"><svg onload=alert("ran")>',
  '{{constructor.constructor("alert(1)")()}}',
  '</td></table><b>bold</b>',
];

async function setUp(t: TestContext, options: Parameters<typeof openPage>[2] & { keys?: boolean } = {}) {
  const hub = await startCannedHub({ hasDevelopmentKeys: options.keys ?? false });
  t.after(() => hub.close());
  const browser = await startBrowser(t);
  const watched = await openPage(browser, hub.url, options);
  await watched.page.getByText('live').waitFor();
  return { hub, ...watched };
}

test('shows the fleet, page by page, its models and its last answers, and asks nobody else', async (t) => {
  const { hub, page, assertQuiet } = await setUp(t);
  await page.locator('#answers tbody tr').nth(11).waitFor();
  assert.equal(await page.locator('#devices tbody tr').count(), hub.devices.length);
  assert.match((await page.locator('#summary').textContent()) ?? '', /3 of 5 devices online/);
  const refused = page.locator('#devices tbody tr', { hasText: 'gate-03' });
  assert.match((await refused.locator('.bad code').textContent()) ?? '', /MODEL_SELF_TEST_FAILED/);
  assert.match(
    (await page.locator('#models tbody tr').first().textContent()) ?? '',
    /v8.*not published.*v1.*deployed.*2 older/s,
  );
  const rollout = page.locator('#rollouts tbody tr');
  assert.match(
    (await rollout.textContent()) ?? '',
    /cifar10-cnn@8 after 1running2 of 4.*4 running.*1 rolled-back.*of 50; 412 answers.*agreement: waiting.*errors: passed.*4 minutes to go/s,
  );
  const kept = page.locator('#captures tbody tr');
  assert.match((await kept.textContent()) ?? '', /gateimage-classification19258\.2\sMB430372/);
  assert.match(
    (await page.locator('#captures-sum').textContent()) ?? '',
    /1925 inputs, 8\.2\sMB of 500\.0\sMB/,
  );
  assert.match(
    (await page.locator('#trainings-list').textContent()) ?? '',
    /Training of cifar10-cnn v2 done from 1925 captures → v3/,
  );
  const pictures = page.locator('#answers img');
  assert.equal(await pictures.count(), hub.results.filter(({ hasThumbnail }) => hasThumbnail).length);
  const loaded = await pictures.first().evaluate((img) => 'naturalWidth' in img && img.naturalWidth);
  assert.equal(loaded, 96);
  assert.equal(await page.locator('#development').isVisible(), false);
  assertQuiet();
});

test('says of a version how little speaks for it', async (t) => {
  const { hub, page } = await setUp(t);
  const [canned] = cannedModels();
  for (const test of ['golden', 'smoke', 'untested', 'forced', null] as const) {
    const versions = canned!.versions.slice(0, 1).map((one) => ({ ...one, test }));
    await hub.tell({ type: 'model', model: { ...canned!, name: `model-${test}`, versions } });
  }
  const said = async (name: string): Promise<string[]> => {
    const row = page.locator('#models tbody tr', { hasText: name });
    await row.waitFor();
    return row.locator('.pill').allTextContents();
  };
  const always = ['loaded', 'not published'];
  assert.deepEqual(await said('model-smoke'), [...always, 'no golden inputs']);
  assert.deepEqual(await said('model-untested'), [...always, 'untested']);
  assert.deepEqual(await said('model-forced'), [...always, 'forced']);
  for (const name of ['model-golden', 'model-null']) assert.deepEqual(await said(name), always);
  const row = await page.locator('#models tbody tr', { hasText: 'model-golden' }).textContent();
  assert.match(row ?? '', /loaded.*210\.0\sMB.*3 waiting/);
});

test('says in red that the hub has development keys', async (t) => {
  const { page } = await setUp(t, { keys: true });
  assert.match((await page.locator('#development').textContent()) ?? '', /Development keys/);
});

test('follows what happens: answers, devices that come and go, versions that are refused', async (t) => {
  const { hub, page, assertQuiet } = await setUp(t);
  await hub.tell({ type: 'device', device: cannedDevice({ id: 'just-in' }) });
  await page.locator('#devices').getByText('just-in').waitFor();
  await hub.tell({ type: 'device-removed', id: 'just-in' });
  await page.locator('#devices').getByText('just-in').waitFor({ state: 'detached' });
  await hub.tell({ type: 'model', model: { ...cannedModels()[0]!, name: 'brand-new' } });
  await page.locator('#models').getByText('brand-new').waitFor();
  assert.equal(await page.locator('#refusals').isVisible(), false);
  const error = { code: 'MODEL_SELF_TEST_FAILED', message: 'golden input 3' };
  for (let i = 0; i < 12; i++)
    await hub.tell({ type: 'version-refused', model: `model-${i}`, error, atMs: Date.now() });
  await page.locator('#refusals').getByText('model-11').waitFor();
  assert.equal(await page.locator('#refusals-list > li').count(), 10);

  const [first, ...others] = Array.from({ length: 60 }, (_, index) => cannedEntry(index));
  for (const entry of [first!, ...others]) await hub.tell({ type: 'result', entry });
  await page.locator('#answers tbody tr').nth(49).waitFor();
  assert.equal(await page.locator('#answers tbody tr').count(), 50, 'and no more');
  assert.match((await page.locator('#answers tbody tr').first().textContent()) ?? '', /picture-59/);
  // The second Result of an input takes the place of its first.
  const again = others.at(-5)!;
  await hub.tell({ type: 'result', entry: { ...again, text: 'now with its input' } });
  await page.getByText('now with its input').waitFor();
  assert.equal(await page.locator('#answers tbody tr').count(), 50);
  assertQuiet();
});

test('reads everything again after the hub was away', async (t) => {
  const { hub, page } = await setUp(t, { allowed: /Failed to load|ERR_/ });
  hub.status = 503;
  hub.cut();
  await page.getByText('reconnecting').waitFor();
  hub.devices = [cannedDevice({ id: 'came-meanwhile' })];
  hub.status = 200;
  await page.getByText('came-meanwhile').waitFor();
  await page.getByText('live').waitFor();
  assert.equal(await page.locator('#devices tbody tr').count(), 1);
});

test('shows masks and a depth as pictures, and what claims to be one as none', async (t) => {
  const { hub, page, assertQuiet } = await setUp(t);
  const create = { width: 48, height: 32, channels: 3 as const, background: '#ffffff' };
  const png = (await sharp({ create }).png().toBuffer()).toString('base64');
  const tell = (task: 'image-segmentation' | 'depth-estimation', output: unknown) => {
    const entry = cannedEntry();
    return hub.tell({
      type: 'result',
      entry: { ...entry, result: { ...(entry.result as Answer), task, output } },
    });
  };
  await tell('image-segmentation', [
    { label: 'sky', score: 0.9, mask: png },
    { label: '"><b>road', score: 0.8, mask: png },
    {
      label: 'svg',
      mask: Buffer.from('<svg xmlns="http://www.w3.org/2000/svg"><rect/></svg>').toString('base64'),
    },
  ]);
  await tell('depth-estimation', { depth: png, min: 0.2, max: 7.5 });
  await page.locator('.maps img[alt="depth"]').waitFor();
  const widths = await page.locator('.maps img').evaluateAll((all) =>
    Promise.all(
      all.map(async (img) => {
        const picture = img as unknown as { decode(): Promise<void>; naturalWidth: number };
        await picture.decode().catch(() => undefined);
        return picture.naturalWidth;
      }),
    ),
  );
  assert.deepEqual(widths, [48, 48, 48, 0]);
  assert.equal(await page.locator('.maps img').nth(2).getAttribute('title'), '"><b>road');
  assertQuiet();
});

test('says that the session has ended', async (t) => {
  const { hub, page } = await setUp(t, { allowed: /Failed to load|ERR_/ });
  hub.status = 401;
  hub.cut();
  await page.locator('#signed-out').waitFor({ state: 'visible' });
});

test('shows what comes from outside as text, whatever it says', async (t) => {
  const { hub, page, assertQuiet } = await setUp(t);
  for (const script of SCRIPTS) {
    const entry = cannedEntry();
    const result: Answer = {
      ...(entry.result as Answer),
      output: [{ label: script, score: 0.5 }],
      input: script,
    };
    const hostile: BoardEntry = { ...entry, deviceId: script, result, text: script, hasThumbnail: false };
    await hub.tell({ type: 'result', entry: hostile });
    await hub.tell({ type: 'device', device: cannedDevice({ id: script }) });
    const error = { code: script, message: script };
    await hub.tell({ type: 'version-refused', model: script, error, atMs: Date.now() });
    const failed = { id: hostile.result.id, pipeline: script, error, input: script, atMs: Date.now() };
    await hub.tell({ type: 'result', entry: { ...hostile, result: failed as never } });
  }
  await page
    .locator('#refusals-list > li')
    .nth(SCRIPTS.length - 1)
    .waitFor();
  await page.locator('#devices').getByText(SCRIPTS[0]!).first().waitFor();
  assert.equal(await page.locator('main script, main svg, main b, main img[src="x"]').count(), 0);
  assertQuiet();
});

for (const width of [380, 820, 1280])
  test(`fits a window of ${width} px`, async (t) => {
    const { page, assertQuiet } = await setUp(t, { width });
    await page.locator('#answers tbody tr').nth(11).waitFor();
    const wide = await page.evaluate('document.documentElement.scrollWidth');
    assert.equal(wide, width);
    assertQuiet();
  });
