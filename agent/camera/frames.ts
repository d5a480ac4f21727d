/**
 * Pictures out of a stream of bytes, each as soon as its last byte is there: raw ones, which say their own size, and JPEGs, whose
 * segments do. One picture is held at a time, and its size is bounded. Pure.
 */
import { MAX_IMAGE_BYTES } from '../../shared/tasks/limits.ts';

/** Takes bytes as they come, and gives whole pictures. */
export interface FrameReader {
  /** @throws RangeError where it is no such stream, or a picture over the limit */
  push(chunk: Uint8Array): void;
}
type Give = (frame: Buffer) => void;

/** `P6`, width, height and maximum in a line each, as ffmpeg writes them. */
const PPM_HEADER = /^P6\n(\d{1,5}) (\d{1,5})\n255\n/;
const MAX_PPM_HEADER_BYTES = 24;

/** Reader of PPM pictures, one after another; another size is another header. */
export class PpmReader implements FrameReader {
  readonly #give: Give;
  #header = '';
  #frame: Buffer | undefined;
  #filled = 0;

  constructor(give: Give) {
    this.#give = give;
  }

  push(chunk: Uint8Array): void {
    for (let at = 0; at < chunk.length; ) {
      if (!this.#frame) {
        this.#readHeader(chunk[at++] as number);
        continue;
      }
      const count = Math.min(chunk.length - at, this.#frame.length - this.#filled);
      this.#frame.set(chunk.subarray(at, at + count), this.#filled);
      this.#filled += count;
      at += count;
      if (this.#filled < this.#frame.length) continue;
      const frame = this.#frame;
      this.#frame = undefined;
      this.#header = '';
      this.#give(frame);
    }
  }

  #readHeader(byte: number): void {
    this.#header += String.fromCharCode(byte);
    const isOther =
      !'P6\n'.startsWith(this.#header.slice(0, 3)) || this.#header.length > MAX_PPM_HEADER_BYTES;
    if (isOther) throw new RangeError('no PPM header');
    if (byte !== 0x0a) return;
    const found = PPM_HEADER.exec(this.#header);
    if (!found) return;
    const bytes = this.#header.length + Number(found[1]) * Number(found[2]) * 3;
    if (bytes > MAX_IMAGE_BYTES) throw new RangeError(`a picture of ${bytes} bytes`);
    this.#frame = Buffer.allocUnsafe(bytes);
    this.#filled = this.#frame.write(this.#header, 'latin1');
  }
}

/** T.81 table B.1. */
const MARKER = { start: 0xd8, end: 0xd9, scan: 0xda } as const;
const isAlone = (marker: number): boolean => marker === 0x01 || (marker >= 0xd0 && marker <= 0xd7);
const isFrame = (marker: number): boolean =>
  marker >= 0xc0 && marker <= 0xcf && marker !== 0xc4 && marker !== 0xc8 && marker !== 0xcc;
/** A picture of an ordinary camera; it grows where one is larger. */
const FIRST_BYTES = 256 * 1024;

/** What a JPEG says of itself. */
export interface JpegFrame {
  readonly body: Buffer;
  readonly widthPx: number;
  readonly heightPx: number;
}

/**
 * Reader of JPEGs: by their segments, so that a thumbnail inside of one is no end of it, and whatever stands between two (the boundaries
 * and headers of a multipart stream) is passed over.
 */
export class JpegReader implements FrameReader {
  readonly #give: (frame: JpegFrame) => void;
  readonly #maxBytes: number;
  readonly #maxGapBytes: number;
  #buffer = Buffer.alloc(0);
  /** Of the picture under way; 0: none is. */
  #length = 0;
  #state: 'gap' | 'marker' | 'length' | 'segment' | 'scan' = 'gap';
  #last = 0;
  #marker = 0;
  #lengthBytes: number[] = [];
  #left = 0;
  #segmentAt = 0;
  #gapBytes = 0;
  #size = { widthPx: 0, heightPx: 0 };

  /** @param options.maxGapBytes what may stand between two pictures */
  constructor(
    give: (frame: JpegFrame) => void,
    {
      maxBytes = MAX_IMAGE_BYTES,
      maxGapBytes = 1024 * 1024,
    }: { maxBytes?: number; maxGapBytes?: number } = {},
  ) {
    this.#give = give;
    this.#maxBytes = maxBytes;
    this.#maxGapBytes = maxGapBytes;
  }

  push(chunk: Uint8Array): void {
    let from = this.#state === 'gap' ? -1 : 0;
    for (let at = 0; at < chunk.length; at++) {
      const wasGap = this.#state === 'gap';
      const jump = this.#skip(chunk, at);
      if (jump > 0) {
        at += jump - 1;
        continue;
      }
      this.#step(chunk[at] as number);
      if (wasGap && this.#state !== 'gap') {
        this.#begin();
        from = at + 1;
      } else if (!wasGap && this.#state === 'gap') {
        if (from >= 0) this.#keep(chunk.subarray(from, at + 1));
        from = -1;
        this.#end();
      }
    }
    if (from >= 0) this.#keep(chunk.subarray(from));
  }

  /** Bytes that need no look: of a segment, and of a scan up to the next 0xff. */
  #skip(chunk: Uint8Array, at: number): number {
    if (this.#state === 'scan' && this.#last !== 0xff) {
      const next = chunk.indexOf(0xff, at);
      return (next < 0 ? chunk.length : next) - at;
    }
    if (this.#state !== 'segment' || this.#segmentAt < 5) return 0;
    const count = Math.min(this.#left - 1, chunk.length - at);
    this.#left -= Math.max(0, count);
    return Math.max(0, count);
  }

  #step(byte: number): void {
    const last = this.#last;
    this.#last = byte;
    switch (this.#state) {
      case 'gap':
        if (last === 0xff && byte === MARKER.start) this.#state = 'marker';
        else if (++this.#gapBytes > this.#maxGapBytes) throw new RangeError('no JPEG');
        break;
      case 'marker':
        // What should begin with 0xff and does not: this one is broken, and the next may be whole.
        if (byte !== 0xff && last !== 0xff) this.#state = 'gap';
        else if (byte !== 0xff) this.#onMarker(byte);
        break;
      case 'length':
        this.#lengthBytes.push(byte);
        if (this.#lengthBytes.length < 2) break;
        this.#left = ((this.#lengthBytes[0] ?? 0) << 8) + byte - 2;
        this.#segmentAt = 0;
        if (this.#left > 0) this.#state = 'segment';
        else this.#afterSegment();
        break;
      case 'segment':
        this.#onSegment(byte);
        break;
      case 'scan':
        // B.1.1.5: 0xff00 is a byte of the scan; restarts stand in it.
        if (last === 0xff && byte !== 0 && byte !== 0xff && !isAlone(byte)) this.#onMarker(byte);
        break;
    }
  }

  #onMarker(marker: number): void {
    this.#marker = marker;
    // Another start: the one under way has no end.
    if (marker === MARKER.end || marker === MARKER.start) this.#state = 'gap';
    else if (!isAlone(marker)) {
      this.#lengthBytes = [];
      this.#state = 'length';
    }
  }

  /** B.2.2: of a frame, precision, height and width. */
  #onSegment(byte: number): void {
    if (isFrame(this.#marker)) {
      const { heightPx, widthPx } = this.#size;
      if (this.#segmentAt === 1 || this.#segmentAt === 2)
        this.#size = { widthPx, heightPx: (heightPx << 8) | byte };
      if (this.#segmentAt === 3 || this.#segmentAt === 4)
        this.#size = { widthPx: (widthPx << 8) | byte, heightPx };
    }
    this.#segmentAt++;
    if (--this.#left <= 0) this.#afterSegment();
  }

  #afterSegment(): void {
    this.#state = this.#marker === MARKER.scan ? 'scan' : 'marker';
    // Its last byte is no beginning of a marker.
    this.#last = 0;
  }

  #begin(): void {
    this.#gapBytes = 0;
    this.#size = { widthPx: 0, heightPx: 0 };
    this.#length = 0;
    this.#keep(Buffer.from([0xff, MARKER.start]));
    // The next marker's own 0xff comes first.
    this.#last = 0;
    this.#marker = 0;
    this.#state = 'marker';
  }

  #keep(bytes: Uint8Array): void {
    const needed = this.#length + bytes.length;
    if (needed > this.#maxBytes) throw new RangeError(`a picture of over ${this.#maxBytes} bytes`);
    if (needed > this.#buffer.length) {
      const larger = Buffer.allocUnsafe(
        Math.max(FIRST_BYTES, needed, Math.min(this.#maxBytes, this.#buffer.length * 2)),
      );
      larger.set(this.#buffer.subarray(0, this.#length));
      this.#buffer = larger;
    }
    this.#buffer.set(bytes, this.#length);
    this.#length = needed;
  }

  #end(): void {
    const isWhole = this.#marker === MARKER.end && this.#size.widthPx > 0;
    this.#last = 0;
    if (isWhole) this.#give({ body: Buffer.from(this.#buffer.subarray(0, this.#length)), ...this.#size });
  }
}
