"""Builds models/squad-minilm: MiniLM-L6 fine-tuned to find answers in a paragraph, int8 weights and float compute."""

from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import nn

from outrider_recipes import squad
from outrider_recipes.dropout import replace_dropout
from outrider_recipes.folder import CLOUD_BATCH, MODEL_FILE, write_model_folder
from outrider_recipes.minilm import bert_documents, load_tokenizer, pretrained_folder, write_tokenizer
from outrider_recipes.onnx_files import OnnxModel, store_int8_weights
from outrider_recipes.run import parse_arguments, save_figures
from outrider_recipes.text_models import batches_by_length, export_text_model, pad, tensors
from outrider_recipes.training import Training, warm_up_then_fall

NAME = "squad-minilm"
EPOCHS = 1
# An epoch is trained in parts with a checkpoint after each: on one slow core it takes half an hour.
PARTS = 4
BATCH = 16
BODY_RATE = 1e-4
HEAD_RATE = 1e-3
WARM_UP = 0.06
# The word vectors and the lowest layer stay as they were pretrained: 7,933 questions would only bend them.
FROZEN_LAYERS = 1
TRAIN_LENGTH = 256
# Of a context that is too long, so many windows without the answer are trained on for one with it.
EMPTY_WINDOWS = 0.25
MAX_LENGTH = 384
STRIDE = 128
CLS, SEP = 101, 102
OUTPUTS = ("start_logits", "end_logits")
GOLDEN = [
    (
        "How many bridges cross the river?",
        "The town grew on both banks of the river. Seven bridges cross it today; the oldest, built of stone in 1402, was "
        "closed to carts in 1911.",
    ),
    (
        "When was the chapel finished?",
        "The chapel was finished in 1681. Its altar is the work of Anna Lindqvist, while the ceiling was painted by her "
        "pupil Matteo Rossi, who took eleven years.",
    ),
    (
        "How long did Rossi work on the ceiling?",
        "The chapel was finished in 1681. Its altar is the work of Anna Lindqvist, while the ceiling was painted by her "
        "pupil Matteo Rossi, who took eleven years.",
    ),
    (
        "Where do barn swallows spend the winter?",
        "Barn swallows spend the winter in southern Africa. They return in early April, usually to the nest that they "
        "left in September.",
    ),
]


class MiniLmReader(nn.Module):
    """The encoder, and one linear layer that gives every token its logit to start and its logit to end the answer."""

    def __init__(self):
        super().__init__()
        from transformers import BertForQuestionAnswering

        # No dropout of attention weights, and a cheaper one of the rest: a fifth of the time on a processor.
        self.bert = BertForQuestionAnswering.from_pretrained(
            pretrained_folder(), attn_implementation="eager", attention_probs_dropout_prob=0.0
        )
        replace_dropout(self.bert)

    def forward(self, input_ids, attention_mask, token_type_ids):
        """i64[N,L] -> two f32[N,L]."""
        out = self.bert(input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids)
        return out.start_logits, out.end_logits

    def parameter_groups(self) -> list[dict]:
        body = self.bert.bert
        body.embeddings.requires_grad_(False)
        for layer in body.encoder.layer[:FROZEN_LAYERS]:
            layer.requires_grad_(False)
        return [
            {"params": [p for p in body.parameters() if p.requires_grad], "lr": BODY_RATE},
            {"params": self.bert.qa_outputs.parameters(), "lr": HEAD_RATE},
        ]


def window(encoded: squad.Encoded, start: int, end: int) -> list[int]:
    """[CLS] question [SEP] context tokens [start, end) [SEP]"""
    return [CLS, *encoded.question, SEP, *encoded.context[start:end], SEP]


def batch_of(rows: list[list[int]], prefixes: list[int]) -> dict[str, np.ndarray]:
    """The inputs of the graph, i64[N,L]; `prefixes`: where each row's context starts."""
    inputs = pad(rows)
    segments = np.arange(inputs["input_ids"].shape[1])[None] >= np.array(prefixes)[:, None]
    return inputs | {"token_type_ids": segments * inputs["attention_mask"]}


