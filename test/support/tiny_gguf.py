"""Writes a tiny llama of random weights with a byte tokenizer, in GGUF: python tiny_gguf.py FILE. Needs gguf and numpy."""

import sys

import gguf
import numpy as np

np.random.seed(1)
WORDS, WIDTH, LAYERS, HEADS, INNER = 262, 64, 2, 4, 128
out = gguf.GGUFWriter(sys.argv[1], "llama")
out.add_name("tiny")
out.add_context_length(512)
out.add_embedding_length(WIDTH)
out.add_block_count(LAYERS)
out.add_feed_forward_length(INNER)
out.add_head_count(HEADS)
out.add_head_count_kv(HEADS)
out.add_layer_norm_rms_eps(1e-5)
out.add_rope_dimension_count(WIDTH // HEADS)
out.add_vocab_size(WORDS)
out.add_file_type(0)
out.add_tokenizer_model("llama")
out.add_token_list([b"<unk>", b"<s>", b"</s>"] + [b"<0x%02X>" % one for one in range(256)] + ["▁".encode(), b"a", b"b"])
out.add_token_scores([0.0] * WORDS)
out.add_token_types([2, 3, 3] + [6] * 256 + [1] * 3)
out.add_bos_token_id(1)
out.add_eos_token_id(2)
out.add_unk_token_id(0)
out.add_chat_template("{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}assistant:")


def chance(*shape):
    return (np.random.randn(*shape) * 0.05).astype(np.float32)


out.add_tensor("token_embd.weight", chance(WORDS, WIDTH))
out.add_tensor("output_norm.weight", np.ones(WIDTH, np.float32))
out.add_tensor("output.weight", chance(WORDS, WIDTH))
for layer in range(LAYERS):
    at = f"blk.{layer}."
    out.add_tensor(at + "attn_norm.weight", np.ones(WIDTH, np.float32))
    out.add_tensor(at + "ffn_norm.weight", np.ones(WIDTH, np.float32))
    for name in "qkv":
        out.add_tensor(f"{at}attn_{name}.weight", chance(WIDTH, WIDTH))
    out.add_tensor(at + "attn_output.weight", chance(WIDTH, WIDTH))
    out.add_tensor(at + "ffn_gate.weight", chance(INNER, WIDTH))
    out.add_tensor(at + "ffn_up.weight", chance(INNER, WIDTH))
    out.add_tensor(at + "ffn_down.weight", chance(WIDTH, INNER))
out.write_header_to_file()
out.write_kv_data_to_file()
out.write_tensors_to_file()
out.close()
