import assert from 'node:assert/strict';
import { test } from 'node:test';
import { tellFamily } from '../../../../../shared/release/folder/detector-family.ts';
import { chooseGraphs, requireFiles, smallFiles } from '../../../../../shared/release/import/choose-files.ts';
import type { Signature } from '../../../../../shared/release/import/misfits.ts';
import { checkSignature } from '../../../../../shared/release/import/signature-check.ts';
import { guessTask } from '../../../../../shared/release/import/task-guess.ts';

const guess = (
  architecture: string | undefined,
  { card, files = [] }: { card?: string; files?: string[] } = {},
) =>
  guessTask({
    config: architecture === undefined ? undefined : { architectures: [architecture] },
    files: new Set(files),
    card,
  })?.task;
const card = (tag: string) =>
  `---\nlicense: mit\npipeline_tag: ${tag}\n---\n# A model\npipeline_tag: tensor\n`;

test('the task follows from transformers’ class', () => {
  const known = {
    ViTForImageClassification: 'image-classification',
    DetrForObjectDetection: 'object-detection',
    DistilBertForSequenceClassification: 'text-classification',
    BertForTokenClassification: 'token-classification',
    RobertaForQuestionAnswering: 'question-answering',
    BertForMaskedLM: 'fill-mask',
    BertModel: 'feature-extraction',
    MarianMTModel: 'translation',
    PegasusForConditionalGeneration: 'summarization',
    GPT2LMHeadModel: 'text-generation',
    LlamaForCausalLM: 'text-generation',
    WhisperForConditionalGeneration: 'automatic-speech-recognition',
    Wav2Vec2ForCTC: 'automatic-speech-recognition',
    ViTModel: 'image-feature-extraction',
    CLIPVisionModelWithProjection: 'image-feature-extraction',
    CLIPModel: 'zero-shot-image-classification',
    SiglipModel: 'zero-shot-image-classification',
    VisionEncoderDecoderModel: 'image-to-text',
  };
  for (const [architecture, task] of Object.entries(known))
    assert.equal(guess(architecture), task, architecture);
});

test('where the class is left out, the kind of model may say it', () => {
  const byType = (model_type: string, architectures: string[] | null = null) =>
    guessTask({ config: { architectures, model_type }, files: new Set(), card: undefined })?.task;
  assert.equal(byType('marian'), 'translation');
  assert.equal(byType('whisper', []), 'automatic-speech-recognition');
  assert.equal(byType('bert'), undefined);
  assert.equal(byType('gpt2', ['SomethingNew']), undefined);
});

test('where it does not, the card may say it, and else nobody does', () => {
  assert.equal(guess('T5ForConditionalGeneration'), undefined);
  assert.equal(guess('T5ForConditionalGeneration', { card: card('translation') }), 'translation');
  assert.equal(guess('SomethingNew'), undefined);
  assert.equal(guess(undefined), undefined);
  assert.equal(guess(undefined, { card: '# no head\npipeline_tag: translation' }), undefined);
  assert.equal(guess(undefined, { card: card('teleportation') }), undefined);
  assert.equal(
    guess('BartForSequenceClassification', { card: card('zero-shot-classification') }),
    'zero-shot-classification',
  );
  assert.equal(guess('BertForSequenceClassification', { card: card('text-ranking') }), 'text-ranking');
  assert.equal(guess('BertModel', { files: ['modules.json'] }), 'feature-extraction');
  assert.equal(guess(undefined, { card: card('sentence-similarity') }), 'feature-extraction');
});

test('a cross-encoder is told by sentence-transformers’ settings, unless it has the three labels of NLI', () => {
  const settings = { sentence_transformers: { version: '6.2.0' } };
  const old = { sbert_ce_default_activation_function: 'torch.nn.modules.linear.Identity' };
  const of = (more: object) => {
    const config = { architectures: ['BertForSequenceClassification'], model_type: 'bert', ...more };
    return guessTask({ config, files: new Set(), card: undefined })?.task;
  };
  assert.equal(of({ ...settings, id2label: { 0: 'LABEL_0' } }), 'text-ranking');
  assert.equal(of({ ...old, id2label: { 0: 'LABEL_0' } }), 'text-ranking');
  assert.equal(of({ ...settings, id2label: { 0: 'a', 1: 'b', 2: 'c' } }), 'text-classification');
  assert.equal(of({ id2label: { 0: 'LABEL_0' } }), 'text-classification');
});

const files = (...paths: string[]) => paths.map((path) => ({ path, bytes: 10 }));

test('of many variants full precision is taken, or the one that is wanted', () => {
  const all = files('onnx/model.onnx', 'onnx/model_fp16.onnx', 'onnx/model_quantized.onnx', 'config.json');
  const choose = (variant?: 'q8' | 'q4') => chooseGraphs('text-classification', all, variant).graphs;
  assert.deepEqual(choose(), ['onnx/model.onnx']);
  assert.deepEqual(choose('q8'), ['onnx/model_quantized.onnx']);
  assert.throws(() => choose('q4'), /as q4; there is: onnx\/model\.onnx/);
});

test('a graph at the top, or of any name where it is the only one, will do', () => {
  assert.deepEqual(chooseGraphs('fill-mask', files('model.onnx'), undefined).graphs, ['model.onnx']);
  assert.deepEqual(chooseGraphs('tensor', files('best.onnx'), undefined).graphs, ['best.onnx']);
  assert.throws(() => chooseGraphs('tensor', files('a.onnx', 'b.onnx'), undefined), {
    code: 'MODEL_INVALID',
  });
  assert.throws(() => chooseGraphs('tensor', files('pytorch_model.bin'), undefined), /has no \.onnx file/);
});

