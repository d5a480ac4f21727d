/** The thread that reads large bodies for the hub's faces. */
import '../../../shared/runtime/schema-words.ts';
import { serveReadings } from '../../../shared/runtime/serve-readings.ts';
import { HUB_READERS } from './readers.ts';

serveReadings(HUB_READERS);
