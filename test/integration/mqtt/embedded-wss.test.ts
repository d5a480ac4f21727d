/** The link through the embedded broker, over TLS and WebSocket at once. */
import { silentLogger } from '../../../shared/runtime/logger.ts';
import { startEmbeddedBroker, TEST_USERS } from '../../support/broker.ts';
import { linkContract } from '../../support/link-contract.ts';

linkContract(
  'the embedded broker over wss',
  () => startEmbeddedBroker(TEST_USERS, silentLogger, 'wss'),
  false,
);
