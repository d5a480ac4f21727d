import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import fc from 'fast-check';
import sharp from 'sharp';
import type { Inference, Runner } from '../../../shared/inference/runner/runner.ts';
import { startRunner } from '../../../shared/inference/runner/runner-process.ts';
import { isAppError } from '../../../shared/runtime/errors.ts';
import type { Classification } from '../../../shared/tasks/forms/labels.ts';
import { TASKS, type TaskInput } from '../../../shared/tasks/tasks.ts';
import { bytesInput, pictureInput, runnerOptions, textInput } from './fixture-models.ts';

let colours: Runner;
let words: Runner;
before(async () => {
  [colours, words] = await Promise.all([
    startRunner(runnerOptions('colours')),
    startRunner(runnerOptions('words')),
  ]);
});
after(() => Promise.all([colours.stop(), words.stop()]));

const best = ({ output }: Inference): Classification => (output as Classification[])[0] as Classification;
const refuses = (runner: Runner, input: TaskInput, code: string) =>
  assert.rejects(runner.infer(input), (error) => isAppError(error) && error.code === code, code);

async function asBatch(runner: Runner, inputs: readonly TaskInput[]): Promise<Inference[]> {
  const prepared = await Promise.all(inputs.map((input) => runner.prepare(input)));
  const outcomes = await runner.run(prepared.map(({ handle }) => handle));
  return outcomes.map((outcome) => {
    assert.ok(outcome.ok);
    return outcome.value;
  });
}

test('says what it runs', () => {
  const { name, task, maxBatchSize, executionProvider } = colours.facts;
  assert.deepEqual(
    [name, task, maxBatchSize, executionProvider],
    ['colours', 'image-classification', 8, 'cpu'],
  );
  assert.ok(colours.pid > 0);
});

test('answers pictures in Hugging Face’s shape', async () => {
  for (const [colour, label] of [
    ['#ff0000', 'red'],
    ['#00ff00', 'green'],
    ['#0000ff', 'blue'],
  ] as const) {
    const inference = await colours.infer(await pictureInput(colour));
    TASKS['image-classification'].output.parse(inference.output);
    assert.equal(best(inference).label, label);
    assert.ok(Math.abs(inference.routeScore - (8 - Math.log(2))) < 1e-4);
  }
});

test('a large input comes whole: what goes to the runner in pieces is answered as what goes at once', async () => {
  const { body, contentType } = await pictureInput('#00ff00');
  // What follows a PNG's end is not read.
  const large = Buffer.concat([body, Buffer.alloc(3_500_000, 7)]);
  const small = await colours.infer({ body, contentType });
  const [one, [other], shrunk] = await Promise.all([
    colours.infer({ body: large, contentType }),
    asBatch(colours, [{ body: large, contentType }]),
    colours.shrink(large, { ...SHORTEST_224, format: 'webp', quality: 80 }),
  ]);
  assert.deepEqual([one.output, other?.output], [small.output, small.output]);
  assert.ok(large.equals(shrunk), 'small enough as it is');
});

test('answers texts, unknown words included, and honours parameters', async () => {
  assert.equal(best(await words.infer(textInput('The film was GREAT!'))).label, 'positive');
  assert.equal(best(await words.infer(textInput('an awful film'))).label, 'negative');
  const one = await words.infer(textInput('good', { top_k: 1, function_to_apply: 'none' }));
  assert.deepEqual(one.output, [{ label: 'positive', score: 1.5 }]);
});

test('a cut text and a text of unknown words are as unsure as can be', async () => {
  assert.ok((await words.infer(textInput('good '.repeat(30)))).routeScore > 0);
  const { routeScore, isCut } = await words.infer(textInput('good '.repeat(31)));
  assert.deepEqual([routeScore, isCut], [-1e9, true]);
  assert.equal((await words.infer(textInput('blub blab good'))).routeScore, -1e9);
});

test('refuses bad inputs with their codes and goes on', async () => {
  const jpeg = await sharp({ create: { width: 400, height: 400, channels: 3, background: '#123456' } })
    .jpeg()
    .toBuffer();
  await refuses(colours, bytesInput(jpeg.subarray(0, jpeg.length / 2)), 'IMAGE_CORRUPT');
  await refuses(colours, bytesInput(new Uint8Array()), 'INPUT_EMPTY');
  await refuses(colours, await pictureInput('#ffffff', 10_000, 10_000), 'IMAGE_TOO_LARGE');
  await refuses(
    colours,
    bytesInput(Buffer.from('<svg xmlns="http://www.w3.org/2000/svg"></svg>')),
    'IMAGE_UNSUPPORTED',
  );
  await refuses(colours, bytesInput(Buffer.from('\0\0\0\x18ftypheic\0\0\0\0heic')), 'IMAGE_UNSUPPORTED');
  await refuses(colours, textInput('a text'), 'INPUT_KIND_WRONG');
  await refuses(
    colours,
    { ...(await pictureInput('#ff0000')), parameters: { top_k: -1 } },
    'PARAMETERS_INVALID',
  );
  assert.equal(best(await colours.infer(await pictureInput('#ff0000'))).label, 'red');

  await refuses(words, textInput(Buffer.alloc(10_000_000, 97)), 'INPUT_TOO_LARGE');
  await refuses(words, textInput(Buffer.from([0xc3, 0x28])), 'TEXT_INVALID');
  await refuses(words, textInput(' \n\t '), 'INPUT_EMPTY');
  await refuses(words, await pictureInput('#ff0000'), 'INPUT_KIND_WRONG');
  assert.equal(best(await words.infer(textInput('good'))).label, 'positive');
});

