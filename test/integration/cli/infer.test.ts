/** `outrider infer` against models that really generate, and how it sends what it is given. */
import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it, type TestContext } from 'node:test';
import { HubClient } from '../../../cli/hub-client.ts';
import { isAppError } from '../../../shared/runtime/errors.ts';
import { temporaryFolder } from '../../support/fixed.ts';
import { GENERATION, type GenerationHub, references, startGenerationHub } from '../../support/generation.ts';
import { outrider } from '../../support/programs.ts';

describe('outrider infer', () => {
  let hub: GenerationHub;
  before(async () => {
    hub = await startGenerationHub();
  });
  after(() => hub.stop());

  async function run(t: TestContext, ...args: string[]): Promise<{ code: number | null; output: string }> {
    const cwd = await temporaryFolder(t);
    const program = outrider(t, ['infer', ...args, '--hub', hub.url, '--key', hub.adminKey], { cwd });
    const { code } = await program.exited;
    return { code, output: program.output() };
  }

  it('takes parameters, texts and files, and prints the text', async (t) => {
    const { marian, whisper } = await references();
    const [plain] = marian;
    const beams = marian.find(
      ({ input, parameters }) => input === plain?.input && /"num_beams":4/.test(JSON.stringify(parameters)),
    );
    const parameters = JSON.stringify(beams?.parameters);
    const file = join(await temporaryFolder(t), 'text.txt');
    await writeFile(file, plain?.input ?? '');
    const [byText, byFile, raw] = await Promise.all([
      run(t, 'marian', plain?.input ?? '', '--parameters', parameters),
      run(t, 'marian', file, '--parameters', parameters),
      run(t, 'marian', file, '--json'),
    ]);
    assert.equal(byText.output.trim(), beams?.text.trim());
    assert.equal(byFile.output, byText.output);
    assert.deepEqual(JSON.parse(raw.output), [{ translation_text: plain?.text }]);
    const sound = join(GENERATION, 'sounds', whisper[0]?.input ?? '');
    const { output } = await run(t, 'whisper', sound, '--parameters', '{"return_timestamps": true}');
    assert.match(output, /^from +to +text\n/);
  });

  it('reads standard input where it is asked to: a text, and a sound', async (t) => {
    const { marian, whisper } = await references();
    const ask = async (model: string, input: string | Uint8Array): Promise<unknown> => {
      const args = ['infer', model, '-', '--json', '--hub', hub.url, '--key', hub.adminKey];
      const program = outrider(t, args, { input });
      await program.exited;
      return JSON.parse(program.output());
    };
    assert.deepEqual(await ask('marian', marian[0]?.input ?? ''), [{ translation_text: marian[0]?.text }]);
    const sound = await readFile(join(GENERATION, 'sounds', whisper[0]?.input ?? ''));
    const file = await run(t, 'whisper', join(GENERATION, 'sounds', whisper[0]?.input ?? ''), '--json');
    assert.deepEqual(await ask('whisper', sound), JSON.parse(file.output));
  });

  it('says what is wrong with what it is given', async (t) => {
    const [json, file, unknown, question] = await Promise.all([
      run(t, 'marian', 'a', '--parameters', '[1]'),
      run(t, 'whisper', 'nothing.wav'),
      run(t, 'marian', 'a', '--parameters', '{"beams": 1}'),
      run(t, 'marian', 'a', '--question', 'Who?'),
    ]);
    assert.match(json.output, /--parameters is a JSON object.*\(USAGE\)/);
    assert.match(file.output, /there is no file nothing\.wav \(FILE_UNREADABLE\)/);
    assert.match(unknown.output, /beams.*\(PARAMETERS_INVALID\)/);
    assert.match(question.output, /--question is not for translation \(USAGE\)/);
    assert.deepEqual([json.code, question.code], [2, 2]);
  });

  it('hears a text as it is generated', async () => {
    const client = new HubClient(hub.url, hub.key);
    const [{ input, text, parameters } = assert.fail()] = (await references()).gpt2;
    const pieces: string[] = [];
    for await (const piece of client.generate('gpt2', { inputs: input, parameters, stream: true }))
      pieces.push(piece);
    assert.ok(pieces.length > 1);
    // A character that its tokens never made whole is in no piece.
    assert.ok(
      text.startsWith(
        pieces
          .join('')
          .replace(/\uFFFD+$/, '')
          .slice(0, 1),
      ),
    );
    const refused = client.generate('gpt2', { inputs: input, parameters: { beams: 1 }, stream: true });
    await assert.rejects(refused.next(), (error) => isAppError(error, 'PARAMETERS_INVALID'));
  });
});
