/** What an operator sees of a drift, on the device's page and on the hub's. Needs Chromium. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openPage, PICTURES_WANTED, screenshot, startBrowser } from '../support/browser.ts';
import { startDriftingDevice } from '../support/drifting.ts';

test('both pages show the promise and its evidence, and the alarm when the pictures blur', async (t) => {
  const device = await startDriftingDevice(t, '{ agreement: 0.95, deadline: 10s }');
  const browser = await startBrowser(t);
  const onDevice = await openPage(browser, device.agent);
  const onHub = await openPage(browser, device.signIn);
  const rows = [onDevice, onHub].map(({ page }) => page.locator('#routes tbody tr', { hasText: 'vision' }));
  for (const row of rows) {
    await row.getByText('95 % as the cloud').waitFor();
    await row.getByText(/certificate of [\d,]+ pairs/).waitFor();
  }
  await device.stream.ask('sharp', 400);
  await device.stream.ask('blurred', 1_500, async () => (await device.evidence()).alarms > 0);
  for (const row of rows) {
    await row.getByText('drift: asks about all again').waitFor({ timeout: 20_000 });
    await row.getByText(/after [\d,]+ requests/).waitFor();
  }
  const [onDevicesPage = ''] = await Promise.all(rows.map((row) => row.textContent()));
  assert.match(onDevicesPage ?? '', /by score.*by lot.*answered.*late.*failed.*given up.*requests/s);
  if (PICTURES_WANTED) await screenshot(onDevice.page, 'drift.png');
  onDevice.assertQuiet();
  onHub.assertQuiet();
  const phone = await openPage(browser, device.agent, { width: 380, dark: true });
  await phone.page.locator('#routes tbody tr').first().waitFor();
  assert.equal(await phone.page.evaluate('document.documentElement.scrollWidth'), 380);
});
