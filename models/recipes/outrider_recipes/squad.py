"""SQuAD 1.1: `squad/{train,val}.json.gz`, questions on paragraphs; windows of tokens; exact match and F1."""

import gzip
import json
import re
import string
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

MAX_QUESTION_TOKENS = 64
# As where Hugging Face leaves `max_answer_len` open.
MAX_ANSWER_TOKENS = 15


@dataclass(frozen=True)
class Question:
    """`answers`: (first character in `context`, text) of each annotator."""

    text: str
    context: str
    answers: list[tuple[int, str]]


def load(data: Path, part: str) -> list[Question]:
    with gzip.open(data / "squad" / f"{part}.json.gz", "rt", encoding="utf-8") as file:
        articles = json.load(file)["data"]
    return [
        Question(qa["question"].strip(), paragraph["context"], [(a["answer_start"], a["text"]) for a in qa["answers"]])
        for article in articles
        for paragraph in article["paragraphs"]
        for qa in paragraph["qas"]
    ]


@dataclass(frozen=True)
class Encoded:
    """Token ids of a question and of its context; `spans[i]` are the characters [from, to) of context token i."""

    question: list[int]
    context: list[int]
    spans: list[tuple[int, int]]

    def prefix(self) -> int:
        """Where the context starts in a window: after [CLS] question [SEP]."""
        return len(self.question) + 2


def encode(tokenizer: Tokenizer, questions: list[Question]) -> list[Encoded]:
    asked = tokenizer.encode_batch([q.text for q in questions], add_special_tokens=False)
    contexts = {q.context: None for q in questions}
    read = dict(zip(contexts, tokenizer.encode_batch(list(contexts), add_special_tokens=False)))
    return [
        Encoded(q.ids[:MAX_QUESTION_TOKENS], read[question.context].ids, read[question.context].offsets)
        for question, q in zip(questions, asked)
    ]


def answer_tokens(question: Question, encoded: Encoded) -> list[tuple[int, int]]:
    """First and last context token of each annotator's answer, most frequent first; repeated as often as it was given."""
    found = []
    for start, text in question.answers:
        end = start + len(text)
        inside = [i for i, (begin, stop) in enumerate(encoded.spans) if begin < end and stop > start]
        if inside:
            found.append((inside[0], inside[-1]))
    counts = Counter(found)
    return sorted(found, key=lambda span: -counts[span])


def strided(encoded: Encoded, max_length: int, stride: int) -> list[tuple[int, int]]:
    """Ranges [from, to) of context tokens that cover the context; neighbours share `stride` tokens."""
    room = max_length - encoded.prefix() - 1
    ranges, start = [], 0
    while True:
        ranges.append((start, min(start + room, len(encoded.context))))
        if ranges[-1][1] == len(encoded.context):
            return ranges
        start += room - stride


def best_span(start_logits: np.ndarray, end_logits: np.ndarray, prefix: int, tokens: int) -> tuple[float, int, int]:
    """(score 0..1, first, last context token) of one window, as Hugging Face's pipeline scores it.

    `start_logits`, `end_logits`: f32[L]. [CLS], on which a window without the answer was trained, takes its share of both
    softmaxes; the question and the separators have none.
    """

    def probabilities(logits: np.ndarray) -> np.ndarray:
        allowed = np.concatenate([logits[:1], logits[prefix : prefix + tokens]]).astype(np.float64)
        exponents = np.exp(allowed - allowed.max())
        return (exponents / exponents.sum())[1:]

    scores = np.triu(np.outer(probabilities(start_logits), probabilities(end_logits)))
    scores = np.tril(scores, MAX_ANSWER_TOKENS - 1)
    first, last = np.unravel_index(scores.argmax(), scores.shape)
    return float(scores[first, last]), int(first), int(last)


def normalize(answer: str) -> str:
    """As SQuAD's own evaluation script: lower case, no punctuation, no articles, single spaces."""
    kept = "".join(character for character in answer.lower() if character not in set(string.punctuation))
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", kept).split())


def exact_match(answer: str, truth: str) -> float:
    return float(normalize(answer) == normalize(truth))


def f1(answer: str, truth: str) -> float:
    given, wanted = normalize(answer).split(), normalize(truth).split()
    shared = sum((Counter(given) & Counter(wanted)).values())
    return 2 * shared / (len(given) + len(wanted)) if shared else 0.0


def score(answers: list[str], questions: list[Question]) -> dict[str, float]:
    """Means over all questions of the best over each question's annotators, 0..1."""

    def mean(metric) -> float:
        return float(np.mean([max(metric(a, truth) for _, truth in q.answers) for a, q in zip(answers, questions)]))

    return {"exactMatch": mean(exact_match), "f1": mean(f1)}
