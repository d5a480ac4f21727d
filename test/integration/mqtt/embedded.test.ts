/** The link through the embedded broker. */
import { startEmbeddedBroker } from '../../support/broker.ts';
import { linkContract } from '../../support/link-contract.ts';

linkContract('the embedded broker', () => startEmbeddedBroker(), false);
