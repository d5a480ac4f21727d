/** Models that hear against the Python reference, which computes their spectra too. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startRunner } from '../../../shared/inference/runner/runner-process.ts';
import { isAppError } from '../../../shared/runtime/errors.ts';
import type { Classification } from '../../../shared/tasks/forms/labels.ts';
import { TASKS } from '../../../shared/tasks/tasks.ts';
import { assertNear, expectedOf, inputOf, referenceOptions, soundOf } from './reference.ts';

for (const name of ['wav2vec2-audio', 'hubert-audio', 'ast'])
  test(`${name} hears what the Python reference hears`, async (t) => {
    const runner = await startRunner(referenceOptions(name));
    t.after(() => runner.stop());
    let largest = 0;
    for (const one of expectedOf(name)) {
      const { output, routeScore } = await runner.infer(inputOf(one));
      TASKS['audio-classification'].output.parse(output);
      const where = `${one.sound} ${JSON.stringify(one.parameters)}`;
      // Where silence makes all labels alike, their order is nobody's.
      const isEven = new Set((one.output as Classification[]).map(({ score }) => score)).size === 1;
      if (one.sound === 'silent.wav' && isEven) continue;
      largest = Math.max(largest, assertNear(output, one.output, where));
      assert.ok(Number.isFinite(routeScore), where);
    }
    t.diagnostic(`largest difference ${largest.toExponential(1)}`);
  });

/** The samples of a WAV file of 16 bits, so many times over. */
function longer(wav: Buffer, times: number): Buffer {
  const samples = Buffer.concat(new Array<Buffer>(times).fill(wav.subarray(44)));
  const head = Buffer.from(wav.subarray(0, 44));
  head.writeUInt32LE(36 + samples.length, 4);
  head.writeUInt32LE(samples.length, 40);
  return Buffer.concat([head, samples]);
}

test('sounds of other rates, depths and channels are heard as what they are; what is none is refused', async (t) => {
  const runner = await startRunner(referenceOptions('ast'));
  t.after(() => runner.stop());
  const hear = (body: Uint8Array, parameters = {}) =>
    runner.infer({ contentType: 'audio/wav', body, parameters });
  // By samples: the logarithm of a random model's spectrum makes much of the noise of 8 bits.
  const bySamples = await startRunner(referenceOptions('wav2vec2-audio'));
  t.after(() => bySamples.stop());
  const scores = async (file: string): Promise<Record<string, number>> => {
    const { output } = await bySamples.infer({ contentType: 'audio/wav', body: soundOf(file) });
    return Object.fromEntries((output as Classification[]).map(({ label, score }) => [label, score]));
  };
  const plain = await scores('sweep.wav');
  for (const file of ['sweep-48k-stereo.wav', 'sweep-8-bit.wav'])
    assertNear(await scores(file), plain, file, 0.02);
  assert.equal((await hear(soundOf('sweep.wav'))).isCut, undefined);
  assert.equal((await hear(longer(soundOf('sweep.wav'), 3))).isCut, true, 'more than the model hears');
  assert.ok((await hear(longer(soundOf('sweep.wav').subarray(0, 64), 1))).output, 'ten samples');
  const rejectsWith = (code: Parameters<typeof isAppError>[1]) => (error: unknown) => isAppError(error, code);
  await assert.rejects(hear(new Uint8Array()), rejectsWith('INPUT_EMPTY'));
  await assert.rejects(hear(soundOf('sweep.wav').subarray(0, 44)), rejectsWith('AUDIO_INVALID'));
  await assert.rejects(hear(Buffer.from('ID3 is an MP3')), rejectsWith('AUDIO_INVALID'));
  await assert.rejects(hear(soundOf('sweep.wav'), { top_k: 0 }), rejectsWith('PARAMETERS_INVALID'));
  await assert.rejects(
    hear(soundOf('sweep.wav'), { function_to_apply: 'tanh' }),
    rejectsWith('PARAMETERS_INVALID'),
  );
});
