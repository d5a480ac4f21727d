/** A device that does not read, at Mosquitto with the limits that we hand out for it. */
import assert from 'node:assert/strict';
import { it } from 'node:test';
import { hasMosquitto, startMosquitto } from '../../support/broker.ts';
import { slowReader } from '../../support/slow-reader.ts';

if (hasMosquitto()) slowReader('Mosquitto', () => startMosquitto(), false);
else it('needs mosquitto on the PATH', () => assert.fail('mosquitto is not installed'));
