/** The link through Mosquitto (`apt-get install mosquitto`), which speaks MQTT 5. */
import assert from 'node:assert/strict';
import { it } from 'node:test';
import { hasMosquitto, startMosquitto } from '../../support/broker.ts';
import { linkContract } from '../../support/link-contract.ts';

if (hasMosquitto()) linkContract('Mosquitto', () => startMosquitto(), true);
else it('needs mosquitto on the PATH', () => assert.fail('mosquitto is not installed'));
