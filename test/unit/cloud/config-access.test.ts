import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type HubConfig, loadConfig } from '../../../cloud/config.ts';
import { isAppError } from '../../../shared/runtime/errors.ts';

const ADMIN = { OUTRIDER_MQTT_USERNAME: 'admin', OUTRIDER_MQTT_PASSWORD: 'secret' };
const load = (flags: string, env: NodeJS.ProcessEnv = {}): HubConfig => {
  const config = loadConfig(flags.split(' ').filter(Boolean), env);
  return config === 'help' ? assert.fail('help') : config;
};
const isUsage = (what: RegExp) => (error: unknown) => isAppError(error, 'USAGE') && what.test(error.message);

describe('the hub’s flags', () => {
  it('know who gives devices their accounts at the broker', () => {
    assert.equal(load('').mqtt.access, 'embedded');
    assert.equal(load('--mqtt mqtt://127.0.0.1:1883 --broker-apart').mqtt.access, 'embedded');
    assert.equal(load('--mqtt mqtts://broker:1883').mqtt.access, 'external');
    assert.equal(load('--mqtt mqtts://broker:1883 --mqtt-access dynsec', ADMIN).mqtt.access, 'dynsec');
  });

  it('refuse what cannot work, and say what is missing', () => {
    assert.throws(() => load('--mqtt-access dynsec', ADMIN), isUsage(/--mqtt/));
    assert.throws(() => load('--mqtt-access external'), isUsage(/--mqtt/));
    assert.throws(() => load('--mqtt mqtts://b:1 --mqtt-access dynsec'), isUsage(/OUTRIDER_MQTT_USERNAME/));
    assert.throws(() => load('--mqtt-access both'), isUsage(/--mqtt-access/));
    for (const days of ['0', '-1', 'x', '5000'])
      assert.throws(() => load(`--credential-days=${days}`), isUsage(/--credential-days/));
  });

  it('let credentials live for ever, or for so many days', () => {
    assert.equal(load('').credentialLifeMs, undefined);
    assert.equal(load('--credential-days 30').credentialLifeMs, 30 * 86_400_000);
  });
});
