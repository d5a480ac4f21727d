/** MQTT 5 over TLS and over WebSocket, through Mosquitto. */
import assert from 'node:assert/strict';
import { it } from 'node:test';
import { hasMosquitto, startMosquitto, TEST_USERS } from '../../support/broker.ts';
import { linkContract } from '../../support/link-contract.ts';

if (hasMosquitto()) {
  for (const transport of ['mqtts', 'ws', 'wss'] as const)
    linkContract(`Mosquitto over ${transport}`, () => startMosquitto(TEST_USERS, transport), true);
} else it('needs mosquitto on the PATH', () => assert.fail('mosquitto is not installed'));
