"""A small Marian Transformer (encoder, decoder, post-norm, sinusoidal positions), and its two ONNX graphs.

The weights have the names of transformers' MarianMTModel, which gives the same logits. N sentences, S source tokens,
T target tokens, P target tokens in the cache, W wide, H heads of D, V words.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from .dropout import Dropout
from .onnx_files import OPSET

NEVER = -1e4


@dataclass(frozen=True)
class Shape:
    words: int
    width: int
    heads: int
    encoder_layers: int
    decoder_layers: int
    inner: int
    positions: int
    dropout: float

    def config(self) -> dict:
        """Hugging Face's config.json without token ids."""
        return {
            "architectures": ["MarianMTModel"],
            "model_type": "marian",
            "is_encoder_decoder": True,
            "vocab_size": self.words,
            "decoder_vocab_size": self.words,
            "d_model": self.width,
            "encoder_layers": self.encoder_layers,
            "decoder_layers": self.decoder_layers,
            "encoder_attention_heads": self.heads,
            "decoder_attention_heads": self.heads,
            "encoder_ffn_dim": self.inner,
            "decoder_ffn_dim": self.inner,
            "activation_function": "relu",
            "dropout": self.dropout,
            "attention_dropout": 0.0,
            "activation_dropout": 0.0,
            "max_position_embeddings": self.positions,
            "scale_embedding": True,
            "share_encoder_decoder_embeddings": True,
            "tie_word_embeddings": True,
            "static_position_embeddings": True,
            "normalize_before": False,
            "normalize_embedding": False,
            "use_cache": True,
        }


