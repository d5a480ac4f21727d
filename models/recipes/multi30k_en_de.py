"""Builds models/multi30k-en-de: a small Marian Transformer that translates picture captions from English to German."""

from argparse import Namespace
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import nn

from outrider_recipes import multi30k
from outrider_recipes.alignment import align
from outrider_recipes.folder import write_model_folder
from outrider_recipes.generation import Translator
from outrider_recipes.marian import Marian, Shape, export_graphs
from outrider_recipes.multi30k import EOS, PAD, SPECIAL, UNKNOWN
from outrider_recipes.onnx_files import store_int8_weights
from outrider_recipes.run import log, parse_arguments, save_figures
from outrider_recipes.training import Training, warm_up_then_fall

NAME = "multi30k-en-de"
SHAPE = Shape(
    words=5000, width=160, heads=4, encoder_layers=4, decoder_layers=3, inner=320, positions=256, dropout=0.1
)
EPOCHS = 9
BATCH_TOKENS = 1024
PEAK_RATE = 2e-3
WARM_UP = 800
LABEL_SMOOTHING = 0.1
# One head of this decoder layer is taught where to look (arXiv:1607.01628): alone it is half of the training in finding out.
GUIDED_LAYER, GUIDED_HEAD, GUIDED_SHARE = 1, 0, 1.0
# The weights that are kept: a running mean over about this many last steps.
AVERAGED_STEPS = 300
BEAMS = 4
MAX_TOKENS = 128
GRAPHS = ("onnx/encoder_model.onnx", "onnx/decoder_model_merged.onnx")
GOLDEN = [
    "Two dogs are playing in the snow.",
    "A man in a blue shirt is standing on a ladder cleaning a window.",
    "Children are sitting at a table and eating ice cream.",
    "A woman with a red umbrella walks along the beach.",
]


class Average:
    """Exponential moving average of a model's weights."""

    def __init__(self, model: nn.Module):
        self.weights = {name: weight.detach().clone() for name, weight in model.state_dict().items()}

    def update(self, model: nn.Module, step: int) -> None:
        share = max(1 / AVERAGED_STEPS, 1 / (step + 1))
        for name, weight in model.state_dict().items():
            self.weights[name].lerp_(weight, share)

    def state_dict(self) -> dict:
        return self.weights

    def load_state_dict(self, state: dict) -> None:
        self.weights = state


def pad_rows(rows: list[list[int]]) -> torch.Tensor:
    """i64[N,L], padded on the right"""
    return nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], batch_first=True, padding_value=PAD)


