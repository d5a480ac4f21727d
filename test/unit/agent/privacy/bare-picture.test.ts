/** Pictures of sharp's own making, with all that cameras write into them: what is left says nothing, and shows the same. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import fc from 'fast-check';
import sharp from 'sharp';
import { barePicture } from '../../../../agent/privacy/bare-picture.ts';
import { insertChunk, insertSegment } from '../../../support/tagged-pictures.ts';

const CAT = await readFile('models/demo/pictures/cat-0230.jpg');
const SECRETS = ['SECRETCAM', 'secret place', 'Anna Secret', 'GPS', '52/1', 'xmpmeta', 'hidden'];
const EXIF = {
  IFD0: { Make: 'SECRETCAM', ImageDescription: 'secret place', Artist: 'Anna Secret' },
  IFD3: {
    GPSLatitudeRef: 'N',
    GPSLatitude: '52/1 30/1 12/1',
    GPSLongitudeRef: 'E',
    GPSLongitude: '13/1 24/1 1/1',
  },
};
const XMP =
  '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/" dc:creator="Anna Secret"/></rdf:RDF></x:xmpmeta>';
const FORMATS = ['jpeg', 'png', 'webp', 'tiff', 'avif'] as const;

const tagged = (format: (typeof FORMATS)[number], orientation: number): Promise<Buffer> =>
  sharp(CAT)
    .resize(40, 24, { fit: 'fill' })
    .withExif(EXIF)
    .withXmp(XMP)
    .keepIccProfile()
    .withMetadata({ orientation })
    .toFormat(format, { lossless: true })
    .toBuffer();
const pixels = (body: Uint8Array): Promise<Buffer> =>
  sharp(body, { failOn: 'error' }).autoOrient().removeAlpha().toColourspace('srgb').raw().toBuffer();
const said = (body: Uint8Array): string[] => SECRETS.filter((secret) => Buffer.from(body).includes(secret));

for (const format of FORMATS)
  test(`a ${format} says nothing any more, and is turned as before`, async () => {
    for (let orientation = 1; orientation <= 8; orientation++) {
      const body = await tagged(format, orientation);
      assert.ok(said(body).length >= 2, `sharp has written ${said(body)}`);
      const bare = barePicture(body);
      assert.deepEqual(said(bare), []);
      const { exif, xmp, icc, orientation: turned = 1 } = await sharp(bare).metadata();
      assert.equal(xmp === undefined || xmp.every((byte) => byte === 0), true);
      assert.ok(
        exif === undefined || exif.length < 64 || exif.every((byte) => byte === 0),
        `${exif?.length} bytes of EXIF`,
      );
      assert.equal(turned, (await sharp(body).metadata()).orientation ?? 1);
      assert.deepEqual(icc, (await sharp(body).metadata()).icc);
      assert.deepEqual(await pixels(bare), await pixels(body));
    }
  });

test('what else hides in a JPEG goes: IPTC, comments, second pictures, thumbnails, and what follows its end', async () => {
  const plain = await sharp(CAT).resize(40, 24).jpeg({ progressive: true }).toBuffer();
  assert.equal(barePicture(plain), plain);
  const hidden = Buffer.from('hidden');
  const jfif = Buffer.concat([Buffer.from('JFIF\0\x01\x02\0\0\x01\0\x01\x01\x02', 'latin1'), hidden]);
  let body: Uint8Array = plain;
  for (const [marker, content] of [
    [0xed, Buffer.concat([Buffer.from('Photoshop 3.0\0'), hidden])],
    [0xfe, hidden],
    [0xe2, Buffer.concat([Buffer.from('MPF\0'), hidden])],
    [0xe5, hidden],
    [0xe0, Buffer.concat([Buffer.from('JFXX\0'), hidden])],
  ] as const)
    body = insertSegment(body, marker, content);
  // Fill bytes before a marker, and a film behind the end.
  body = Buffer.concat([body.subarray(0, 2), Buffer.from([0xff, 0xff]), body.subarray(2), hidden]);
  assert.deepEqual(barePicture(body), plain);
  const withThumbnail = insertSegment(plain, 0xe0, jfif);
  assert.deepEqual(said(barePicture(withThumbnail)), []);
  assert.deepEqual(await pixels(barePicture(withThumbnail)), await pixels(plain));
});

test('a JPEG of inks keeps what says how they are to be read', async () => {
  const inks = await sharp(CAT).resize(40, 24).toColourspace('cmyk').jpeg().toBuffer();
  const body = insertSegment(inks, 0xfe, Buffer.from('hidden'));
  assert.deepEqual(await pixels(barePicture(body)), await pixels(inks));
  assert.deepEqual(said(barePicture(body)), []);
});

test('texts, times and chunks that nobody knows leave a PNG', async () => {
  const plain = await sharp(CAT).resize(40, 24).png({ palette: true }).toBuffer();
  assert.equal(barePicture(plain), plain);
  let body: Uint8Array = plain;
  for (const type of ['tEXt', 'zTXt', 'iTXt', 'tIME', 'prVt'])
    body = insertChunk(body, type, Buffer.from('hidden'));
  assert.deepEqual(barePicture(Buffer.concat([body, Buffer.from('hidden')])), plain);
});

test('comments and the data of applications leave a GIF, how often it is played stays', async () => {
  const plain = await sharp(CAT).resize(40, 24).gif({ loop: 3 }).toBuffer();
  assert.equal(barePicture(plain), plain);
  assert.ok(plain.includes('NETSCAPE2.0'));
  const table = 13 + 3 * 2 ** (((plain[10] ?? 0) & 7) + 1);
  const comment = Buffer.from('\x21\xfe\x06hidden\0\x21\xff\x0bXMP DataXMP\x06hidden\0', 'latin1');
  const body = Buffer.concat([
    plain.subarray(0, table),
    comment,
    plain.subarray(table),
    Buffer.from('hidden'),
  ]);
  assert.deepEqual(barePicture(body), plain);
});

test('EXIF and GPS of a TIFF become zeros, in either order of bytes', async () => {
  for (const isLittle of [true, false]) {
    const body = handMadeTiff(isLittle);
    assert.deepEqual(said(body), ['SECRETCAM', 'secret place', 'hidden']);
    const bare = barePicture(body);
    assert.deepEqual(said(bare), []);
    assert.equal(bare.length, body.length);
    assert.deepEqual(await pixels(bare), await pixels(body));
  }
});

test('a damaged picture is no reason to fail, nor to take long', async () => {
  const bodies = await Promise.all(FORMATS.map((format) => tagged(format, 6)));
  bodies.push(await sharp(CAT).resize(40, 24).gif().toBuffer());
  fc.assert(
    fc.property(
      fc.constantFrom(...bodies),
      fc.nat(),
      fc.nat(),
      fc.uint8Array({ maxLength: 8 }),
      (body, cut, at, bytes) => {
        const torn = Buffer.from(body.subarray(0, 12 + (cut % body.length)));
        torn.set(bytes.subarray(0, Math.max(0, torn.length - (at % torn.length))), at % torn.length);
        assert.ok(barePicture(torn).length <= torn.length + 64);
      },
    ),
    { numRuns: 2_000 },
  );
});

test('what is no picture stays as it is', () => {
  const text = Buffer.from('a fine film');
  assert.equal(barePicture(text), text);
  assert.equal(barePicture(new Uint8Array()).length, 0);
});

/** A TIFF of 2 x 1 grey pixels with a maker, an EXIF and a GPS directory, written by hand. */
function handMadeTiff(isLittle: boolean): Buffer {
  const body = Buffer.alloc(400);
  const u16 = (value: number, at: number): number =>
    isLittle ? body.writeUInt16LE(value, at) : body.writeUInt16BE(value, at);
  const u32 = (value: number, at: number): number =>
    isLittle ? body.writeUInt32LE(value, at) : body.writeUInt32BE(value, at);
  body.write(isLittle ? 'II' : 'MM', 'latin1');
  u16(42, 2);
  u32(8, 4);
  const directory = (
    at: number,
    entries: readonly (readonly [tag: number, type: number, count: number, value: number])[],
  ): void => {
    u16(entries.length, at);
    entries.forEach(([tag, type, count, value], index) => {
      const entry = at + 2 + index * 12;
      u16(tag, entry);
      u16(type, entry + 2);
      u32(count, entry + 4);
      if (type === 3) u16(value, entry + 8);
      else u32(value, entry + 8);
    });
  };
  directory(8, [
    [256, 3, 1, 2],
    [257, 3, 1, 1],
    [258, 3, 1, 8],
    [259, 3, 1, 1],
    [262, 3, 1, 1],
    [271, 2, 10, 300],
    [273, 4, 1, 380],
    [277, 3, 1, 1],
    [278, 3, 1, 1],
    [279, 4, 1, 2],
    [34665, 4, 1, 200],
    [34853, 4, 1, 250],
  ]);
  directory(200, [[37510, 7, 6, 340]]);
  directory(250, [[27, 2, 13, 320]]);
  body.write('SECRETCAM\0', 300, 'latin1');
  body.write('secret place\0', 320, 'latin1');
  body.write('hidden', 340, 'latin1');
  body.set([17, 200], 380);
  return body;
}
