/** What the doctor makes of the kernel's files, as boards have shown them. */
import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { checkClockSource, checkDevice } from '../../../cli/doctor/device.ts';
import { temporaryFolder } from '../../support/fixed.ts';

async function looksAt(t: TestContext, files: Readonly<Record<string, string>>): Promise<string[]> {
  const root = await temporaryFolder(t);
  for (const [path, content] of Object.entries(files)) {
    await mkdir(dirname(join(root, path)), { recursive: true });
    await writeFile(join(root, path), content);
  }
  return (await checkDevice({ root })).map(({ about, level, found }) => `${level} ${about}: ${found}`);
}

const ZONE = 'sys/class/thermal/thermal_zone';
const THROTTLED = 'sys/devices/platform/soc/soc:firmware/get_throttled';
const CARD = 'sys/block/mmcblk0/device';

test('says nothing of a machine that tells nothing', async (t) => {
  assert.deepEqual(await looksAt(t, {}), []);
  assert.deepEqual(
    await looksAt(t, { [`${CARD}/life_time`]: '0x00 0x00\n', [`${CARD}/pre_eol_info`]: '0x00\n' }),
    [],
  );
  assert.deepEqual(await looksAt(t, { [`${ZONE}0/temp`]: '-273200\n', [THROTTLED]: 'unreadable\n' }), []);
});

test('says how hot the hottest zone is', async (t) => {
  const at = (temp: string): Promise<string[]> =>
    looksAt(t, { [`${ZONE}0/type`]: 'cpu-thermal\n', [`${ZONE}0/temp`]: temp, [`${ZONE}1/temp`]: '31000\n' });
  assert.deepEqual(await at('51121\n'), ['ok temperature: 51 °C (cpu-thermal)']);
  assert.deepEqual(await at('79858\n'), ['warn temperature: 80 °C (cpu-thermal)']);
  assert.deepEqual(await at('86000\n'), ['fail temperature: 86 °C (cpu-thermal)']);
});

test('says when a Raspberry Pi has too little voltage, now or since its start', async (t) => {
  assert.deepEqual(await looksAt(t, { [THROTTLED]: '0\n' }), ['ok power: enough voltage since the start']);
  assert.deepEqual(await looksAt(t, { [THROTTLED]: '50005\n' }), [
    'fail power: now: its supply gives too little voltage, it is throttled',
  ]);
  assert.deepEqual(await looksAt(t, { [THROTTLED]: '0x50000\n' }), [
    'warn power: since the start, and not now: its supply gives too little voltage, it is throttled',
  ]);
});

test('says how worn a card is', async (t) => {
  const worn = (life: string, spare: string): Promise<string[]> =>
    looksAt(t, { [`${CARD}/life_time`]: `${life}\n`, [`${CARD}/pre_eol_info`]: `${spare}\n` });
  assert.deepEqual(await worn('0x01 0x02', '0x01'), ['ok card mmcblk0: 10 to 20 % of its life are used']);
  assert.deepEqual(await worn('0x09 0x01', '0x01'), ['warn card mmcblk0: 80 to 90 % of its life are used']);
  assert.deepEqual(await worn('0x0b 0x0b', '0x03'), [
    'fail card mmcblk0: its life is used up, and its spare blocks are nearly used up',
  ]);
});

test('says when nobody sets the clock', async () => {
  const said = async (text: string | undefined): Promise<string[]> =>
    (await checkClockSource(() => Promise.resolve(text))).map(({ level, found }) => `${level} ${found}`);
  assert.deepEqual(await said('NTPSynchronized=yes'), ['ok set by NTP']);
  assert.deepEqual(await said('NTPSynchronized=no'), ['warn nobody sets this clock']);
  assert.deepEqual(await said(undefined), []);
});