def loss_of(
    model: Marian, sources: list[list[int]], targets: list[list[int]], alignments: list[np.ndarray]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cross entropies of every target token given the ones before it, and of where the guided head looks; rows end with </s>."""
    ids, wanted = pad_rows(sources), pad_rows(targets)
    mask = (ids != PAD).long()
    given = nn.functional.pad(wanted[:, :-1], (1, 0), value=PAD)
    hidden = model.decode(given, model.encode(ids, mask), mask)
    real = wanted != PAD
    logits = hidden[real] @ model.shared.weight.t()
    looks = model.decoder.layers[GUIDED_LAYER].encoder_attn.weights[:, GUIDED_HEAD]
    should = torch.zeros_like(looks)
    for row, alignment in zip(should, alignments):
        row[: alignment.shape[0], : alignment.shape[1]] = torch.from_numpy(alignment)
    guided = -(should * (looks + 1e-6).log()).sum() / real.sum()
    return nn.functional.cross_entropy(logits, wanted[real], label_smoothing=LABEL_SMOOTHING), guided


def train(model: Marian, sources: list[list[int]], targets: list[list[int]], out: Path) -> None:
    """Leaves the averaged weights in `model`."""
    lengths = np.array([max(len(s), len(t)) for s, t in zip(sources, targets)])
    steps = EPOCHS * len(multi30k.batches_by_tokens(lengths, BATCH_TOKENS, np.random.default_rng(0)))
    optimizer = torch.optim.AdamW(model.parameters(), PEAK_RATE, betas=(0.9, 0.98), weight_decay=0.01)
    schedule = warm_up_then_fall(optimizer, steps, WARM_UP)
    alignments = align(sources, targets, SHAPE.words)
    log("aligned the words")
    average = Average(model)
    training = Training(out / f"{NAME}.pt", model, optimizer, schedule, EPOCHS, average=average)
    for epoch in training.epochs():
        for indices in multi30k.batches_by_tokens(lengths, BATCH_TOKENS, np.random.default_rng(epoch)):
            loss, guided = loss_of(
                model, [sources[i] for i in indices], [targets[i] for i in indices], [alignments[i] for i in indices]
            )
            training.step(loss + GUIDED_SHARE * guided)
            average.update(model, schedule.last_epoch)
    model.load_state_dict(average.weights)


def translate(translator: Translator, tokenizer: Tokenizer, texts: list[str], beams: int) -> list[str]:
    """Greedily with one beam."""
    rows = [encoding.ids for encoding in tokenizer.encode_batch(texts)]
    found = [translator.greedy(row) if beams == 1 else translator.beam(row, beams) for row in rows]
    return [tokenizer.decode(ids) for ids in found]


def bleu(answers: list[str], references: list[str]) -> float:
    """sacrebleu's default: its own tokenization, case counts."""
    import sacrebleu

    return round(sacrebleu.corpus_bleu(answers, [references]).score, 2)


@torch.no_grad()
def greedy_torch(model: Marian, source: list[int]) -> list[int]:
    """What the graphs must repeat: the whole sentence anew for every token, no cache."""
    ids = torch.tensor([source])
    encoded, made = model.encode(ids, torch.ones_like(ids)), [PAD]
    while len(made) <= MAX_TOKENS:
        hidden = model.decode(torch.tensor([made]), encoded, torch.ones_like(ids))
        made.append(int(model.logits(hidden[0, -1]).argmax()))
        if made[-1] == EOS:
            return made[1:-1]
    return made[1:]


def same_as_torch(model: Marian, translator: Translator, sources: list[list[int]]) -> dict[str, float]:
    """Shares of sentences that come out the same from torch, from the graphs with their cache and from them without it."""
    cached = [translator.greedy(source) for source in sources]
    return {
        "asTorch": float(np.mean([made == greedy_torch(model, source) for made, source in zip(cached, sources)])),
        "asUncached": float(np.mean([made == translator.greedy(s, cached=False) for made, s in zip(cached, sources)])),
    }


def build(model: Marian, tokenizer: Tokenizer, val: multi30k.Captions, trained_on: int, arguments: Namespace) -> None:
    """Exports, stores int8 weights, measures both pairs of graphs on `val`, writes the folder."""
    floats = export_graphs(model, arguments.out / NAME)
    folder = arguments.models / NAME
    files = [folder / graph for graph in GRAPHS]
    for source, target in zip(floats, files):
        store_int8_weights(source, target)
    parts = {
        "float": Translator(*floats, PAD, EOS, MAX_TOKENS),
        "int8": Translator(*files, PAD, EOS, MAX_TOKENS, fold=True),
    }
    rows = [encoding.ids for encoding in tokenizer.encode_batch(val.sources[:200])]
    figures: dict = {"trainedOn": trained_on, "measuredOn": len(val), **same_as_torch(model, parts["float"], rows)}
    for part, translator in parts.items():
        for beams in (1, BEAMS):
            answers = translate(translator, tokenizer, val.sources, beams)
            figures[f"{part}Bleu{beams}"] = bleu(answers, val.targets)
    figures["bytes"] = sum(file.stat().st_size for file in files)
    save_figures(arguments.out, NAME, figures)
    write_folder(folder, tokenizer, parts["int8"])


def write_folder(folder: Path, tokenizer: Tokenizer, translator: Translator) -> None:
    tokens = {
        "pad_token_id": PAD,
        "eos_token_id": EOS,
        "decoder_start_token_id": PAD,
        "forced_eos_token_id": EOS,
        "bos_token_id": None,
    }
    generation = tokens | {"bad_words_ids": [[PAD]], "num_beams": BEAMS, "max_length": MAX_TOKENS}
    (folder / "tokenizer.json").write_text(tokenizer.to_str(), encoding="utf-8")
    write_model_folder(
        folder,
        spec={"task": "translation", "precision": "int8-weights", "foldDequantize": True, "batch": {"safe": True, "maxSize": 8}},
        documents={
            "config.json": SHAPE.config() | tokens,
            "generation_config.json": generation,
            "tokenizer_config.json": {
                "tokenizer_class": "PreTrainedTokenizerFast",
                "pad_token": SPECIAL[PAD],
                "eos_token": SPECIAL[EOS],
                "unk_token": SPECIAL[UNKNOWN],
                "model_max_length": MAX_TOKENS,
                "model_input_names": ["input_ids", "attention_mask"],
                "clean_up_tokenization_spaces": False,
            },
        },
        golden=[
            {"input": {"text": text}, "output": {"translation_text": answer}}
            for text, answer in zip(GOLDEN, translate(translator, tokenizer, GOLDEN, BEAMS))
        ],
        model_files=GRAPHS,
    )


def main() -> None:
    arguments = parse_arguments(__doc__)
    training, val = multi30k.load(arguments.data, "train"), multi30k.load(arguments.data, "val")
    tokenizer = multi30k.build_tokenizer([*training.sources, *training.targets], SHAPE.words)
    model = Marian(SHAPE, PAD)
    log(f"{sum(weight.numel() for weight in model.parameters()) / 1e6:.2f} M weights")

    def rows(texts: list[str]) -> list[list[int]]:
        return [encoding.ids for encoding in tokenizer.encode_batch(texts)]

    train(model, rows(training.sources), rows(training.targets), arguments.out)
    build(model, tokenizer, val, len(training), arguments)


if __name__ == "__main__":
    main()