test('a model that translates has an encoder and a decoder', () => {
  const both = files('onnx/encoder_model.onnx', 'onnx/decoder_model.onnx', 'onnx/decoder_model_merged.onnx');
  assert.deepEqual(chooseGraphs('translation', both, undefined).graphs, [
    'onnx/encoder_model.onnx',
    'onnx/decoder_model_merged.onnx',
  ]);
  assert.throws(
    () => chooseGraphs('translation', files('onnx/model.onnx'), undefined),
    /encoder_model and decoder_model_merged/,
  );
  const split = ['encoder_model.onnx', 'decoder_model.onnx', 'decoder_with_past_model.onnx'];
  assert.deepEqual(chooseGraphs('translation', files(...split), undefined).graphs, split);
  assert.deepEqual(
    chooseGraphs('text-generation', files(...split.slice(1)), undefined).graphs,
    split.slice(1),
  );
  assert.deepEqual(
    chooseGraphs('summarization', files(...split.slice(0, 2)), undefined).graphs,
    split.slice(0, 2),
  );
});

test('only what a runner or people read is fetched, and what it needs must be there', () => {
  const chosen = smallFiles(
    files(
      'config.json',
      'README.md',
      'LICENSE',
      '1_Pooling/config.json',
      'pytorch_model.bin',
      'a/b.py',
      'vocab.txt',
    ),
  );
  assert.deepEqual(
    chosen.map(({ path }) => path),
    ['config.json', 'README.md', 'LICENSE', '1_Pooling/config.json'],
  );
  assert.throws(() => smallFiles([{ path: 'tokenizer.json', bytes: 1e9 }]), { code: 'INPUT_TOO_LARGE' });
  assert.throws(() => requireFiles('fill-mask', new Set(), false), /tokenizer\.json is missing/);
  assert.throws(
    () => requireFiles('image-classification', new Set(), false),
    /preprocessor_config\.json is missing/,
  );
  requireFiles('object-detection', new Set(), true);
  requireFiles('tensor', new Set(), false);
});

const value = (name: string, type: string, dims: (number | null)[]) => ({ name, type, dims });
const ids = value('input_ids', 'int64', [null, null]);
const picture = value('pixel_values', 'float32', [null, 3, 224, 224]);

test('a graph that does not fit its task is refused, saying why', () => {
  const refusals: [Parameters<typeof checkSignature>[0], Signature, number | undefined, RegExp][] = [
    [
      'image-classification',
      { inputs: [value('x', 'float32', [1, 224, 224, 4])], outputs: [] },
      2,
      /x float32\[1,224,224,4\]; float32, float16 and uint8 can be fed, \[N,C,H,W\] or \[N,H,W,C\] of 1 or 3 channels/,
    ],
    [
      'image-classification',
      { inputs: [value('x', 'float64', [1, 3, 8, 8])], outputs: [] },
      2,
      /x float64\[1,3,8,8\]; float32, float16 and uint8 can be fed/,
    ],
    [
      'image-classification',
      { inputs: [picture], outputs: [value('y', 'float32', [null, 3])] },
      2,
      /gives 3 numbers, and has 2 labels/,
    ],
    [
      'text-classification',
      { inputs: [ids, value('past_key', 'float32', [null, null])], outputs: [] },
      2,
      /takes past_key/,
    ],
    [
      'text-classification',
      { inputs: [ids], outputs: [value('logits', 'float32', [null, null, 2])] },
      2,
      /expected 2 axes/,
    ],
    [
      'question-answering',
      { inputs: [ids], outputs: [value('logits', 'float32', [null, null, 2])] },
      undefined,
      /start_logits/,
    ],
    [
      'fill-mask',
      { inputs: [value('attention_mask', 'int64', [null, null])], outputs: [] },
      undefined,
      /no input_ids/,
    ],
    [
      'token-classification',
      { inputs: [value('input_ids', 'int32', [null, null])], outputs: [] },
      2,
      /expected int64/,
    ],
    ['tensor', { inputs: [value('x', 'bfloat16', [1])], outputs: [] }, undefined, /bfloat16/],
  ];
  for (const [task, signature, labels, why] of refusals)
    assert.throws(
      () => checkSignature(task, signature, { file: 'model.onnx', labels }),
      (error: Error) => {
        assert.match(error.message, /^model\.onnx does not fit /);
        assert.match(error.message, why);
        return true;
      },
    );
});

test('a graph that fits passes, also where its exporter left shapes out', () => {
  const pass = (task: Parameters<typeof checkSignature>[0], signature: Signature, labels?: number) =>
    checkSignature(task, signature, { file: 'model.onnx', labels });
  pass('image-classification', { inputs: [picture], outputs: [value('logits', 'float32', [null, 2])] }, 2);
  pass('text-classification', { inputs: [ids], outputs: [value('logits', 'float32', [])] }, 2);
  pass(
    'object-detection',
    { inputs: [picture, value('pixel_mask', 'int64', [null, 64, 64])], outputs: [] },
    2,
  );
});

test('how boxes are written is told where only one way fits', () => {
  const family = (dims: (number | null)[], labels: number, hasBoxes = false) => {
    const told = tellFamily(dims, hasBoxes, labels);
    return 'family' in told ? told.family : told.unclear;
  };
  assert.equal(family([1, 84, 8400], 80), 'yolov8');
  assert.equal(family([1, 300, 6], 80), 'yolov10');
  assert.equal(family([1, 3549, 85], 80), 'an output [1,3549,85] may be of yolox or of yolov5');
  assert.match(family([1, 10], 80), /is of no family that is known/);
  assert.equal(family([null, 100, 92], 91, true), 'detr');
  assert.equal(family([null, 100, 91], 91, true), 'rt-detr');
  assert.match(family([null, 100, 7], 91, true), /fit neither 91 labels nor 92/);
});
