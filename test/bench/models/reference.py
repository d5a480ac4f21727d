"""What the Python reference says to the same inputs: Pillow, transformers' tokenizers and image processors, ONNX Runtime.

python reference.py JOB.json ANSWERS.json

JOB: {"folder", "model", "task", "fold", "inputs": [path or text]}. ANSWERS: {"labels": [...], "ids": [[...]] or null}.
For translations JOB has {"task": "translation", "hypotheses": {"name": [...]}, "references": [...]}; ANSWERS has {"bleu": {"name": ...}}.
"""

import json
import sys
from pathlib import Path

import numpy as np


def session(job: dict):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    if job["fold"]:
        options.add_session_config_entry("session.disable_quant_qdq", "1")
    return onnxruntime.InferenceSession(str(Path(job["folder"]) / job["model"]), options)


def labels_of(job: dict) -> list[str]:
    names = json.loads((Path(job["folder"]) / "config.json").read_text(encoding="utf-8"))["id2label"]
    return [names[str(index)] for index in range(len(names))]


def pictures(job: dict) -> dict:
    from PIL import Image
    from transformers import AutoImageProcessor

    processor = AutoImageProcessor.from_pretrained(job["folder"], use_fast=False)
    run, names = session(job), labels_of(job)
    answers = []
    for path in job["inputs"]:
        with Image.open(path) as picture:
            pixels = processor(picture.convert("RGB"), return_tensors="np")["pixel_values"].astype(np.float32)
        answers.append(names[int(run.run(None, {run.get_inputs()[0].name: pixels})[0][0].argmax())])
    return {"labels": answers, "ids": None}


def texts(job: dict) -> dict:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(job["folder"])
    run, names = session(job), labels_of(job)
    wanted = [one.name for one in run.get_inputs()]
    answers, ids = [], []
    for text in job["inputs"]:
        encoded = tokenizer(text, truncation=True)
        ids.append([int(token) for token in encoded["input_ids"]])
        feeds = {name: np.array([encoded[name]], dtype=np.int64) for name in wanted}
        answers.append(names[int(run.run(None, feeds)[0][0].argmax())])
    return {"labels": answers, "ids": ids}


def translations(job: dict) -> dict:
    import sacrebleu

    return {
        "bleu": {
            name: sacrebleu.corpus_bleu(lines, [job["references"]]).score for name, lines in job["hypotheses"].items()
        }
    }


TASKS = {"image-classification": pictures, "text-classification": texts, "translation": translations}

if __name__ == "__main__":
    job = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    Path(sys.argv[2]).write_text(json.dumps(TASKS[job["task"]](job)), encoding="utf-8")
