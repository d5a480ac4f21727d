/** Everything that an attacker may try, at Mosquitto: with a password file, and with accounts that the hub makes. */
import assert from 'node:assert/strict';
import { it } from 'node:test';
import { attacks } from '../../support/attacks.ts';
import { hasMosquitto, startDynsecMosquitto, startMosquitto, TEST_USERS } from '../../support/broker.ts';

if (hasMosquitto()) {
  attacks({
    name: 'Mosquitto with a password file',
    start: () => startMosquitto(),
    versions: [4, 5],
    endsHalfConnects: false,
  });
  attacks({
    name: 'Mosquitto with dynamic security',
    start: () => startDynsecMosquitto(),
    versions: [4, 5],
    // Ends are the hub's business there: it takes the account away.
    expire: (broker, id) => broker.setUsers(TEST_USERS.filter((user) => user.id !== id)),
    endsHalfConnects: false,
  });
} else it('needs mosquitto on the PATH', () => assert.fail('mosquitto is not installed'));
