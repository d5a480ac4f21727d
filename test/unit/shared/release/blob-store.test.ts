import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import fc from 'fast-check';
import { BlobStore } from '../../../../shared/release/blob-store.ts';
import { AppError, type ErrorCode, isAppError } from '../../../../shared/runtime/errors.ts';
import { sha256Hex } from '../../../../shared/runtime/ids.ts';

const withCode = (code: ErrorCode) => (error: unknown) => isAppError(error, code);
const CONTENT = Buffer.from('the weights of a small model');
const SHA256 = sha256Hex(CONTENT);
const LIMIT = 1_000;

describe('the blob store', () => {
  let root: string;
  let blobs: BlobStore;
  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'outrider-blobs-'));
    blobs = new BlobStore(join(root, 'blobs'));
  });
  afterEach(() => rm(root, { recursive: true, force: true }));

  const put = async (content: Buffer): Promise<string> => {
    const sha256 = sha256Hex(content);
    await blobs.append(sha256, 0, [content], LIMIT);
    await blobs.finish(sha256);
    return sha256;
  };

  it('has a blob once all of it has come', async () => {
    assert.equal(await blobs.size(SHA256), undefined);
    assert.equal(await blobs.partialBytes(SHA256), 0);
    assert.equal(await blobs.append(SHA256, 0, [CONTENT.subarray(0, 10)], LIMIT), 10);
    assert.equal(await blobs.size(SHA256), undefined);
    assert.equal(await blobs.partialBytes(SHA256), 10);
    assert.equal(await blobs.append(SHA256, 10, [CONTENT.subarray(10)], LIMIT), CONTENT.length);
    await blobs.finish(SHA256);
    assert.equal(await blobs.size(SHA256), CONTENT.length);
    assert.equal(await blobs.partialBytes(SHA256), 0);
    assert.deepEqual(await readFile(blobs.path(SHA256)), CONTENT);
    await blobs.finish(SHA256);
  });

  it('goes on in any pieces, after any restart, over what was sent twice', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.uint8Array({ minLength: 1, maxLength: 200 }),
        fc.array(fc.tuple(fc.nat(60), fc.nat(30)), { maxLength: 20 }),
        async (bytes, pieces) => {
          const sha256 = sha256Hex(bytes);
          await blobs.sweep(new Set());
          for (const [length, back] of pieces) {
            const again = new BlobStore(join(root, 'blobs'));
            const at = Math.max(0, (await again.partialBytes(sha256)) - back);
            await again.append(sha256, at, [bytes.subarray(at, at + length)], LIMIT);
          }
          const at = await blobs.partialBytes(sha256);
          await blobs.append(sha256, at, [bytes.subarray(at)], LIMIT);
          await blobs.finish(sha256);
          assert.deepEqual(await readFile(blobs.path(sha256)), Buffer.from(bytes));
        },
      ),
      { numRuns: 30 },
    );
  });

  it('keeps what has come when the source breaks off', async () => {
    async function* source() {
      yield CONTENT.subarray(0, 7);
      throw new AppError('HUB_UNREACHABLE');
    }
    await assert.rejects(blobs.append(SHA256, 0, source(), LIMIT), withCode('HUB_UNREACHABLE'));
    assert.equal(await blobs.partialBytes(SHA256), 7);
    await blobs.append(SHA256, 7, [CONTENT.subarray(7)], LIMIT);
    await blobs.finish(SHA256);
  });

  it('leaves no hole where somebody begins too far', async () => {
    await blobs.append(SHA256, 0, [CONTENT.subarray(0, 7)], LIMIT);
    await assert.rejects(
      blobs.append(SHA256, 8, [CONTENT.subarray(8)], LIMIT),
      withCode('PRECONDITION_FAILED'),
    );
    assert.equal(await blobs.partialBytes(SHA256), 7);
  });

  it('stops at the limit, and forgets what would never fit', async () => {
    let pulled = 0;
    function* endless() {
      for (;;) {
        pulled++;
        yield CONTENT;
      }
    }
    await assert.rejects(blobs.append(SHA256, 0, endless(), 100), withCode('INPUT_TOO_LARGE'));
    assert.equal(pulled, 4);
    assert.equal(await blobs.partialBytes(SHA256), 0);
    assert.equal(await blobs.append(SHA256, 0, [CONTENT], CONTENT.length), CONTENT.length);
  });

  it('refuses other content under this digest, and forgets it', async () => {
    await blobs.append(SHA256, 0, [Buffer.from('something else')], LIMIT);
    await assert.rejects(blobs.finish(SHA256), withCode('MODEL_DIGEST_MISMATCH'));
    assert.equal(await blobs.size(SHA256), undefined);
    assert.equal(await blobs.partialBytes(SHA256), 0);
    await assert.rejects(blobs.finish(SHA256), withCode('DOWNLOAD_INCOMPLETE'));
  });

  it('does not touch a blob that is there when it is sent again', async () => {
    await put(CONTENT);
    const { ino } = await stat(blobs.path(SHA256));
    assert.equal(await blobs.append(SHA256, 0, [Buffer.from('junk')], LIMIT), 4);
    await blobs.finish(SHA256);
    assert.equal((await stat(blobs.path(SHA256))).ino, ino);
    assert.deepEqual(await readFile(blobs.path(SHA256)), CONTENT);
    assert.equal(await blobs.partialBytes(SHA256), 0, 'and the junk is gone');
  });

  it('comes out whole when many send the same at once', async () => {
    const send = async (length: number) => {
      for (let at = 0; at < CONTENT.length; at += length) {
        const piece = [CONTENT.subarray(at, at + length)];
        const sent = await blobs.append(SHA256, at, piece, LIMIT).catch((error: unknown) => error);
        // Somebody else has begun again, or is through: so does who is told so.
        if (isAppError(sent)) return assert.equal(sent.code, 'PRECONDITION_FAILED');
      }
      await blobs.finish(SHA256);
    };
    await Promise.all([send(5), send(28), send(3), send(28), blobs.append(SHA256, 0, [CONTENT], LIMIT)]);
    await blobs.finish(SHA256);
    assert.deepEqual(await readFile(blobs.path(SHA256)), CONTENT);
  });

  it('takes in a file of this machine, and nothing that it is not', async () => {
    const from = join(root, 'model.onnx');
    await writeFile(from, CONTENT);
    await blobs.takeIn(SHA256, from);
    await writeFile(from, 'changed later');
    assert.deepEqual(await readFile(blobs.path(SHA256)), CONTENT);
    await blobs.takeIn(SHA256, join(root, 'gone'));
    await assert.rejects(blobs.takeIn(sha256Hex('other'), from), withCode('MODEL_DIGEST_MISMATCH'));
    assert.equal(await blobs.partialBytes(sha256Hex('other')), 0);
  });

  describe('a folder of blobs', () => {
    const folder = () => join(root, 'models', 'eyes', '1');
    const file = (path: string, content: Buffer) => ({
      path,
      sha256: sha256Hex(content),
      bytes: content.length,
    });
    const spec = Buffer.from('{}');

    it('is there whole, with its folders', async () => {
      await put(CONTENT);
      await put(spec);
      await blobs.materialize([file('onnx/model.onnx', CONTENT), file('outrider.json', spec)], folder());
      assert.deepEqual(await readFile(join(folder(), 'onnx/model.onnx')), CONTENT);
      assert.deepEqual((await readdir(folder())).sort(), ['onnx', 'outrider.json']);
      assert.deepEqual(await readdir(join(root, 'models', 'eyes')), ['1']);
    });

    it('is not there at all while a blob is missing', async () => {
      await put(CONTENT);
      const files = [file('onnx/model.onnx', CONTENT), file('outrider.json', spec)];
      await assert.rejects(blobs.materialize(files, folder()), withCode('DOWNLOAD_INCOMPLETE'));
      await assert.rejects(stat(folder()));
      await put(spec);
      await blobs.materialize(files, folder());
      await stat(folder());
    });

    it('stays as it is when it is asked for again', async () => {
      await put(CONTENT);
      await blobs.materialize([file('model.onnx', CONTENT)], folder());
      const { ino } = await stat(folder());
      await blobs.materialize([file('model.onnx', CONTENT)], folder());
      assert.equal((await stat(folder())).ino, ino);
    });

    it('is made anew when it died on the way, whatever lies there half done', async () => {
      await put(CONTENT);
      await put(spec);
      const files = [file('onnx/model.onnx', CONTENT), file('outrider.json', spec)];
      const staged = `${folder()}.staged`;
      await mkdir(join(staged, 'onnx'), { recursive: true });
      await writeFile(join(staged, 'onnx', 'model.onnx'), 'half');
      await writeFile(join(staged, 'of another version'), 'whole');
      await blobs.materialize(files, folder());
      assert.deepEqual(await readFile(join(folder(), 'onnx/model.onnx')), CONTENT);
      assert.deepEqual((await readdir(folder())).sort(), ['onnx', 'outrider.json']);
    });

    it('does not write through one link into another blob', async () => {
      await put(CONTENT);
      await put(spec);
      const twice = [file('model.onnx', CONTENT), file('model.onnx', spec)];
      await assert.rejects(blobs.materialize(twice, folder()));
      assert.deepEqual(await readFile(blobs.path(SHA256)), CONTENT);
      await assert.rejects(stat(folder()));
    });

    it('outlives the blobs that it was made of', async () => {
      await put(CONTENT);
      await blobs.materialize([file('model.onnx', CONTENT)], folder());
      await blobs.sweep(new Set());
      assert.deepEqual(await readFile(join(folder(), 'model.onnx')), CONTENT);
    });
  });

  it('sweeps away what nobody wants, whole or not, and says how much', async () => {
    const kept = await put(Buffer.from('kept'));
    await put(CONTENT);
    const coming = sha256Hex('coming');
    const stray = sha256Hex('stray');
    await blobs.append(coming, 0, [Buffer.from('com')], LIMIT);
    await blobs.append(stray, 0, [Buffer.from('stra')], LIMIT);
    assert.equal(await blobs.sweep(new Set([kept, coming])), CONTENT.length + 4);
    assert.equal(await blobs.size(kept), 4);
    assert.equal(await blobs.partialBytes(coming), 3);
    assert.equal(await blobs.size(SHA256), undefined);
    assert.equal(await blobs.partialBytes(stray), 0);
    assert.equal(await blobs.sweep(new Set(), Date.now() - 60_000), 0, 'somebody may be at it');
    assert.equal(await new BlobStore(join(root, 'none')).sweep(new Set()), 0);
  });

  it('goes on after it died between any two steps', async () => {
    const part = `${blobs.path(SHA256)}.part`;
    const again = async () => {
      const at = await blobs.partialBytes(SHA256);
      if ((await blobs.size(SHA256)) === undefined) {
        await blobs.append(SHA256, at, [CONTENT.subarray(at)], LIMIT);
        await blobs.finish(SHA256);
      }
      assert.deepEqual(await readFile(blobs.path(SHA256)), CONTENT);
      await rm(join(root, 'blobs'), { recursive: true });
    };
    await mkdir(join(part, '..'), { recursive: true });
    await again();
    for (const bytes of [0, 1, CONTENT.length]) {
      await mkdir(join(part, '..'), { recursive: true });
      await writeFile(part, CONTENT.subarray(0, bytes));
      await again();
    }
    await mkdir(join(part, '..'), { recursive: true });
    await writeFile(part, CONTENT);
    await rename(part, blobs.path(SHA256));
    await again();
  });

  it('finds out about a tail that a power cut left as zeros', async () => {
    await blobs.append(SHA256, 0, [CONTENT], LIMIT);
    await writeFile(`${blobs.path(SHA256)}.part`, Buffer.alloc(CONTENT.length));
    await assert.rejects(blobs.finish(SHA256), withCode('MODEL_DIGEST_MISMATCH'));
    await put(CONTENT);
  });
});
