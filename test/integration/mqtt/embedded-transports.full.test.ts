/** The link through the embedded broker, over TLS and over WebSocket; both at once in embedded-wss.test.ts. */
import { silentLogger } from '../../../shared/runtime/logger.ts';
import { startEmbeddedBroker, TEST_USERS } from '../../support/broker.ts';
import { linkContract } from '../../support/link-contract.ts';

for (const transport of ['mqtts', 'ws'] as const)
  linkContract(
    `the embedded broker over ${transport}`,
    () => startEmbeddedBroker(TEST_USERS, silentLogger, transport),
    false,
  );
