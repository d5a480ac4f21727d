/** The smallest language model that llama.cpp loads: two layers of random weights, always the same, over single bytes. */
const [VOCABULARY, WIDTH, LAYERS, HIDDEN, HEADS] = [262, 64, 2, 128, 4];
const CONTEXT = 512;
const ALIGNMENT = 32;
/** Token of the byte 0. */
const FIRST_BYTE = 3;
/** Types of values, as ggml’s specification of the format numbers them. */
const [U32, I32, F32, TEXT, ARRAY] = [4, 5, 6, 8, 9];

const u32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
};
const u64 = (value: number): Buffer => {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes;
};
const f32 = (values: readonly number[]): Buffer => Buffer.from(new Float32Array(values).buffer);
const text = (value: string): Buffer => Buffer.concat([u64(Buffer.byteLength(value)), Buffer.from(value)]);

const say = (key: string, type: number, value: Buffer): Buffer =>
  Buffer.concat([text(key), u32(type), value]);
const sayU32 = (key: string, value: number): Buffer => say(key, U32, u32(value));
const sayText = (key: string, value: string): Buffer => say(key, TEXT, text(value));
const sayList = (key: string, type: number, items: readonly Buffer[]): Buffer =>
  say(key, ARRAY, Buffer.concat([u32(type), u64(items.length), ...items]));

/** Of Numerical Recipes: good enough for weights. */
function randoms(): () => number {
  let state = 1;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return (state / 2 ** 32 - 0.5) * 0.4;
  };
}

/** A file for `llama-server -m`. Its chats are their messages, one after another. */
export function tinyGguf(): Buffer {
  const bytes = Array.from(
    { length: 256 },
    (_, at) => `<0x${at.toString(16).toUpperCase().padStart(2, '0')}>`,
  );
  const tokens = ['<unk>', '<s>', '</s>', ...bytes, '▁', 'a', 'b'];
  // Unknown, control, byte, normal.
  const types = [2, 3, 3, ...bytes.map(() => 6), 1, 1, 1];
  const facts = [
    sayText('general.architecture', 'llama'),
    sayText('general.name', 'tiny'),
    sayU32('general.file_type', 0),
    sayU32('llama.context_length', CONTEXT),
    sayU32('llama.embedding_length', WIDTH),
    sayU32('llama.block_count', LAYERS),
    sayU32('llama.feed_forward_length', HIDDEN),
    sayU32('llama.attention.head_count', HEADS),
    sayU32('llama.attention.head_count_kv', HEADS),
    say('llama.attention.layer_norm_rms_epsilon', F32, f32([1e-5])),
    sayU32('llama.rope.dimension_count', WIDTH / HEADS),
    sayU32('llama.vocab_size', VOCABULARY),
    sayText('tokenizer.ggml.model', 'llama'),
    sayList('tokenizer.ggml.tokens', TEXT, tokens.map(text)),
    sayList(
      'tokenizer.ggml.scores',
      F32,
      tokens.map(() => f32([0])),
    ),
    sayList('tokenizer.ggml.token_type', I32, types.map(u32)),
    sayU32('tokenizer.ggml.bos_token_id', 1),
    sayU32('tokenizer.ggml.eos_token_id', 2),
    sayU32('tokenizer.ggml.unknown_token_id', 0),
    sayText('tokenizer.chat_template', "{% for m in messages %}{{ m['content'] }}{% endfor %}"),
  ];
  const random = randoms();
  const weights = (name: string, ...dims: number[]) => ({
    ...{ name, dims },
    data: f32(Array.from({ length: dims.reduce((all, one) => all * one, 1) }, random)),
  });
  const ones = (name: string) => ({ name, dims: [WIDTH], data: f32(new Array<number>(WIDTH).fill(1)) });
  const tensors = [
    weights('token_embd.weight', WIDTH, VOCABULARY),
    ones('output_norm.weight'),
    printable(weights('output.weight', WIDTH, VOCABULARY)),
    ...Array.from({ length: LAYERS }, (_, layer) => `blk.${layer}.`).flatMap((at) => [
      ...[ones(`${at}attn_norm.weight`), ones(`${at}ffn_norm.weight`)],
      ...['q', 'k', 'v', 'output'].map((one) => weights(`${at}attn_${one}.weight`, WIDTH, WIDTH)),
      ...[
        weights(`${at}ffn_gate.weight`, WIDTH, HIDDEN),
        weights(`${at}ffn_up.weight`, WIDTH, HIDDEN),
        weights(`${at}ffn_down.weight`, HIDDEN, WIDTH),
      ],
    ]),
  ];
  let offset = 0;
  const described = tensors.map(({ name, dims, data }) => {
    const one = Buffer.concat([text(name), u32(dims.length), ...dims.map(u64), u32(0), u64(offset)]);
    offset += Math.ceil(data.length / ALIGNMENT) * ALIGNMENT;
    return one;
  });
  const head = Buffer.concat([
    ...[Buffer.from('GGUF'), u32(3), u64(tensors.length), u64(facts.length)],
    ...facts,
    ...described,
  ]);
  return Buffer.concat([padded(head), ...tensors.map(({ data }) => padded(data))]);
}

/** Rows of what is no letter, digit or sign are zero: parts of characters, which servers tell in ways of their own, are never the likeliest. */
function printable<T extends { readonly data: Buffer }>(output: T): T {
  const rowBytes = WIDTH * 4;
  for (let token = 0; token < VOCABULARY; token++) {
    const byte = token - FIRST_BYTE;
    if ((byte >= 0x20 && byte < 0x7f) || byte > 256) continue;
    output.data.fill(0, token * rowBytes, (token + 1) * rowBytes);
  }
  return output;
}

const padded = (bytes: Buffer): Buffer =>
  Buffer.concat([bytes, Buffer.alloc((ALIGNMENT - (bytes.length % ALIGNMENT)) % ALIGNMENT)]);
