/** Makes the delta from one file to another: tensor by tensor the cheapest of copy, difference and own bytes. Constant memory. */
import { closeSync, openSync, writeSync } from 'node:fs';
import type { DeltaKind } from '../../contract/deltas.ts';
import {
  BLOCK_BYTES,
  ByteWriter,
  COPY,
  DIFF,
  type ElementForm,
  END,
  MAGIC,
  MIX,
  type Rows,
  STEPS,
} from './format.ts';
import { Matcher } from './matcher.ts';
import { NumberEncoder } from './numbers.ts';
import { OpenFile } from './open-file.ts';
import { pack } from './packed.ts';
import { leftOver, plan, type Stretch } from './plan.ts';
import { StepEncoder } from './steps.ts';
import { tensorsOf } from './tensors.ts';

/** A file of a version. */
export interface DeltaFile {
  readonly path: string;
  /** The ONNX files of its version: they say where tensors lie, in themselves and in this file. */
  readonly graphs: readonly string[];
}

/** What a delta may be. */
export interface Wanted {
  /** A larger one is worth nothing: given up as soon as it is larger. */
  readonly maxBytes: number;
  /** That whoever gets it can read, beside the first. */
  readonly kinds: readonly DeltaKind[];
}

/** What becomes of making a delta; without a `kind` every agent can read it. */
export type Encoded = { readonly bytes: number; readonly kind?: DeltaKind } | { readonly tooLarge: true };

/** A difference that is less than this share of the numbers is taken without looking for anything better. */
const GOOD_SHARE = 0.85;
/** Steps take half a microsecond for each number, a fifth less to send: of larger files a device would be at it for minutes. */
const MAX_STEPPED_BYTES = 64 * 1024 * 1024;

/** Writes the delta to `out`. @throws what the system says */
export function encodeDelta(
  { base, result, out }: { readonly base: DeltaFile; readonly result: DeltaFile; readonly out: string },
  { maxBytes, kinds }: Wanted,
): Encoded {
  const files = [new OpenFile(base.path), new OpenFile(result.path)] as const;
  const writing = new Writing(out, maxBytes);
  try {
    const tensors = {
      base: tensorsOf(base.path, files[0].bytes, base.graphs),
      result: tensorsOf(result.path, files[1].bytes, result.graphs),
    };
    const encoder = new Encoder(files, writing, tensors, kinds.includes('steps'));
    encoder.run();
    if (writing.isTooLarge) return { tooLarge: true };
    return encoder.hasSteps ? { bytes: writing.bytes, kind: 'steps' } : { bytes: writing.bytes };
  } finally {
    for (const file of files) file.close();
    writing.close();
  }
}

type Tensors = ReturnType<typeof tensorsOf>;

/** Numbers, and those of the base that they are sent as the difference to. */
interface Pair {
  readonly bytes: Buffer;
  readonly base: Buffer;
  /** Where those lie. */
  readonly from: number;
}

/** Bytes of a block: of 8-bit numbers whole rows. */
function blockOf({ rows, form }: Stretch): number {
  return rows === undefined || form?.width !== 1 ? BLOCK_BYTES : BLOCK_BYTES - (BLOCK_BYTES % rows.row);
}

class Encoder {
  readonly #base: OpenFile;
  readonly #result: OpenFile;
  readonly #writing: Writing;
  readonly #stretches: readonly Stretch[];
  readonly #matcher: Matcher;
  readonly #numbers = new NumberEncoder();
  readonly #steps = new StepEncoder();
  readonly #coded = Buffer.from(new ArrayBuffer(2 * BLOCK_BYTES));
  readonly #frame = new ByteWriter();
  readonly #maySteps: boolean;
  /** Whether there is a block that not every agent can read. */
  hasSteps = false;
  /** A copy that may go on. */
  #copy: { readonly from: number; readonly length: number } | undefined;

  constructor(
    [base, result]: readonly [OpenFile, OpenFile],
    writing: Writing,
    tensors: { readonly base: Tensors; readonly result: Tensors },
    maySteps: boolean,
  ) {
    this.#maySteps = maySteps;
    this.#base = base;
    this.#result = result;
    this.#writing = writing;
    const mapped = { file: base, tensors: tensors.base };
    this.#stretches = plan(mapped, { file: result, tensors: tensors.result });
    this.#matcher = new Matcher(base, leftOver(mapped, this.#stretches));
  }