test('a megabyte of text costs no megabyte of tokenizing', async () => {
  const { output, timingsMs } = await words.infer(textInput('good film '.repeat(100_000)));
  assert.equal((output as Classification[])[0]?.label, 'positive');
  assert.ok(timingsMs.preprocess < 500, `${timingsMs.preprocess} ms`);
});

test('a batch answers as its members would alone', async () => {
  const sentence = fc
    .array(fc.constantFrom('good', 'bad', 'great', 'awful', 'a', 'film', 'nonsense'), {
      minLength: 1,
      maxLength: 14,
    })
    .map((parts) => parts.join(' '));
  await fc.assert(
    fc.asyncProperty(fc.array(sentence, { minLength: 1, maxLength: 8 }), async (sentences) => {
      const inputs = sentences.map((text) => textInput(text));
      const together = await asBatch(words, inputs);
      const alone = await Promise.all(inputs.map((input) => words.infer(input)));
      for (const [index, one] of alone.entries()) {
        assert.deepEqual(together[index]?.output, one.output);
        assert.equal(together[index]?.routeScore, one.routeScore);
      }
    }),
    { numRuns: 30 },
  );
  const pictures = await Promise.all(['#ff0000', '#00ff00', '#102030'].map((colour) => pictureInput(colour)));
  const together = await asBatch(colours, pictures);
  for (const [index, input] of pictures.entries())
    assert.deepEqual(together[index]?.output, (await colours.infer(input)).output);
});

test('texts of unlike length do not share a shape', async () => {
  const [short, long] = await Promise.all([
    words.prepare(textInput('good')),
    words.prepare(textInput('a '.repeat(25))),
  ]);
  assert.notEqual(short.shapeKey, long.shapeKey);
  await assert.rejects(words.run([short.handle, long.handle]), (error) =>
    isAppError(error, 'INVARIANT_BROKEN'),
  );
});

test('a handle is good for one run, and none after its release', async () => {
  const { handle } = await words.prepare(textInput('good'));
  words.discard([handle]);
  await assert.rejects(words.run([handle]), (error) => isAppError(error, 'INVARIANT_BROKEN'));
});

test('more calls than can be in flight are refused, not queued without bound', async () => {
  const outcomes = await Promise.allSettled(Array.from({ length: 80 }, () => words.infer(textInput('good'))));
  const refused = outcomes.filter((outcome) => outcome.status === 'rejected');
  assert.equal(refused.length, 16);
  assert.ok(refused.every(({ reason }) => isAppError(reason, 'QUEUE_FULL')));
});

const SHORTEST_224 = { resize: { kind: 'shortest', edgePx: 224 }, kernel: 'linear' } as const;

test('brings a picture to what is of use, upright and on white, and leaves a smaller one as it is', async () => {
  const noise = await sharp({
    create: { width: 900, height: 600, channels: 4, background: { r: 255, g: 0, b: 0, alpha: 0.5 } },
  })
    .withMetadata({ orientation: 6 })
    .jpeg()
    .toBuffer();
  for (const format of ['webp', 'jpeg'] as const) {
    const made = await sharp(
      await colours.shrink(noise, { ...SHORTEST_224, format, quality: 80 }),
    ).metadata();
    assert.deepEqual([made.format, made.width, made.height, made.orientation], [format, 224, 336, undefined]);
  }
  // With its answer, where that is not sure enough.
  const input = { contentType: 'image/jpeg', body: noise };
  const to = { ...SHORTEST_224, format: 'webp', quality: 80 } as const;
  const { routeScore } = await colours.infer(input);
  for (const [below, isMade] of [
    [null, true],
    [routeScore + 1, true],
    [routeScore, false],
  ] as const) {
    const { shrunk, ...answer } = await colours.infer(input, { shrink: { below, to } });
    assert.equal(answer.routeScore, routeScore);
    assert.deepEqual(
      shrunk && Buffer.from(shrunk),
      isMade ? Buffer.from(await colours.shrink(noise, to)) : undefined,
    );
  }
  const small = (await pictureInput('#ff0000')).body;
  assert.deepEqual(
    Buffer.from(await colours.shrink(small, { ...SHORTEST_224, format: 'webp', quality: 80 })),
    Buffer.from(small),
  );
  for (const [body, code] of [
    [Buffer.from('no picture'), 'INPUT_KIND_WRONG'],
    [noise.subarray(0, 700), 'IMAGE_CORRUPT'],
  ] as const)
    await assert.rejects(
      colours.shrink(body, { ...SHORTEST_224, format: 'webp', quality: 80 }),
      (error) => isAppError(error) && error.code === code,
      code,
    );
  assert.equal(best(await colours.infer(await pictureInput('#00ff00'))).label, 'green', 'and it goes on');
});
