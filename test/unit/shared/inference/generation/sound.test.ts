import assert from 'node:assert/strict';
import { test } from 'node:test';
import { resample } from '../../../../../shared/inference/speech/resample.ts';
import { readWav } from '../../../../../shared/inference/speech/wav.ts';
import { isAppError } from '../../../../../shared/runtime/errors.ts';

interface Wav {
  readonly code: number;
  readonly bits: number;
  readonly channels?: number;
  readonly rate?: number;
  readonly data: Buffer;
  /** Chunks before the samples. */
  readonly before?: Buffer;
  readonly isExtensible?: boolean;
}

function wav({ code, bits, channels = 1, rate = 16_000, data, before, isExtensible = false }: Wav): Buffer {
  const format = Buffer.alloc(isExtensible ? 40 : 16);
  format.writeUInt16LE(isExtensible ? 0xfffe : code, 0);
  format.writeUInt16LE(channels, 2);
  format.writeUInt32LE(rate, 4);
  format.writeUInt32LE((rate * channels * bits) / 8, 8);
  format.writeUInt16LE((channels * bits) / 8, 12);
  format.writeUInt16LE(bits, 14);
  if (isExtensible) format.writeUInt16LE(code, 24);
  const chunk = (name: string, body: Buffer) => {
    const head = Buffer.alloc(8);
    head.write(name, 0);
    head.writeUInt32LE(body.length, 4);
    return Buffer.concat([head, body, Buffer.alloc(body.length % 2)]);
  };
  const body = Buffer.concat([
    Buffer.from('WAVE'),
    chunk('fmt ', format),
    before ?? Buffer.alloc(0),
    chunk('data', data),
  ]);
  const head = Buffer.alloc(8);
  head.write('RIFF', 0);
  head.writeUInt32LE(body.length, 4);
  return Buffer.concat([head, body]);
}

test('every depth reads as the same sound, extensible or not, whatever stands before the samples', () => {
  const values = [0, 0.5, -0.5, -1];
  const packed = (bytes: number, write: (buffer: Buffer, value: number, at: number) => void): Buffer => {
    const data = Buffer.alloc(values.length * bytes);
    for (const [index, value] of values.entries()) write(data, value, index * bytes);
    return data;
  };
  const list = Buffer.from('LIST\x03\0\0\0abc\0', 'latin1');
  const files: Wav[] = [
    { code: 1, bits: 8, data: packed(1, (data, value, at) => data.writeUInt8(128 + value * 128, at)) },
    {
      code: 1,
      bits: 16,
      data: packed(2, (data, value, at) => data.writeInt16LE(value * 2 ** 15, at)),
      before: list,
    },
    { code: 1, bits: 24, data: packed(3, (data, value, at) => data.writeIntLE(value * 2 ** 23, at, 3)) },
    {
      code: 1,
      bits: 32,
      data: packed(4, (data, value, at) => data.writeInt32LE(value * 2 ** 31, at)),
      isExtensible: true,
    },
    { code: 3, bits: 32, data: packed(4, (data, value, at) => data.writeFloatLE(value, at)) },
    { code: 3, bits: 64, data: packed(8, (data, value, at) => data.writeDoubleLE(value, at)) },
  ];
  for (const file of files) {
    const { samples, samplingRate } = readWav(wav(file));
    assert.deepEqual([...samples], values, `${file.code}/${file.bits}`);
    assert.equal(samplingRate, 16_000);
    const { samples: mixed } = readWav(wav({ ...file, channels: 2 }));
    assert.deepEqual([...mixed], [0.25, -0.75]);
  }
});

test('what is no such WAV is AUDIO_INVALID, and says what it is', () => {
  const good: Wav = { code: 1, bits: 16, data: Buffer.alloc(8) };
  for (const [body, why] of [
    [Buffer.from('ID3\x03 music'), /it is MP3; send WAV/],
    [Buffer.from('fLaC....'), /it is FLAC/],
    [Buffer.from('OggS....'), /it is Ogg/],
    [Buffer.from('hello'), /no WAV/],
    [wav({ ...good, code: 85 }), /format 85 with 16 bits/],
    [wav({ ...good, bits: 12 }), /format 1 with 12 bits/],
    [wav({ ...good, channels: 0 }), /0 channels/],
    [wav({ ...good, rate: 10 }), /10 samples a second/],
    [wav({ ...good, data: Buffer.alloc(1) }), /no samples/],
    [wav(good).subarray(0, 30), /cut off/],
    [wav(good).subarray(0, 36), /no samples/],
    [wav({ code: 3, bits: 32, data: Buffer.from([0, 0, 0xc0, 0x7f]) }), /no numbers/],
  ] as const)
    assert.throws(
      () => readWav(body),
      (error) => isAppError(error, 'AUDIO_INVALID') && why.test(error.message),
      String(why),
    );
  const long = wav({ code: 1, bits: 8, rate: 1_000, data: Buffer.alloc(1_800_001, 128) });
  assert.throws(
    () => readWav(long),
    (error) => isAppError(error, 'INPUT_TOO_LARGE'),
  );
});

test('a tone keeps its pitch and loudness at another rate; what the new rate cannot hold is gone', () => {
  const tone = (hz: number, rate: number, seconds = 0.2): Float32Array =>
    Float32Array.from({ length: rate * seconds }, (_, index) => Math.sin((2 * Math.PI * hz * index) / rate));
  for (const from of [8_000, 11_025, 22_050, 44_100, 48_000]) {
    const made = resample(tone(440, from), from, 16_000);
    const wanted = tone(440, 16_000);
    assert.equal(made.length, Math.ceil((from * 0.2 * 16_000) / from));
    for (let at = 200; at < wanted.length - 200; at++)
      assert.ok(Math.abs((made[at] ?? 9) - (wanted[at] ?? 0)) < 1e-4, `${from} Hz, sample ${at}`);
  }
  const loudest = resample(tone(15_000, 44_100), 44_100, 16_000).slice(200, -200);
  assert.ok(loudest.every((value) => Math.abs(value) < 1e-4));
  const same = tone(1, 16_000);
  assert.equal(resample(same, 16_000, 16_000), same);
});
