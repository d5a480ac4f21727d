"""The peer of the hub's bench: LitServe with the same graph, as its users write it. Started by servers.ts."""

import argparse
import base64
import io
import json
from pathlib import Path

import litserve as ls
import numpy as np
import onnxruntime as ort

args = argparse.ArgumentParser()
args.add_argument("kind", choices=["pictures", "sentences"])
args.add_argument("folder", type=Path)
args.add_argument("port", type=int)
args.add_argument("--workers", type=int, default=1)
args.add_argument("--threads", type=int, default=1)
args.add_argument("--batch", type=int, default=1)
ARGS = args.parse_args()


def softmax(logits):
    powers = np.exp(logits - logits.max())
    return powers / powers.sum()


class Api(ls.LitAPI):
    def setup(self, device):
        options = ort.SessionOptions()
        options.intra_op_num_threads = ARGS.threads
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.disable_quant_qdq", "1")
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        graph = str(ARGS.folder / "onnx" / "model_quantized.onnx")
        self.session = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        labels = json.loads((ARGS.folder / "config.json").read_text())["id2label"]
        self.labels = [labels[str(at)] for at in range(len(labels))]
        if ARGS.kind == "sentences":
            from tokenizers import Tokenizer

            self.tokenizer = Tokenizer.from_file(str(ARGS.folder / "tokenizer.json"))
            self.tokenizer.enable_truncation(128)

    def decode_request(self, request):
        if ARGS.kind == "sentences":
            return self.tokenizer.encode(request["text"])
        from PIL import Image

        picture = Image.open(io.BytesIO(base64.b64decode(request["image"]))).convert("RGB")
        picture = picture.resize((32, 32), Image.BICUBIC)
        return (np.asarray(picture, np.float32).transpose(2, 0, 1) / 255 - 0.498039) / 0.501961

    def batch(self, inputs):
        return inputs

    def unbatch(self, outputs):
        return list(outputs)

    def predict(self, inputs):
        rows = inputs if isinstance(inputs, list) else [inputs]
        if ARGS.kind == "pictures":
            feeds = {"pixel_values": np.stack(rows)}
        else:
            width = max(len(row.ids) for row in rows)
            ids = np.zeros((len(rows), width), np.int64)
            mask = np.zeros_like(ids)
            for at, row in enumerate(rows):
                ids[at, : len(row.ids)] = row.ids
                mask[at, : len(row.ids)] = 1
            feeds = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        logits = self.session.run(None, feeds)[0]
        return logits if isinstance(inputs, list) else logits[0]

    def encode_response(self, logits):
        scores = softmax(logits)
        order = np.argsort(-scores)[:5]
        return [{"label": self.labels[at], "score": float(scores[at])} for at in order]


if __name__ == "__main__":
    batching = {"max_batch_size": ARGS.batch, "batch_timeout": 0.002} if ARGS.batch > 1 else {}
    server = ls.LitServer(Api(**batching), accelerator="cpu", workers_per_device=ARGS.workers)
    server.run(host="127.0.0.1", port=ARGS.port, generate_client_file=False, log_level="error")