def split_heads(hidden: Tensor, heads: int) -> Tensor:
    """f32[N,L,W] -> f32[N,H,L,D]"""
    return hidden.view(hidden.size(0), -1, heads, hidden.size(2) // heads).transpose(1, 2)


class Attention(nn.Module):
    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        # f32[N,H,T,L] of the last pass in training, for a loss that guides it.
        self.weights: Tensor | None = None
        self.k_proj, self.v_proj = nn.Linear(width, width), nn.Linear(width, width)
        self.q_proj, self.out_proj = nn.Linear(width, width), nn.Linear(width, width)

    def keys_values(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """f32[N,L,W] -> two f32[N,H,L,D]"""
        return split_heads(self.k_proj(hidden), self.heads), split_heads(self.v_proj(hidden), self.heads)

    def forward(self, hidden: Tensor, keys: Tensor, values: Tensor, mask: Tensor) -> Tensor:
        """`mask`: f32, added to the f32[N,H,T,L] weights before softmax."""
        queries = split_heads(self.q_proj(hidden), self.heads) * keys.size(3) ** -0.5
        weights = torch.softmax(queries @ keys.transpose(2, 3) + mask, 3)
        self.weights = weights if self.training else None
        return self.out_proj((weights @ values).transpose(1, 2).reshape(hidden.shape))


class FeedForward(nn.Module):
    """The second half of every layer; mixed in for the names of its weights."""

    def __init__(self, shape: Shape):
        super().__init__()
        self.self_attn = Attention(shape.width, shape.heads)
        self.self_attn_layer_norm = nn.LayerNorm(shape.width)
        self.fc1, self.fc2 = nn.Linear(shape.width, shape.inner), nn.Linear(shape.inner, shape.width)
        self.final_layer_norm = nn.LayerNorm(shape.width)
        self.drop = Dropout(shape.dropout)

    def feed_forward(self, hidden: Tensor) -> Tensor:
        return self.final_layer_norm(hidden + self.drop(self.fc2(torch.relu(self.fc1(hidden)))))


class EncoderLayer(FeedForward):
    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        attended = self.self_attn(hidden, *self.self_attn.keys_values(hidden), mask)
        return self.feed_forward(self.self_attn_layer_norm(hidden + self.drop(attended)))


class DecoderLayer(FeedForward):
    def __init__(self, shape: Shape):
        super().__init__(shape)
        self.encoder_attn = Attention(shape.width, shape.heads)
        self.encoder_attn_layer_norm = nn.LayerNorm(shape.width)

    def forward(self, hidden: Tensor, own, own_mask: Tensor, source, source_mask: Tensor) -> Tensor:
        """`own`, `source`: keys and values f32[N,H,L,D] of the target so far and of the source."""
        attended = self.self_attn(hidden, *own, own_mask)
        hidden = self.self_attn_layer_norm(hidden + self.drop(attended))
        attended = self.encoder_attn(hidden, *source, source_mask)
        return self.feed_forward(self.encoder_attn_layer_norm(hidden + self.drop(attended)))


class Stack(nn.Module):
    def __init__(self, layers: list[nn.Module]):
        super().__init__()
        self.layers = nn.ModuleList(layers)


class Marian(nn.Module):
    def __init__(self, shape: Shape, pad: int):
        super().__init__()
        self.shape = shape
        self.shared = nn.Embedding(shape.words, shape.width, padding_idx=pad)
        nn.init.normal_(self.shared.weight, std=shape.width**-0.5)
        self.encoder = Stack([EncoderLayer(shape) for _ in range(shape.encoder_layers)])
        self.decoder = Stack([DecoderLayer(shape) for _ in range(shape.decoder_layers)])
        self.drop = Dropout(shape.dropout)
        for name, weight in self.named_parameters():
            if weight.dim() == 2 and name != "shared.weight":
                nn.init.xavier_uniform_(weight)
        # The padding token starts a sentence and is never an answer.
        bias = torch.zeros(1, shape.words)
        bias[0, pad] = NEVER
        self.register_buffer("final_logits_bias", bias)
        self.register_buffer("sinusoids", sinusoids(shape.positions, shape.width), persistent=False)

    def embed(self, ids: Tensor, past: int | Tensor = 0) -> Tensor:
        """i64[N,L] -> f32[N,L,W]; the first of them stands at position `past`."""
        positions = self.sinusoids[past : past + ids.size(1)]
        return self.drop(self.shared(ids) * self.shape.width**0.5 + positions)

    def encode(self, ids: Tensor, mask: Tensor) -> Tensor:
        """i64[N,S] ids, i64[N,S] mask -> f32[N,S,W]"""
        hidden, hide = self.embed(ids), hide_padding(mask)
        for layer in self.encoder.layers:
            hidden = layer(hidden, hide)
        return hidden

    def decode(self, ids: Tensor, encoded: Tensor, mask: Tensor) -> Tensor:
        """i64[N,T] target so far, f32[N,S,W] source, i64[N,S] its mask -> f32[N,T,W]"""
        hidden, hide, future = self.embed(ids), hide_padding(mask), hide_future(ids.size(1), 0)
        for layer in self.decoder.layers:
            source = layer.encoder_attn.keys_values(encoded)
            hidden = layer(hidden, layer.self_attn.keys_values(hidden), future, source, hide)
        return hidden

    def logits(self, hidden: Tensor) -> Tensor:
        """f32[...,W] -> f32[...,V]"""
        return hidden @ self.shared.weight.t() + self.final_logits_bias


def sinusoids(positions: int, width: int) -> Tensor:
    """f32[positions,W]: sines in the first half, cosines in the second, as transformers has them."""
    angles = np.arange(positions)[:, None] / 10000 ** (2 * np.arange(width // 2) / width)
    return torch.from_numpy(np.concatenate([np.sin(angles), np.cos(angles)], 1).astype(np.float32))


def hide_padding(mask: Tensor) -> Tensor:
    """i64[N,S] -> f32[N,1,1,S]: 0 for a token, NEVER for padding"""
    return (1 - mask[:, None, None].float()) * NEVER


def hide_future(tokens: int | Tensor, past: int | Tensor) -> Tensor:
    """f32[T,P+T]: token t sees the P cached tokens and the first t + 1 new ones."""
    return torch.full((tokens, tokens + past), NEVER).triu(1 + past)


class Encoder(nn.Module):
    """The graph encoder_model."""

    def __init__(self, model: Marian):
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        return self.model.encode(input_ids, attention_mask)


@torch.jit.script
def cached_or_computed(
    cached: Tensor, past_key: Tensor, past_value: Tensor, encoded: Tensor, key: Tensor, value: Tensor, bias: Tensor, heads: int
):
    """The source's keys and values: from the cache, or from the encoder's output. Scripted, so that it becomes an If node.

    `key`, `value`: f32[W,W]; `bias`: f32[2,W].
    """
    if bool(cached):
        keys, values = past_key, past_value
    else:
        size = encoded.size(2) // heads
        keys = (encoded @ key + bias[0]).view(encoded.size(0), -1, heads, size).transpose(1, 2)
        values = (encoded @ value + bias[1]).view(encoded.size(0), -1, heads, size).transpose(1, 2)
    return keys, values


class MergedDecoder(nn.Module):
    """The graph decoder_model_merged: with and without a cache, as `use_cache_branch` says.

    Without one the past has length 0. `present` holds all four tensors of a layer either way.
    """

    def __init__(self, model: Marian):
        super().__init__()
        self.model = model

    def forward(self, mask: Tensor, ids: Tensor, encoded: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
        """`rest`: four f32[N,H,L,D] of each layer (own key and value, the source's key and value), then bool[1]."""
        model, pasts, cached = self.model, rest[:-1], rest[-1]
        past = pasts[0].size(2)
        hidden, hide = model.embed(ids, past), hide_padding(mask)
        rows = torch.arange(ids.size(1))[:, None] + past
        future = (torch.arange(ids.size(1) + past)[None] > rows).float() * NEVER
        present: list[Tensor] = []
        for index, layer in enumerate(model.decoder.layers):
            past_key, past_value, source_key, source_value = pasts[4 * index : 4 * index + 4]
            key, value = layer.self_attn.keys_values(hidden)
            own = torch.cat([past_key, key], 2), torch.cat([past_value, value], 2)
            attention = layer.encoder_attn
            source = cached_or_computed(
                cached,
                source_key,
                source_value,
                encoded,
                attention.k_proj.weight.t(),
                attention.v_proj.weight.t(),
                torch.stack([attention.k_proj.bias, attention.v_proj.bias]),
                attention.heads,
            )
            hidden = layer(hidden, own, future, source, hide)
            present += [*own, *source]
        return model.logits(hidden), *present


def cache_names(layers: int, prefix: str) -> list[str]:
    return [f"{prefix}.{n}.{side}.{part}" for n in range(layers) for side in ("decoder", "encoder") for part in ("key", "value")]


def export_graphs(model: Marian, folder: Path) -> tuple[Path, Path]:
    """Writes encoder_model.onnx and decoder_model_merged.onnx with the names that transformers.js feeds."""
    folder.mkdir(parents=True, exist_ok=True)
    encoder, decoder = folder / "encoder_model.onnx", folder / "decoder_model_merged.onnx"
    shape, settings = model.eval().shape, {"opset_version": OPSET, "dynamo": False}
    ids = torch.ones(2, 5, dtype=torch.int64)
    source = {0: "batch_size", 1: "encoder_sequence_length"}
    torch.onnx.export(
        Encoder(model).eval(),
        (ids, ids),
        str(encoder),
        input_names=["input_ids", "attention_mask"],
        output_names=["last_hidden_state"],
        dynamic_axes={"input_ids": source, "attention_mask": source, "last_hidden_state": source},
        **settings,
    )
    pasts, presents = cache_names(shape.decoder_layers, "past_key_values"), cache_names(shape.decoder_layers, "present")
    inputs = ["encoder_attention_mask", "input_ids", "encoder_hidden_states", *pasts, "use_cache_branch"]
    target = {0: "batch_size", 1: "decoder_sequence_length"}
    axes = {"encoder_attention_mask": source, "encoder_hidden_states": source, "input_ids": target, "logits": target}
    for name in (*pasts, *presents):
        past = "past_decoder_sequence_length" if name in pasts else "past_decoder_sequence_length + decoder_sequence_length"
        axes[name] = {0: "batch_size", 2: "encoder_sequence_length" if ".encoder." in name else past}
    size = shape.width // shape.heads
    own, other = torch.zeros(2, shape.heads, 3, size), torch.zeros(2, shape.heads, 5, size)
    torch.onnx.export(
        MergedDecoder(model).eval(),
        (ids, ids[:, :4], torch.zeros(2, 5, shape.width), *[own, own, other, other] * shape.decoder_layers, torch.tensor([True])),
        str(decoder),
        input_names=inputs,
        output_names=["logits", *presents],
        dynamic_axes=axes,
        **settings,
    )
    return encoder, decoder
