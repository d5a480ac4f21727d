/** The thread that reads large bodies for the agent's HTTP API. */
import '../../shared/runtime/schema-words.ts';
import { serveReadings } from '../../shared/runtime/serve-readings.ts';
import { AGENT_READERS } from './readers.ts';

serveReadings(AGENT_READERS);
