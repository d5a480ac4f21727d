/** Everything that an attacker may try, at the embedded broker. */
import { attacks } from '../../support/attacks.ts';
import { startEmbeddedBroker, TEST_USERS } from '../../support/broker.ts';

attacks({
  name: 'the embedded broker',
  start: () => startEmbeddedBroker(),
  versions: [4],
  expire: (broker, id) =>
    broker.setUsers(TEST_USERS.map((user) => (user.id === id ? { ...user, expiresAtMs: Date.now() } : user))),
  endsHalfConnects: true,
});