  run(): void {
    const frame = this.#frame;
    frame.put(MAGIC).varint(this.#base.bytes).varint(this.#result.bytes);
    this.#flush();
    for (const stretch of this.#stretches) {
      const { offset, length, from, form, isSame } = stretch;
      if (isSame && from !== undefined) this.#copies(from, length);
      else
        for (let at = 0; at < length && !this.#writing.isTooLarge; at += blockOf(stretch)) {
          const part = { ...stretch, offset: offset + at, length: Math.min(blockOf(stretch), length - at) };
          const partFrom = from === undefined ? undefined : from + at;
          if (form !== undefined && partFrom !== undefined)
            this.#difference({ ...part, form, from: partFrom });
          else this.#mix({ ...part, from: partFrom });
        }
      if (this.#writing.isTooLarge) return;
    }
    this.#endCopy();
    frame.varint(END);
    this.#flush();
    this.#writing.flush();
  }

  #difference({
    offset,
    length,
    from,
    form,
    rows,
  }: Stretch & { readonly from: number; readonly form: NonNullable<Stretch['form']> }): void {
    const bytes = this.#result.read(offset, length);
    const base = this.#base.read(from, length);
    if (bytes.equals(base)) {
      this.#copies(from, length);
      return;
    }
    const isStepped =
      this.#maySteps && rows !== undefined && form.width === 1 && this.#result.bytes <= MAX_STEPPED_BYTES;
    const put = (maxBytes: number): boolean =>
      isStepped
        ? this.#putSteps({ bytes, base, from, rows }, maxBytes)
        : this.#putNumbers({ bytes, base, from, form }, maxBytes);
    if (put(GOOD_SHARE * length)) return;
    const whole = new ByteWriter();
    pack(whole, bytes);
    if (!put(Math.min(length, whole.length))) this.#mix({ offset, length, from });
  }

  /** @returns false where it takes as many bytes or more: nothing was put */
  #putNumbers({ bytes, base, from, form }: Pair & { readonly form: ElementForm }, maxBytes: number): boolean {
    const made = this.#numbers.encode({ bytes, base }, form, this.#coded, maxBytes);
    if (!made) return false;
    const { coded, rest } = made;
    this.#endCopy();
    this.#frame.varint(DIFF).varint(bytes.length).varint(from).varint(form.code).varint(coded).varint(rest);
    this.#frame.put(this.#coded.subarray(0, coded + rest));
    this.#flush();
    return true;
  }

  /** @returns as `#putNumbers` */
  #putSteps({ bytes, base, from, rows }: Pair & { readonly rows: Rows }, maxBytes: number): boolean {
    const coded = this.#steps.encode({ bytes, base }, rows, this.#coded, maxBytes);
    if (coded === undefined) return false;
    this.hasSteps = true;
    this.#endCopy();
    this.#frame
      .varint(STEPS)
      .varint(bytes.length)
      .varint(from)
      .varint(rows.row)
      .varint(rows.group)
      .varint(coded);
    this.#frame.put(this.#coded.subarray(0, coded));
    this.#flush();
    return true;
  }

  #mix({ offset, length, from }: Pick<Stretch, 'offset' | 'length' | 'from'>): void {
    const bytes = this.#result.read(offset, length);
    const { instructions, own, wholeFrom } = this.#matcher.match(bytes, from);
    if (wholeFrom !== undefined) {
      this.#copies(wholeFrom, length);
      return;
    }
    this.#endCopy();
    const frame = this.#frame;
    frame
      .varint(MIX)
      .varint(length)
      .varint(from ?? 0)
      .varint(instructions.length);
    pack(frame, instructions.written);
    pack(frame, own);
    this.#flush();
  }

  #copies(from: number, length: number): void {
    const before = this.#copy;
    if (before && before.from + before.length === from) {
      this.#copy = { from: before.from, length: before.length + length };
      return;
    }
    this.#endCopy();
    this.#copy = { from, length };
  }

  #endCopy(): void {
    if (!this.#copy) return;
    const { from, length } = this.#copy;
    this.#copy = undefined;
    this.#frame.varint(COPY).varint(length).varint(from);
    this.#flush();
  }

  #flush(): void {
    this.#writing.put(this.#frame.written);
    this.#frame.clear();
  }
}

/** The delta on its way to the disk. */
class Writing {
  readonly #file: number;
  readonly #maxBytes: number;
  readonly #held = new ByteWriter();
  bytes = 0;

  constructor(path: string, maxBytes: number) {
    this.#file = openSync(path, 'w', 0o600);
    this.#maxBytes = maxBytes;
  }

  get isTooLarge(): boolean {
    return this.bytes > this.#maxBytes;
  }

  put(bytes: Uint8Array): void {
    this.bytes += bytes.length;
    this.#held.put(bytes);
    if (this.#held.length >= 1024 * 1024) this.flush();
  }

  flush(): void {
    writeAll(this.#file, this.#held.written);
    this.#held.clear();
  }

  close(): void {
    closeSync(this.#file);
  }
}

function writeAll(file: number, bytes: Uint8Array): void {
  for (let done = 0; done < bytes.length; ) done += writeSync(file, bytes, done);
}
