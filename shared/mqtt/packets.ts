/**
 * How packets are written, by us and by what we use. mqtt.js and aedes share one writer, which would make a buffer beforehand for each of
 * the 65,536 numbers of two bytes: 7 MB for the life of the process, and 30 ms in which its event loop stands still. A number is made when
 * it is needed. measured: docs/decisions/0037
 */
import { writeToStream } from 'mqtt-packet';

/** To be called before the first packet is written; again does nothing. */
export function writeNumbersAsNeeded(): void {
  writeToStream.cacheNumbers = false;
}
