import assert from 'node:assert/strict';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { signingFindings } from '../../../../cli/doctor/hub.ts';
import { createHubMetrics } from '../../../../cloud/metrics.ts';
import { signingRoles, signingStatus } from '../../../../cloud/publishing/signing-status.ts';
import { SigningWatch } from '../../../../cloud/publishing/signing-watch.ts';
import { type HubEvent, hubEvent } from '../../../../shared/contract/admin.ts';
import { signingStatus as schema } from '../../../../shared/contract/signing.ts';
import { FakeClock } from '../../../support/fake-clock.ts';
import { PublishingHub } from '../../../support/publishing-hub.ts';
import { recordingLogger } from '../../../support/recording-logger.ts';

const DAY_MS = 86_400_000;

describe('the watch over signatures', () => {
  let hub: PublishingHub;
  beforeEach(async () => {
    hub = await PublishingHub.open();
  });
  afterEach(() => hub.close());

  const levels = (nowAtMs: number): Record<string, string> =>
    Object.fromEntries(signingRoles(hub.updates, nowAtMs).map(({ role, level }) => [role, level]));

  it('warns 30 and 7 days before what people sign ends, and of what the hub signs only where it could not', async () => {
    await hub.moveKeysAway();
    await hub.start();
    const nowAtMs = Date.now();
    const online = { snapshot: 'ok', timestamp: 'ok' };
    assert.deepEqual(levels(nowAtMs), { root: 'ok', targets: 'ok', ...online });
    const roles = signingRoles(hub.updates, nowAtMs + (365 - 29) * DAY_MS);
    assert.deepEqual(roles.map(({ role, level }) => [role, level]).slice(0, 2), [
      ['root', 'ok'],
      ['targets', 'soon'],
    ]);
    assert.match(roles[1]?.todo ?? '', /outrider keys renew targets --signing-key/);
    assert.equal(levels(nowAtMs + (365 - 6) * DAY_MS).targets, 'urgent');
    assert.equal(levels(nowAtMs + 366 * DAY_MS).targets, 'expired');
    assert.equal(levels(nowAtMs + 22 * 3_600_000).timestamp, 'urgent');
    assert.match(
      signingRoles(hub.updates, nowAtMs + 22 * 3_600_000)[3]?.todo ?? '',
      /could not sign it again/,
    );
  });

  it('tells each change once, in log, events and metrics, and again each day', async () => {
    await hub.moveKeysAway();
    await hub.start();
    const clock = new FakeClock();
    await clock.advance(Date.now() - clock.nowAtMs());
    const [logger, metrics] = [recordingLogger(), createHubMetrics()];
    const events: HubEvent[] = [];
    const watch = new SigningWatch({
      roles: () => signingRoles(hub.updates, clock.nowAtMs()).filter(({ role }) => role === 'targets'),
      events: { publish: (event) => events.push(hubEvent.parse(event)) },
      ...{ metrics, clock, logger },
    });
    watch.start();
    assert.equal(events.length, 0);
    assert.match(await metrics.text(), /outrider_signing_expires_seconds\{role="targets"\} 3\d{7}/);
    await clock.advance(340 * DAY_MS);
    watch.look();
    watch.look();
    const told = () => events.map((event) => event.type === 'signing' && `${event.role} ${event.level}`);
    assert.deepEqual(told(), ['targets soon']);
    await clock.advance(20 * DAY_MS);
    watch.look();
    assert.deepEqual(told(), ['targets soon', 'targets urgent']);
    assert.ok(logger.lines.some(({ event }) => event === 'updates.signature_ends'));
    watch.stop();
  });

  it('says what waits for a signature, and the doctor what to do', async () => {
    await hub.push('eyes', 'a');
    await hub.moveKeysAway();
    await hub.start();
    await hub.push('eyes', 'b');
    const status = schema.parse(signingStatus(hub.updates, hub.registry.models, Date.now()));
    assert.deepEqual(status.toList, [{ model: 'eyes', version: '2' }]);
    const [finding] = signingFindings(status, Date.now());
    assert.equal(finding?.level, 'warn');
    assert.match(`${finding?.found} ${finding?.todo}`, /to be listed: eyes@2.*--signing-key/);
    const late = signingStatus(hub.updates, hub.registry.models, Date.now() + 360 * DAY_MS);
    assert.ok(
      signingFindings(late, Date.now()).some(
        ({ level, found }) => level === 'fail' && /that of targets/.test(found),
      ),
    );
    await hub.moveKeysBack();
    await rm(join(hub.root, 'targets.pem'), { force: true });
    await hub.start();
    const good = signingFindings(signingStatus(hub.updates, hub.registry.models, Date.now()), Date.now());
    assert.deepEqual(
      good.map(({ level }) => level),
      ['ok'],
    );
  });
});