def training_windows(
    questions: list[squad.Question], encoded: list[squad.Encoded], rng: np.random.Generator
) -> list[tuple[list[int], int, list[tuple[int, int]]]]:
    """(ids, prefix, answers) of one epoch: a window around each question's answer, and some that miss it.

    An answer is the place of its first and of its last token in the window; (0, 0), which is [CLS], says that there is none.
    """
    made = []
    for question, tokens in zip(questions, encoded):
        answers = squad.answer_tokens(question, tokens)
        room, length, prefix = TRAIN_LENGTH - tokens.prefix() - 1, len(tokens.context), tokens.prefix()
        first, last = answers[0]
        earliest, latest = max(0, last + 1 - room), min(first, max(0, length - room))
        start = int(rng.integers(min(earliest, latest), latest + 1))
        end = min(start + room, length)
        inside = [(a - start + prefix, b - start + prefix) for a, b in answers if a >= start and b < end]
        if inside:
            made.append((window(tokens, start, end), prefix, inside))
        others = [
            (a, b)
            for a, b in squad.strided(tokens, TRAIN_LENGTH, STRIDE // 2)
            if all(last < a or first >= b for first, last in answers)
        ]
        if others and rng.random() < EMPTY_WINDOWS * len(others):
            start, end = others[rng.integers(len(others))]
            made.append((window(tokens, start, end), prefix, [(0, 0)]))
    return made


def targets(answers: list[list[tuple[int, int]]], length: int) -> torch.Tensor:
    """f32[2,N,L]: how the annotators' answers are spread over the tokens, starts and ends."""
    spread = np.zeros((2, len(answers), length), np.float32)
    for row, spans in enumerate(answers):
        for first, last in spans:
            spread[0, row, first] += 1 / len(spans)
            spread[1, row, last] += 1 / len(spans)
    return torch.from_numpy(spread)


def train(model: MiniLmReader, questions: list[squad.Question], encoded: list[squad.Encoded], out: Path) -> None:
    steps = round(EPOCHS * len(training_windows(questions, encoded, np.random.default_rng(0))) / BATCH)
    optimizer = torch.optim.AdamW(model.parameter_groups(), weight_decay=0.01)
    schedule = warm_up_then_fall(optimizer, steps, WARM_UP * steps)
    training = Training(out / f"{NAME}.pt", model, optimizer, schedule, round(EPOCHS * PARTS), log_every=25)
    for part in training.epochs():
        epoch, slice_of_epoch = divmod(part, PARTS)
        rng = np.random.default_rng(epoch)
        windows = training_windows(questions, encoded, rng)
        batches = batches_by_length(np.array([len(ids) for ids, _, _ in windows]), BATCH, rng)
        for indices in batches[slice_of_epoch::PARTS]:
            rows, prefixes, answers = zip(*(windows[i] for i in indices))
            inputs = tensors(batch_of(rows, prefixes))
            wanted = targets(answers, inputs["input_ids"].shape[1])
            # No token of the question, no padding: [CLS] and the context share the probability.
            allowed = (inputs["token_type_ids"] == 1) | (torch.arange(wanted.shape[2])[None] == 0)
            logits = torch.stack(model(**inputs)).masked_fill(~allowed, -1e4)
            training.step(-(wanted * logits.log_softmax(2)).sum(2).mean())


def answer_all(model: OnnxModel, questions: list[squad.Question], encoded: list[squad.Encoded]) -> list[dict]:
    """Hugging Face's output for each question: {answer, score, start, end}, of the window that is surest."""
    return [answer(model, question, tokens) for question, tokens in zip(questions, encoded)]


def answer(model: OnnxModel, question: squad.Question, tokens: squad.Encoded) -> dict:
    best = (-1.0, 0, 0)
    for start, end in squad.strided(tokens, MAX_LENGTH, STRIDE):
        inputs = batch_of([window(tokens, start, end)], [tokens.prefix()])
        starts, ends = model.session.run(list(OUTPUTS), inputs)
        score, first, last = squad.best_span(starts[0], ends[0], tokens.prefix(), end - start)
        best = max(best, (score, start + first, start + last))
    begin, stop = tokens.spans[best[1]][0], tokens.spans[best[2]][1]
    return {"answer": question.context[begin:stop], "score": round(best[0], 6), "start": begin, "end": stop}


def main() -> None:
    arguments = parse_arguments(__doc__)
    training, val = squad.load(arguments.data, "train"), squad.load(arguments.data, "val")
    tokenizer = load_tokenizer()
    model = MiniLmReader()
    train(model, training, squad.encode(tokenizer, training), arguments.out)
    build(model, tokenizer, val, arguments, len(training))


def build(model: MiniLmReader, tokenizer: Tokenizer, val: list[squad.Question], arguments, trained_on: int) -> None:
    """Exports, stores int8 weights, measures both files on `val`, writes the folder."""
    float_file = arguments.out / NAME / "model.onnx"
    export_text_model(model, float_file, ("input_ids", "attention_mask", "token_type_ids"), OUTPUTS)
    folder = arguments.models / NAME
    int8_file = folder / MODEL_FILE
    store_int8_weights(float_file, int8_file)

    encoded = squad.encode(tokenizer, val)
    int8_model = OnnxModel(int8_file, arguments.threads, fold=True)
    float_answers = answer_all(OnnxModel(float_file, arguments.threads), val, encoded)
    int8_answers = answer_all(int8_model, val, encoded)
    same = [a["answer"] == b["answer"] for a, b in zip(float_answers, int8_answers)]
    figures = {
        "trainedOn": trained_on,
        "measuredOn": len(val),
        "float": squad.score([a["answer"] for a in float_answers], val),
        "int8": squad.score([a["answer"] for a in int8_answers], val),
        "int8AgreesWithFloat": float(np.mean(same)),
        "bytes": int8_file.stat().st_size,
    }
    save_figures(arguments.out, NAME, figures)
    write_folder(folder, model, tokenizer, int8_model)


def write_folder(folder: Path, model: MiniLmReader, tokenizer: Tokenizer, int8_model: OnnxModel) -> None:
    write_tokenizer(folder)
    questions = [squad.Question(question, context, []) for question, context in GOLDEN]
    golden = [
        {"input": {"json": {"question": question, "context": context}}, "output": [output]}
        for (question, context), output in zip(GOLDEN, answer_all(int8_model, questions, squad.encode(tokenizer, questions)))
    ]
    write_model_folder(
        folder,
        spec={"task": "question-answering", "precision": "int8-weights", "foldDequantize": True, "batch": CLOUD_BATCH},
        documents=bert_documents(model.bert.config, "BertForQuestionAnswering", MAX_LENGTH),
        golden=golden,
    )


if __name__ == "__main__":
    main()
