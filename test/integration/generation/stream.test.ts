/** What a generation does while it runs: tokens as they come, an end in the middle, and what it refuses before it begins. */
import assert from 'node:assert/strict';
import { cp, readFile, rename, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { selfTest } from '../../../shared/inference/proof/self-test.ts';
import type { Runner } from '../../../shared/inference/runner/runner.ts';
import { startRunner } from '../../../shared/inference/runner/runner-process.ts';
import { openModelFolder } from '../../../shared/release/folder/model-folder.ts';
import type { Clock } from '../../../shared/runtime/clock.ts';
import { isAppError } from '../../../shared/runtime/errors.ts';
import type { Recognized } from '../../../shared/tasks/automatic-speech-recognition/schema.ts';
import type { Generated, GeneratedToken } from '../../../shared/tasks/text-generation/schema.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { temporaryFolder } from '../../support/fixed.ts';
import { GENERATION, references } from '../../support/generation.ts';
import { eventually } from '../../support/programs.ts';

const CALL_TIMEOUT_MS = 60_000;
const runners: Runner[] = [];
after(() => Promise.all(runners.map((runner) => runner.stop(0))));

/** @param name one of the tiny models, or a folder of its own */
async function start(name: string, clock?: Clock): Promise<Runner> {
  const folder = resolve(GENERATION, name);
  const options = {
    ...{ folder, digest: 'd'.repeat(64), threads: 1, maxRssBytes: 2e9 },
    ...{ startTimeoutMs: 60_000, callTimeoutMs: CALL_TIMEOUT_MS },
  };
  const runner = await startRunner(options, clock);
  runners.push(runner);
  return runner;
}

const text = (body: string, parameters = {}) => ({
  contentType: 'text/plain',
  body: Buffer.from(body),
  parameters,
});
const LONG = { max_new_tokens: 80, do_sample: true, temperature: 100, seed: 4 };

describe('text generation', () => {
  let runner: Runner;
  before(async () => {
    runner = await start('gpt2');
  });

  it('says each token as it comes, then the whole', async () => {
    const [{ input, parameters, ids, logprobs = [], text: whole } = assert.fail()] = (await references())
      .gpt2;
    const said: GeneratedToken[] = [];
    const lasts: boolean[] = [];
    const { output } = await runner.infer(text(input, { ...parameters, details: true }), {
      onToken: (token, isLast) => {
        said.push(token);
        lasts.push(isLast);
      },
    });
    assert.deepEqual(
      said.map(({ id }) => id),
      ids,
    );
    assert.deepEqual(lasts, [...new Array(ids.length - 1).fill(false), true]);
    for (const [index, { logprob }] of said.entries())
      assert.ok(Math.abs(logprob - (logprobs[index] ?? 9)) < 1e-3);
    const { generated_text, details } = output as Generated;
    assert.equal(generated_text, whole);
    assert.deepEqual(details?.tokens, said);
    assert.equal(details?.finish_reason, 'length');
  });

  it('ends at an end token, or where it is told to stop, and may put the prompt before', async () => {
    const cases = (await references()).gpt2;
    const ended = cases.find(({ ids, parameters }) => ids.length < Number(parameters.max_new_tokens));
    assert.ok(ended, 'one of the references ends by itself');
    const ending = await runner.infer(text(ended.input, { ...ended.parameters, details: true }));
    assert.equal((ending.output as Generated).details?.finish_reason, 'eos_token');
    const told = cases.find(({ text: whole }) => whole.includes('ing'));
    assert.ok(told);
    const stopped = await runner.infer(
      text(told.input, { ...told.parameters, stop: ['zzz', 'ing'], details: true }),
    );
    const { generated_text, details } = stopped.output as Generated;
    assert.equal(generated_text, told.text.slice(0, told.text.indexOf('ing') + 3));
    assert.equal(details?.finish_reason, 'stop_sequence');
    const full = await runner.infer(text(told.input, { ...told.parameters, return_full_text: true }));
    assert.equal((full.output as Generated).generated_text, told.input + told.text);
  });

  it('says which token is the last one, also where nobody said how many', async () => {
    const lasts: boolean[] = [];
    const { output } = await runner.infer(text('Once', { details: true }), {
      onToken: (_token, isLast) => lasts.push(isLast),
    });
    assert.equal(lasts.indexOf(true), lasts.length - 1);
    assert.equal((output as Generated).details?.generated_tokens, lasts.length);
  });

  it('samples again what it has sampled with a seed', async () => {
    const [one, again, other] = await Promise.all(
      [4, 4, 5].map(async (seed) => (await runner.infer(text('Once', { ...LONG, seed }))).output),
    );
    assert.deepEqual(one, again);
    assert.notDeepEqual(one, other);
  });

  it('ends within a token when nobody waits any more, and goes on with the next request', async () => {
    const leaving = new AbortController();
    let tokens = 0;
    const left = runner.infer(text('Once', LONG), {
      signal: leaving.signal,
      onToken: () => {
        tokens += 1;
        if (tokens === 3) leaving.abort();
      },
    });
    await assert.rejects(left, (error) => isAppError(error, 'EXPIRED'));
    // Those that were on their way when it was told.
    assert.ok(tokens < 40, `${tokens} tokens`);
    await assert.rejects(runner.infer(text('Once', LONG), { signal: AbortSignal.abort() }), (error) =>
      isAppError(error, 'EXPIRED'),
    );
    await runner.infer(text('Once', { max_new_tokens: 1 }));
  });

  it('refuses a prompt that leaves no room, unless it may be cut', async () => {
    const prompt = 'so it goes '.repeat(60);
    await assert.rejects(runner.infer(text(prompt)), (error) => isAppError(error, 'INPUT_TOO_LARGE'));
    const cut = await runner.infer(text(prompt, { truncate: 20, max_new_tokens: 2 }));
    assert.equal(cut.isCut, true);
    await assert.rejects(runner.infer(text(' \n', { beams: 2 })), (error) =>
      isAppError(error, 'PARAMETERS_INVALID'),
    );
    const bad = { contentType: 'text/plain', body: Buffer.from([0xff, 0xfe, 0xfd]) };
    await assert.rejects(runner.infer(bad), (error) => isAppError(error, 'TEXT_INVALID'));
  });
});

it('opens the variant that outrider.json names', async (t) => {
  const folder = join(await temporaryFolder(t), 'variant');
  await cp(join(GENERATION, 'marian'), folder, { recursive: true });
  const spec = JSON.parse(await readFile(join(folder, 'outrider.json'), 'utf8')) as Record<string, unknown>;
  const graphs = ['encoder_model', 'decoder_model_merged'];
  for (const [graph, suffix] of [
    [graphs[0], '_fp16'],
    [graphs[1], '_quantized'],
  ])
    await rename(join(folder, 'onnx', `${graph}.onnx`), join(folder, 'onnx', `${graph}${suffix}.onnx`));
  const named = {
    model: 'onnx/encoder_model_fp16.onnx',
    graphs: ['onnx/decoder_model_merged_quantized.onnx'],
  };
  await writeFile(join(folder, 'outrider.json'), JSON.stringify({ ...spec, ...named }));
  const runner = await start(folder);
  const [{ input, text: wanted } = assert.fail()] = (await references()).marian;
  assert.deepEqual((await runner.infer(text(input))).output, { translation_text: wanted });
});

it('translation says that it was cut, or refuses to be, and knows its two languages', async () => {
  const runner = await start('marian');
  const long = 'so it goes '.repeat(60);
  const cut = await runner.infer(text(long));
  assert.deepEqual([cut.isCut, cut.routeScore < -1e6], [true, true]);
  for (const [parameters, code] of [
    [{ truncation: 'do_not_truncate' }, 'INPUT_TOO_LARGE'],
    [{ truncation: 'only_second' }, 'PARAMETERS_INVALID'],
    [{ src_lang: 'en', tgt_lang: 'de' }, 'PARAMETERS_INVALID'],
    [{ generate_parameters: { do_sample: true, num_beams: 2 } }, 'PARAMETERS_INVALID'],
    [{ generate_parameters: { max_length: 1 } }, 'PARAMETERS_INVALID'],
  ] as const)
    await assert.rejects(runner.infer(text(long, parameters)), (error) => isAppError(error, code), code);
});

it('a call that goes on is not taken for one that hangs', async () => {
  const clock = new FakeClock();
  let armed = 0;
  const runner = await start('whisper', {
    nowAtMs: () => clock.nowAtMs(),
    nowMonoMs: () => clock.nowMonoMs(),
    sleep: (delayMs, signal) => clock.sleep(delayMs, signal),
    after: (delayMs, run) => {
      armed += 1;
      return clock.after(delayMs, run);
    },
  });
  const body = await readFile(join(GENERATION, 'sounds', 'long.wav'));
  const parameters = { generation_parameters: { num_beams: 8 } };
  /** Nearly all the time for a call passes whenever it has come further, and its time begins anew. @returns what has passed */
  const hear = async (times: number): Promise<number> => {
    const longer = Buffer.concat([body, ...new Array(times - 1).fill(body.subarray(44))]);
    longer.writeUInt32LE(0xffffffff, 40);
    let seen = armed;
    let ms = 0;
    let isDone = false;
    const done = runner.infer({ contentType: 'audio/wav', body: longer, parameters }).finally(() => {
      isDone = true;
    });
    while (!isDone) {
      await eventually(() => isDone || armed > seen, 'it comes no further');
      seen = armed;
      await clock.advance(CALL_TIMEOUT_MS - 1);
      ms += CALL_TIMEOUT_MS - 1;
    }
    await done;
    return ms;
  };
  // Long enough for this machine, however fast it is: a runner shows a sign of life a second.
  let passedMs = 0;
  for (let times = 2; times < 1_000 && passedMs < 2 * CALL_TIMEOUT_MS; times *= 2)
    passedMs = await hear(times);
  assert.ok(passedMs > 2 * CALL_TIMEOUT_MS, `${passedMs} ms are too few to show it`);
});

it('a long sound is heard to its end, sentence after sentence', async () => {
  const runner = await start('whisper');
  const body = await readFile(join(GENERATION, 'sounds', 'long.wav'));
  const { output } = await runner.infer({
    contentType: 'audio/wav',
    body,
    parameters: { return_timestamps: true },
  });
  const { chunks = [], text: whole } = output as Recognized;
  assert.ok(chunks.length > 1 && whole.length > 0);
  let last = 0;
  for (const {
    timestamp: [from, to],
  } of chunks) {
    assert.ok((from ?? -1) >= last && (to ?? from ?? 0) >= (from ?? 0), JSON.stringify(chunks));
    last = from ?? 0;
  }
  // The last window is filled up with silence, which a model may stamp too.
  assert.ok(last > 2 && last <= 4.6 + 2, `the last begins at ${last} s of 4.6`);
});

it('what is no sound is AUDIO_INVALID, a picture of the wrong kind', async () => {
  const [writer, letters] = await Promise.all([start('whisper'), start('wav2vec2')]);
  const audio = (body: Uint8Array, parameters = {}) => ({ contentType: 'audio/wav', body, parameters });
  const picture = await readFile(join(GENERATION, 'picture.png'));
  for (const runner of [writer, letters]) {
    await assert.rejects(runner.infer(audio(Buffer.from('ID3 music'))), (error) =>
      isAppError(error, 'AUDIO_INVALID'),
    );
    await assert.rejects(runner.infer(audio(picture)), (error) => isAppError(error, 'INPUT_KIND_WRONG'));
  }
  const sound = await readFile(join(GENERATION, 'sounds', 'short.wav'));
  for (const parameters of [{ return_timestamps: true }, { generation_parameters: { num_beams: 2 } }])
    await assert.rejects(letters.infer(audio(sound, parameters)), (error) =>
      isAppError(error, 'PARAMETERS_INVALID'),
    );
});

it('every model passes its own golden inputs', async () => {
  for (const name of ['marian', 'bart', 'gpt2', 'wav2vec2'] as const) {
    const folder = await openModelFolder(join(GENERATION, name));
    const { kind } = await selfTest(await start(name), folder);
    assert.equal(kind, name === 'wav2vec2' ? 'smoke' : 'golden');
  }
});
