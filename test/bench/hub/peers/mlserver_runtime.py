"""The peer of the hub's bench: MLServer with the same graph in a runtime of its own. Started by servers.ts."""

import io
import json
import os
from pathlib import Path

import numpy as np
import onnxruntime as ort
from mlserver import MLModel
from mlserver.codecs import StringCodec
from mlserver.types import InferenceRequest, InferenceResponse

KIND = os.environ["BENCH_KIND"]
FOLDER = Path(os.environ["BENCH_FOLDER"])
THREADS = int(os.environ["BENCH_THREADS"])


class Graph(MLModel):
    async def load(self) -> bool:
        options = ort.SessionOptions()
        options.intra_op_num_threads = THREADS
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.disable_quant_qdq", "1")
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        graph = str(FOLDER / "onnx" / "model_quantized.onnx")
        self.session = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        labels = json.loads((FOLDER / "config.json").read_text())["id2label"]
        self.labels = [labels[str(at)] for at in range(len(labels))]
        if KIND == "sentences":
            from tokenizers import Tokenizer

            self.tokenizer = Tokenizer.from_file(str(FOLDER / "tokenizer.json"))
            self.tokenizer.enable_truncation(128)
        return True

    async def predict(self, request: InferenceRequest) -> InferenceResponse:
        given = request.inputs[0].data
        value = (given.root if hasattr(given, "root") else given)[0]
        if KIND == "sentences":
            row = self.tokenizer.encode(value)
            ids = np.array([row.ids], np.int64)
            feeds = {
                "input_ids": ids,
                "attention_mask": np.ones_like(ids),
                "token_type_ids": np.zeros_like(ids),
            }
        else:
            import base64

            from PIL import Image

            picture = Image.open(io.BytesIO(base64.b64decode(value))).convert("RGB")
            picture = picture.resize((32, 32), Image.BICUBIC)
            pixels = (np.asarray(picture, np.float32).transpose(2, 0, 1) / 255 - 0.498039) / 0.501961
            feeds = {"pixel_values": pixels[None]}
        logits = self.session.run(None, feeds)[0][0]
        powers = np.exp(logits - logits.max())
        scores = powers / powers.sum()
        best = [
            json.dumps({"label": self.labels[at], "score": float(scores[at])})
            for at in np.argsort(-scores)[:5]
        ]
        return InferenceResponse(model_name=self.name, outputs=[StringCodec.encode_output("classes", best)])
