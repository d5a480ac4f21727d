/**
 * The last answers that devices have shared, and small pictures of the inputs that may be seen. In memory only: a restart forgets
 * them, and nothing that a device keeps to itself ever comes here.
 *
 * An id belongs to the device that used it first, and an input is shown only beside results of the pipeline that shared it.
 */
import type { BoardEntry } from '../../shared/contract/admin.ts';
import type { Result } from '../../shared/contract/result.ts';
import { TASKS } from '../../shared/tasks/tasks.ts';
import type { DeviceBook, EventSink, ResultGallery, SharedInput } from '../ports.ts';
import type { ThumbnailMaker } from './thumbnails.ts';

/** Devices whose results count, and the maker of small pictures. */
export interface GalleryOptions {
  readonly devices: Pick<DeviceBook, 'isActive'>;
  readonly thumbnails: Pick<ThumbnailMaker, 'make'>;
  readonly events: EventSink;
}

/** Results, and inputs beside them. With 64 KiB for each result and thumbnail at most, 25 MB. */
const MAX_ENTRIES = 200;
/** Length of a text that is shown; longer ones end in an ellipsis. */
export const MAX_TEXT_CHARACTERS = 200;
/** No character of UTF-8 has more. */
const MAX_BYTES_A_CHARACTER = 4;

/** Parts of an input that may be seen. */
interface Seen {
  readonly deviceId: string;
  readonly pipeline: string;
  readonly text: string | null;
  thumbnail: Uint8Array | undefined;
}

interface Shown {
  readonly deviceId: string;
  readonly result: Result;
}

/** The last 200 results, and what may be seen of their inputs. */
export class Gallery implements ResultGallery {
  readonly #o: GalleryOptions;
  /** By request id, oldest first. */
  readonly #results = new Map<string, Shown>();
  readonly #inputs = new Map<string, Seen>();

  constructor(options: GalleryOptions) {
    this.#o = options;
  }

  list(): BoardEntry[] {
    return Array.from(this.#results.values(), (shown) => this.#entryOf(shown)).reverse();
  }

  thumbnail(requestId: string): Uint8Array | undefined {
    const shown = this.#results.get(requestId);
    return shown && this.#inputOf(shown)?.thumbnail;
  }

  /** A second Result of an input takes the place of its first. */
  answered(deviceId: string, result: Result): void {
    const { id } = result;
    if (!this.#o.devices.isActive(deviceId) || this.#isAnothers(deviceId, id)) return;
    const shown = { deviceId, result };
    put(this.#results, id, shown);
    this.#o.events.publish({ type: 'result', entry: this.#entryOf(shown) });
  }

  /** Returns at once; a picture that comes while others are at work is not shown. */
  inputShared(input: SharedInput): void {
    const { deviceId, requestId, pipeline, task, body } = input;
    if (this.#isAnothers(deviceId, requestId)) return;
    const { inputKind } = TASKS[task];
    const isText = inputKind === 'text' || inputKind === 'json';
    // Sounds and tensors have nothing that a page could show.
    if (!isText && inputKind !== 'image') return;
    const seen: Seen = { deviceId, pipeline, text: isText ? cut(body) : null, thumbnail: undefined };
    put(this.#inputs, requestId, seen);
    if (isText) this.#tellAgain(requestId);
    else
      this.#o.thumbnails.make(input, (thumbnail) => {
        seen.thumbnail = thumbnail;
        this.#tellAgain(requestId);
      });
  }

  /** The result may have come before its input was ready to be seen. */
  #tellAgain(requestId: string): void {
    const shown = this.#results.get(requestId);
    if (shown && this.#inputOf(shown))
      this.#o.events.publish({ type: 'result', entry: this.#entryOf(shown) });
  }

  #isAnothers(deviceId: string, requestId: string): boolean {
    const holder = this.#results.get(requestId) ?? this.#inputs.get(requestId);
    return holder !== undefined && holder.deviceId !== deviceId;
  }

  #inputOf({ deviceId, result }: Shown): Seen | undefined {
    const input = this.#inputs.get(result.id);
    return input?.deviceId === deviceId && input.pipeline === result.pipeline ? input : undefined;
  }

  #entryOf(shown: Shown): BoardEntry {
    const input = this.#inputOf(shown);
    return {
      deviceId: shown.deviceId,
      result: shown.result,
      hasThumbnail: input?.thumbnail !== undefined,
      text: input?.text ?? null,
    };
  }
}

/** As the newest; the oldest makes room. */
function put<T>(map: Map<string, T>, key: string, value: T): void {
  map.delete(key);
  map.set(key, value);
  const oldest = map.keys().next();
  if (map.size > MAX_ENTRIES && !oldest.done) map.delete(oldest.value);
}

/** The start of a text, without half a character at its end. */
function cut(body: Uint8Array): string {
  const start = body.subarray(0, MAX_BYTES_A_CHARACTER * (MAX_TEXT_CHARACTERS + 1));
  // With `stream` a character that the cut has halved is left out instead of replaced.
  const characters = Array.from(new TextDecoder().decode(start, { stream: true }));
  return characters.length > MAX_TEXT_CHARACTERS
    ? `${characters.slice(0, MAX_TEXT_CHARACTERS - 1).join('')}…`
    : characters.join('');
}
